#!/usr/bin/env bash
# The kernels alone: no warning from any compiler that is here, every body against plain kernels at an unreadable
# page, once more under the address and undefined-behaviour sanitizers, and NEON in an emulator where there is one.
#
#     tests/c/run.sh [ROUNDS]     of random input; 20,000 unless said otherwise
#     tests/c/run.sh fuzz [SECONDS]   libFuzzer instead (clang), 60 s unless said otherwise
set -euo pipefail
cd "$(dirname "$0")/../.."

OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
WARNINGS=(-std=c11 -Wall -Wextra -Wpedantic -Werror)
KERNELS=(csrc/*.c tests/c/checks.c)

build() { # COMPILER, NAME, MAIN, flags ...
    "$1" "${WARNINGS[@]}" -D_DEFAULT_SOURCE -Icsrc "${@:4}" -o "$OUT/$2" "$3" "${KERNELS[@]}"
}

if [ "${1:-}" = fuzz ]; then
    build clang fuzz tests/c/fuzz_kernels.c -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
    mkdir "$OUT/corpus"
    cd "$OUT"
    exec ./fuzz -max_len=4096 -max_total_time="${2:-60}" -print_final_stats=1 corpus
fi

ROUNDS=${1:-20000}
for compiler in gcc clang; do
    if command -v "$compiler" >/dev/null; then
        for level in -O3 -O0; do
            build "$compiler" "$compiler$level" tests/c/test_kernels.c "$level"
        done
        echo -n "$compiler: "
        "$OUT/$compiler-O3" "$ROUNDS"
    fi
done

echo -n "sanitized: "
build gcc sanitized tests/c/test_kernels.c -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all
"$OUT/sanitized" "$((ROUNDS / 4))"

if command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64-static >/dev/null; then
    echo -n "emulated: "
    build aarch64-linux-gnu-gcc neon tests/c/test_kernels.c -O3 -static
    qemu-aarch64-static "$OUT/neon" "$((ROUNDS / 20))"
fi
