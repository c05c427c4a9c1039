/* Going out: text or UTF-8 as data lines. (`sse_copy_long`, which has a body for each instruction set, is in
 * bodies.h.)
 */

#include "sse.h"
#include "simd.h"

#ifdef SSE_HAVE_SSE2

/* Mark which of eight units have none of these bits. */
SSE_INLINE __m128i below_sse2(__m128i units, int bits)
{
    return _mm_cmpeq_epi16(_mm_and_si128(units, _mm_set1_epi16((short)bits)), _mm_setzero_si128());
}

SSE_INLINE int is_plain_sse2(__m128i bytes)
{
    return gather_sse2(other_sse2(bytes)) == 0;
}

/* Add up the two sums that _mm_sad_epu8 leaves. */
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

/* Write a line end and the beginning of the next data line: 7 bytes, stored as 8. */
SSE_INLINE unsigned char *sse_put_next(unsigned char *to)
{
    memcpy(to, "\ndata: ", 8);
    return to + 7;
}

#define SSE_UNIT uint8_t
#define SSE_WIDTH 1
#include "units.h"

#define SSE_UNIT uint16_t
#define SSE_WIDTH 2
#include "units.h"

#define SSE_UNIT uint32_t
#define SSE_WIDTH 4
#include "units.h"

/* Loads and stores overlap, so that no size needs a loop over bytes from 4 on. */
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
    sse_lines lines = {size, 1};
    size_t ends = 0, returns = 0, pairs = 0, i = 0;

#ifdef SSE_HAVE_SSE2
    const __m128i none = _mm_setzero_si128(), lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r');
    __m128i all = none, crs = none;
    while (size - i >= 64) {
        const size_t stop = size - i < 63 * 64 ? i + ((size - i) & ~(size_t)63) : i + 63 * 64;
        __m128i some_lf = none, some_cr = none; /* no byte of them counts beyond 252 */
        for (; i < stop; i += 64) {
            for (unsigned k = 0; k < 64; k += 16) {
                const __m128i bytes = load_sse2(text + i + k);
                some_lf = _mm_sub_epi8(some_lf, _mm_cmpeq_epi8(bytes, lf));
                some_cr = _mm_sub_epi8(some_cr, _mm_cmpeq_epi8(bytes, cr));
            }
        }
        all = _mm_add_epi64(all, _mm_sad_epu8(some_lf, none));
        crs = _mm_add_epi64(crs, _mm_sad_epu8(some_cr, none));
    }
    returns = total_sse2(crs);
    ends = total_sse2(all) + returns;
#endif
    for (; i < size; i++) {
        returns += text[i] == '\r';
        ends += text[i] == '\r' || text[i] == '\n';
    }
    if (returns) {
        for (i = 1; i < size; i++) {
            pairs += text[i] == '\n' && text[i - 1] == '\r';
        }
    }
    lines.size -= ends;
    lines.lines += ends - pairs;
    return lines;
}

static unsigned char *write_bytes(
    unsigned char *to, const unsigned char *stop, const unsigned char *text, size_t size)
{
    const unsigned char *p = text, *const end = text + size;

    (void)stop;
#ifdef SSE_HAVE_SSE2
    while (end - p >= 16 && stop - to >= 16) {
        /* Up to the next line end, as many bytes are written as are read. */
        const unsigned char *const last = p + (end - p < stop - to ? end - p : stop - to) - 16;
        do {
            const __m128i bytes = load_sse2(p);
            store_sse2(to, bytes);
            if (SSE_UNLIKELY(gather_sse2(other_sse2(bytes)))) {
                const uint64_t ends = gather_sse2(ends_sse2(bytes));
                if (ends) {
                    const unsigned run = sse_lowest(ends);
                    p += run + 1;
                    p += p[-1] == '\r' && p < end && *p == '\n';
                    to = sse_put_next(to + run);
                    break;
                }
            }
            p += 16;
            to += 16;
        } while (p <= last);
    }
#endif
    while (p < end) {
        const unsigned char byte = *p++;
        if (byte == '\n' || byte == '\r') {
            to = sse_put_next(to);
            p += byte == '\r' && p < end && *p == '\n';
        } else {
            *to++ = byte;
        }
    }
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

unsigned char *sse_write_data(
    unsigned char *to, const unsigned char *stop, const void *text, size_t length, int form)
{
    memcpy(to, "data: ", 6);
    to += 6;
    switch (form) {
    case SSE_LATIN1:
        to = write1(to, stop, text, length);
        break;
    case SSE_UCS2:
        to = write2(to, stop, text, length);
        break;
    case SSE_UCS4:
        to = write4(to, stop, text, length);
        break;
    default:
        to = write_bytes(to, stop, text, length);
    }
    if (to != NULL) {
        *to++ = '\n';
    }
    return to;
}
