/* The kernels against plain ones: every short input, every alignment, every sequence of UTF-8, and random input.
 *
 *     test_kernels [ROUNDS [SEED]]      ROUNDS of random input, 20,000 unless said otherwise
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "choose.h"

static uint64_t state;

static uint32_t below(uint32_t limit) /* xorshift64*, Vigna */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545f4914f6cdd1du >> 32) * limit >> 32);
}

static void check(const uint8_t *bytes, size_t size, size_t slack)
{
    check_bytes(bytes, size, slack);
    check_units(bytes, size, slack);
}

/* Every input of up to six bytes of these kinds. */
static void short_inputs(void)
{
    static const uint8_t kinds[] = {'a', '\r', '\n', 0xc3, 0xa9, 0};
    uint8_t bytes[6];
    uint64_t all = 1;
    for (size_t size = 0; size <= 6; size++, all *= sizeof kinds) {
        for (uint64_t n = 0; n < all; n++) {
            uint64_t rest = n;
            for (size_t i = 0; i < size; i++, rest /= sizeof kinds) {
                bytes[i] = kinds[rest % sizeof kinds];
            }
            check_bytes(bytes, size, 0);
        }
    }
}

/* One or two bytes that matter at every place of every length round the steps of the kernels. */
static void single_bytes(void)
{
    static const char *const marks[] = {"\n", "\r", "\r\n", "\x80", "\xc3\xa9", "\t", "\x0d\x0d", "\xff"};
    uint8_t bytes[200];
    for (size_t size = 0; size <= 145; size++) {
        for (size_t k = 0; k < sizeof marks / sizeof marks[0]; k++) {
            const size_t mark = strlen(marks[k]);
            for (size_t at = 0; at + mark <= size; at++) {
                memset(bytes, 'x', size);
                memcpy(bytes + at, marks[k], mark);
                check_bytes(bytes, size, 0);
            }
        }
    }
}

/* Every byte where it stands alone, and every alignment. */
static void alignments(void)
{
    uint8_t bytes[400];
    for (size_t slack = 0; slack < 64; slack++) {
        for (size_t size = 0; size < 200; size += 1 + size / 16) {
            for (size_t i = 0; i < size; i++) {
                bytes[i] = (uint8_t)below(9) ? (uint8_t)(' ' + below(90)) : (uint8_t)below(256);
            }
            check(bytes, size, slack);
        }
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        memset(bytes, (int)byte, 100);
        check(bytes, 100, 0);
    }
}

/* Every sequence of three bytes of which the first is not ASCII, and many of four, among others that are valid. */
static void sequences(int all)
{
    static const uint8_t fourth[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    static const char *const around[] = {"", "abcdefghijklmnopqrst", "\xc3\xa9\xd0\xb6\xc3\xa9", "\xe4\xb8\xad"};
    uint8_t bytes[80];
    for (unsigned lead = 0x80; lead < 0x100; lead++) {
        for (unsigned second = 0; second < 0x100; second += all ? 1 : 1 + below(15)) {
            for (unsigned third = 0; third < 0x100; third += all ? 1 + below(31) : 1 + below(63)) {
                const char *const side = around[below(4)];
                const size_t size = strlen(side);
                memcpy(bytes, side, size);
                bytes[size] = (uint8_t)lead;
                bytes[size + 1] = (uint8_t)second;
                bytes[size + 2] = (uint8_t)third;
                bytes[size + 3] = fourth[below(sizeof fourth)];
                memcpy(bytes + size + 4, side, size);
                check_utf8(bytes, 2 * size + 2 + below(3), 0);
                check_utf8(bytes, size + 1 + below(4), 0);
            }
        }
    }
}

static size_t put_code(uint8_t *to, uint32_t code)
{
    if (code < 0x80) {
        to[0] = (uint8_t)code;
        return 1;
    }
    const size_t size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, code >>= 6) {
        to[i] = (uint8_t)(0x80 | (code & 0x3f));
    }
    to[0] = (uint8_t)((0xf00u >> size & 0xff) | code);
    return size;
}

/* Texts of several scripts with line ends, now and then with a byte that breaks them; and units of every size. */
static void random_inputs(uint64_t rounds)
{
    static uint8_t bytes[CHECK_MOST];
    static const uint32_t scripts[][2] = {
        {0x20, 0x7f}, {0xa0, 0x100}, {0x400, 0x460}, {0x4e00, 0x9fff}, {0xd700, 0xe100}, {0x1f300, 0x1f6ff},
    };
    static const char *const ends[] = {"\n", "\r", "\r\n", "\n\n", "\r\r\n"};
    for (uint64_t round = 0; round < rounds; round++) {
        const size_t most = round % 500 ? 1 + below(700) : 1 + below(CHECK_MOST / 2);
        const uint32_t script = below(6), other = below(1u << below(8)), breaks = below(1u << below(10));
        const int utf8 = below(4) != 0, faulty = below(3) == 0;
        const size_t width = 1u << below(3);
        size_t size = 0;
        while (size + 16 < most) {
            if (below(1 + breaks) == 0) {
                const char *const end = ends[below(5)];
                for (size_t i = 0; end[i]; i++) {
                    const uint32_t unit = (uint8_t)end[i];
                    bytes[size] = (uint8_t)end[i];
                    size++;
                    if (!utf8) {
                        size--;
                        memcpy(bytes + size, &unit, width);
                        size += width;
                    }
                }
                continue;
            }
            const uint32_t *range = scripts[below(1 + other) == 0 ? script : 0];
            const uint32_t code = range[0] + below(range[1] - range[0]);
            if (!utf8) {
                memcpy(bytes + size, &code, width);
                size += width;
            } else if (code < 0xd800 || code > 0xdfff) {
                size += put_code(bytes + size, code);
            }
        }
        if (faulty && size) {
            bytes[below((uint32_t)size)] = (uint8_t)below(256);
        }
        check(bytes, size, below(2) ? below(64) : 0);
    }
}

/* Every input of up to six bytes of these kinds, every pair of bytes after a `%`, and random input. */
static void escapes(uint64_t rounds)
{
    static const uint8_t kinds[] = {'%', '4', 'f', 'G', '+', 0xff};
    static uint8_t bytes[2000];
    uint64_t all = 1;
    for (size_t size = 0; size <= 6; size++, all *= sizeof kinds) {
        for (uint64_t n = 0; n < all; n++) {
            uint64_t rest = n;
            for (size_t i = 0; i < size; i++, rest /= sizeof kinds) {
                bytes[i] = kinds[rest % sizeof kinds];
            }
            check_escapes(bytes, size, 0);
        }
    }
    bytes[0] = '%';
    for (unsigned pair = 0; pair < 0x10000; pair++) {
        bytes[1] = (uint8_t)(pair >> 8);
        bytes[2] = (uint8_t)pair;
        check_escapes(bytes, 3, 0);
    }
    for (uint64_t round = 0; round < rounds; round++) {
        const size_t size = below(sizeof bytes);
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (uint8_t)"%+0123456789abcdefABCDEFg "[below(26)];
            if (bytes[i] == '%' && size - i > 2 && below(50)) { /* mostly whole */
                bytes[++i] = (uint8_t)"0123456789abcdef"[below(16)];
                bytes[++i] = (uint8_t)"0123456789ABCDEF"[below(16)];
            }
        }
        check_escapes(bytes, size, below(64));
    }
}

/* More lines than one call finds. */
static void many_lines(void)
{
    static uint8_t bytes[20000];
    static const char *const units[] = {"\n", "\r", "\r\n", "a\n", "ab\r", "\xc3\xa9\r\n", "0123456789abcdef\n"};
    for (size_t k = 0; k < sizeof units / sizeof units[0]; k++) {
        const size_t unit = strlen(units[k]);
        for (size_t count = 60; count < 1100; count += 1 + count / 7) {
            size_t size = 0;
            for (size_t i = 0; i < count; i++, size += unit) {
                memcpy(bytes + size, units[k], unit);
            }
            for (size_t less = 0; less < 3; less++) {
                check_bytes(bytes, size - less, 0);
            }
        }
    }
}

int main(int argc, char **argv)
{
    const uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    size_t count;
    const sse_body *bodies = sse_bodies(&count);

    state = argc > 2 ? strtoull(argv[2], NULL, 10) : 20261121;
    state += state == 0;
    short_inputs();
    single_bytes();
    alignments();
    many_lines();
    sequences(rounds >= 20000);
    random_inputs(rounds);
    escapes(rounds);
    printf("kernels agree in");
    for (size_t i = 0; i < count; i++) {
        printf(" %s%s", bodies[i].name, i + 1 < count ? "," : "");
    }
    printf("; best: %s\n", sse_choose());
    return 0;
}
