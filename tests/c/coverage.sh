#!/usr/bin/env bash
# Which lines of the kernels, the codec, the flow, the pump and the escapes their tests run: gcov over an unoptimised build in a copy of the
# tree. Prints what never ran, then a table; fails where less has run than coverage.py asks for.
#
#     tests/c/coverage.sh [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/../.."

PYTHON=$(realpath --no-symlinks "${PYTHON:-${VENV:-.venv}/bin/python}")
OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT

# Without what other tests may be writing meanwhile.
tar --create --exclude=__pycache__ --exclude=node_modules --exclude='*.so' \
    setup.py pyproject.toml README.md LICENSE csrc fastsse tests | tar --extract --directory "$OUT"
cd "$OUT"
export PYTHONPATH=$OUT FASTSSE_REQUIRE_EXTENSIONS=1
CC=gcc FASTSSE_COVERAGE=1 "$PYTHON" setup.py --quiet build_ext --inplace >build.log 2>&1 || { cat build.log; exit 1; }

# The compiled twin alone.
"$PYTHON" -m pytest -q -p no:cacheprovider -m "not long" -k "not [py" \
    tests/codec/test_{blocks,codec_choice,decoder,encoder,errors,event,json,lines,memory,properties}.py \
    tests/streams/test_flow.py tests/broadcast/hub/test_pump.py tests/broadcast/web/test_escapes.py "$@"

gcc -std=c11 -O0 --coverage -D_DEFAULT_SOURCE -Icsrc -o kernels tests/c/test_kernels.c tests/c/checks.c csrc/*.c
./kernels 2000

"$PYTHON" tests/c/coverage.py
