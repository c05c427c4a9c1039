/* Going out: text or UTF-8 as lines of UTF-8. Measure, then write: one exact buffer, written once. */

#include "sse.h"
#include "simd.h"

#define SSE_UNIT uint8_t
#define SSE_WIDTH 1
#include "units.h"

#define SSE_UNIT uint16_t
#define SSE_WIDTH 2
#include "units.h"

#define SSE_UNIT uint32_t
#define SSE_WIDTH 4
#include "units.h"

enum { BATCH = 64 }; /* lines that are looked for at a time */

static sse_lines measure_bytes(const unsigned char *text, size_t size)
{
    const unsigned char *at = text;
    sse_line lines[BATCH + 1];
    sse_lines all = {0, 1, 1};
    size_t found;

    do {
        found = sse_split(&at, text + size, lines, BATCH);
        for (size_t i = 0; i < found; i++) {
            all.size += lines[i].size;
        }
        all.lines += found;
    } while (found == BATCH);
    all.size += lines[found].size;
    return all;
}

static unsigned char *write_bytes(
    unsigned char *to, const unsigned char *text, size_t size, const char *head, size_t head_size)
{
    const unsigned char *at = text;
    sse_line lines[BATCH + 1];
    size_t found, count;

    do {
        found = sse_split(&at, text + size, lines, BATCH);
        count = found == BATCH ? found : found + 1;
        for (size_t i = 0; i < count; i++) {
            memcpy(to, head, head_size);
            to += head_size;
            memcpy(to, lines[i].text, lines[i].size);
            to += lines[i].size;
            *to++ = '\n';
        }
    } while (found == BATCH);
    return to;
}

sse_lines sse_measure_lines(const void *text, size_t length, int form)
{
    switch (form) {
    case SSE_LATIN1:
        return measure1(text, length);
    case SSE_UCS2:
        return measure2(text, length);
    case SSE_UCS4:
        return measure4(text, length);
    default:
        return measure_bytes(text, length);
    }
}

unsigned char *sse_write_lines(
    unsigned char *to, const void *text, size_t length, int form, const char *head, size_t head_size)
{
    switch (form) {
    case SSE_LATIN1:
        return write1(to, text, length, head, head_size);
    case SSE_UCS2:
        return write2(to, text, length, head, head_size);
    case SSE_UCS4:
        return write4(to, text, length, head, head_size);
    default:
        return write_bytes(to, text, length, head, head_size);
    }
}
