/* Going out: text or UTF-8 as lines of UTF-8. Measure, then write: one exact buffer, written once.
 * (`sse_copy_long`, which has a body for each instruction set, is in bodies.h.)
 */

#include "sse.h"
#include "simd.h"

#ifdef SSE_HAVE_SSE2

/* Which of eight units have none of these bits. */
SSE_INLINE __m128i below_sse2(__m128i units, int bits)
{
    return _mm_cmpeq_epi16(_mm_and_si128(units, _mm_set1_epi16((short)bits)), _mm_setzero_si128());
}

SSE_INLINE int is_plain_sse2(__m128i bytes)
{
    return gather_sse2(other_sse2(bytes)) == 0;
}

/* What _mm_sad_epu8 has summed. */
SSE_INLINE size_t total_sse2(__m128i sums)
{
    sums = _mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums));
#if defined(__x86_64__) || defined(_M_X64)
    return (size_t)_mm_cvtsi128_si64(sums);
#else
    return (size_t)(uint32_t)_mm_cvtsi128_si32(sums);
#endif
}

#endif

#define SSE_UNIT uint8_t
#define SSE_WIDTH 1
#include "units.h"

#define SSE_UNIT uint16_t
#define SSE_WIDTH 2
#include "units.h"

#define SSE_UNIT uint32_t
#define SSE_WIDTH 4
#include "units.h"

/* By loads and stores that overlap. */
int sse_copy_short(unsigned char *to, const unsigned char *from, size_t size)
{
    uint64_t a, b;
    if (size >= 8) {
        a = sse_load64(from);
        b = sse_load64(from + size - 8);
        memcpy(to, from, 8);
        memcpy(to + size - 8, from + size - 8, 8);
    } else if (size >= 4) {
        a = b = sse_load32(from) | (uint64_t)sse_load32(from + size - 4) << 32;
        memcpy(to, from, 4);
        memcpy(to + size - 4, from + size - 4, 4);
    } else {
        a = b = SSE_EACH(' '); /* plain, where there is nothing */
        for (size_t i = 0; i < size; i++) {
            to[i] = from[i];
            a = a << 8 | from[i];
        }
    }
    if (SSE_UNLIKELY(sse_other8(a) | sse_other8(b))) {
        return sse_look8(a) | sse_look8(b);
    }
    return 0;
}

static sse_lines measure_bytes(const unsigned char *text, size_t size)
{
    sse_line lines[SSE_LINES];
    sse_lines all = {0, 1};
    sse_scan scan;

    sse_begin(&scan, text, size);
    while (scan.block < scan.end) {
        const size_t found = sse_split(&scan, lines);
        for (size_t i = 0; i < found; i++) {
            all.size += lines[i].size;
        }
        all.lines += found;
    }
    all.size += scan.rest.size;
    return all;
}

SSE_INLINE unsigned char *put_bytes(unsigned char *to, const sse_line *line, const char *head, size_t head_size)
{
    memcpy(to, head, head_size);
    to += head_size;
    memcpy(to, line->text, line->size);
    to += line->size;
    *to++ = '\n';
    return to;
}

static unsigned char *write_bytes(
    unsigned char *to, const unsigned char *text, size_t size, const char *head, size_t head_size)
{
    sse_line lines[SSE_LINES];
    sse_scan scan;

    sse_begin(&scan, text, size);
    while (scan.block < scan.end) {
        const size_t found = sse_split(&scan, lines);
        for (size_t i = 0; i < found; i++) {
            to = put_bytes(to, &lines[i], head, head_size);
        }
    }
    return put_bytes(to, &scan.rest, head, head_size);
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
    unsigned char *to, const unsigned char *stop, const void *text, size_t length, int form, const char *head,
    size_t head_size)
{
    switch (form) {
    case SSE_LATIN1:
        return write1(to, stop, text, length, head, head_size);
    case SSE_UCS2:
        return write2(to, stop, text, length, head, head_size);
    case SSE_UCS4:
        return write4(to, stop, text, length, head, head_size);
    default:
        return write_bytes(to, text, length, head, head_size);
    }
}
