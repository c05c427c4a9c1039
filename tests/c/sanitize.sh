#!/usr/bin/env bash
# The codec's Python tests over an extension that is built with the address and undefined-behaviour sanitizers, in a
# copy of the tree. Every Python object gets memory of its own, so that a byte written behind a str or bytes is seen.
#
#     tests/c/sanitize.sh [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/../.."

PYTHON=$(realpath --no-symlinks "${PYTHON:-${VENV:-.venv}/bin/python}")
OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT

# Without what other tests may be writing meanwhile.
tar --create --exclude=__pycache__ --exclude=node_modules --exclude='*.so' \
    setup.py pyproject.toml README.md LICENSE csrc fastsse tests | tar --extract --directory "$OUT"
cd "$OUT"
FLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
CC=gcc CFLAGS=$FLAGS LDFLAGS=$FLAGS FASTSSE_REQUIRE_EXTENSIONS=1 \
    "$PYTHON" setup.py --quiet build_ext --inplace >build.log 2>&1 || { cat build.log; exit 1; }

export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
export PYTHONMALLOC=malloc PYTHONPATH=$OUT FASTSSE_REQUIRE_EXTENSIONS=1
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
export LD_PRELOAD
"$PYTHON" - <<'CHECK'
import os, fastsse._codec_c as codec
assert codec.__file__.startswith(os.environ["PYTHONPATH"]), codec.__file__
CHECK
# What the sanitizers print must be seen, so pytest catches only what Python prints. The compiled twin alone.
"$PYTHON" -m pytest -q -p no:cacheprovider --capture=sys -m "not long" -k "not [py" \
    tests/codec/test_{blocks,decoder,encoder,event,lines,errors,json,properties}.py tests/broadcast/web/test_escapes.py "$@"
