/* Forms: percent-encoding undone (URL standard, "application/x-www-form-urlencoded parsing").
 *
 * Escapes are measured first and then written, as text is: the writer runs only where every escape was found whole,
 * and checks none again. There is one body for all instruction sets, because escapes stand too close together for
 * vectors to help, and text without escapes is not sent here.
 */

#include "sse.h"

/* The value of a hex digit, plus one; 0 for every other byte. */
static const unsigned char digits[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
    ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

sse_escapes sse_measure_escapes(const unsigned char *text, size_t size)
{
    sse_escapes found = {0, size};
    size_t i = 0;

    while (i < size) {
        if (text[i] != '%') {
            i++;
            continue;
        }
        found.count++;
        if (size - i > 2 && digits[text[i + 1]] && digits[text[i + 2]]) {
            i += 3;
        } else {
            found.broken = found.broken < i ? found.broken : i;
            i++;
        }
    }
    return found;
}

void sse_write_unescaped(unsigned char *to, const unsigned char *text, size_t size)
{
    size_t i = 0;

    while (i < size) {
        const unsigned char byte = text[i];
        if (byte == '%') {
            *to++ = (unsigned char)((digits[text[i + 1]] - 1) << 4 | (digits[text[i + 2]] - 1));
            i += 3;
        } else {
            *to++ = byte == '+' ? ' ' : byte;
            i++;
        }
    }
}
