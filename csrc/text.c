/* Coming in: UTF-8 as text. (Line ends, whose search has a body for each instruction set, are in bodies.h.)
 *
 * Text is measured first and then written as code points of the width that CPython will keep, so that no second copy
 * is needed. Measuring assumes that the bytes are UTF-8, and so is one sum; writing checks every sequence. Bytes that
 * turn out not to be UTF-8 go through the slower pair of functions at the end.
 */

#include "sse.h"
#include "simd.h"

#define REPLACEMENT 0xfffdu

SSE_INLINE int continues(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Read one code point that begins at a byte from 0x80 on, and return how many bytes it takes. `*code` is 0 for a
 * maximal subpart of an ill-formed sequence: the lead and as many of its followers as could still have become a
 * code point.
 */
SSE_INLINE size_t sequence(const unsigned char *p, const unsigned char *end, uint32_t *code)
{
    const size_t left = (size_t)(end - p);
    const uint32_t lead = p[0];

    *code = 0;
    if (lead < 0xe0) {
        if (lead < 0xc2 || left < 2 || !continues(p[1])) {
            return 1;
        }
        *code = (lead & 0x1f) << 6 | (p[1] & 0x3fu);
        return 2;
    }
    if (lead < 0xf0) {
        const unsigned char low = lead == 0xe0 ? 0xa0 : 0x80, high = lead == 0xed ? 0x9f : 0xbf;
        if (left < 2 || p[1] < low || p[1] > high) {
            return 1;
        }
        if (left < 3 || !continues(p[2])) {
            return 2;
        }
        *code = (lead & 0x0f) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
        return 3;
    }
    const unsigned char low = lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xf4 ? 0x8f : 0xbf;
    if (lead > 0xf4 || left < 2 || p[1] < low || p[1] > high) {
        return 1;
    }
    if (left < 3 || !continues(p[2])) {
        return 2;
    }
    if (left < 4 || !continues(p[3])) {
        return 3;
    }
    *code = (lead & 0x07) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    return 4;
}

/* The class of the greatest code point, from the greatest byte, which is a lead if there is one. */
SSE_INLINE uint32_t top_of(unsigned char greatest)
{
    return greatest < 0x80 ? 0x7f : greatest < 0xc4 ? 0xff : greatest < 0xf0 ? 0xffff : 0x10ffff;
}

#ifdef SSE_HAVE_SSE2
static const unsigned char keep_last[32] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
};
#endif

sse_text sse_measure_text(const unsigned char *utf8, size_t size)
{
    sse_text text;
    unsigned char greatest = 0;
    size_t inner = 0, i = 0;

#ifdef SSE_HAVE_SSE2
    if (size >= 16) {
        const __m128i none = _mm_setzero_si128(), edge = _mm_set1_epi8(-64); /* signed, 0x80 to 0xbf lie below */
        __m128i top = none, sum = none;
        while (size - i >= 16) {
            const size_t stop = size - i < 255 * 16 ? size & ~(size_t)15 : i + 255 * 16;
            __m128i counts = none; /* no byte of it counts beyond 255 */
            for (; i < stop; i += 16) {
                const __m128i bytes = load_sse2(utf8 + i);
                top = _mm_max_epu8(top, bytes);
                counts = _mm_sub_epi8(counts, _mm_cmplt_epi8(bytes, edge));
            }
            sum = _mm_add_epi64(sum, _mm_sad_epu8(counts, none));
        }
        if (i < size) { /* the last 16 again, without those that have counted */
            const __m128i bytes = _mm_and_si128(load_sse2(utf8 + size - 16), load_sse2(keep_last + (size - i)));
            top = _mm_max_epu8(top, bytes);
            sum = _mm_add_epi64(sum, _mm_sad_epu8(_mm_sub_epi8(none, _mm_cmplt_epi8(bytes, edge)), none));
            i = size;
        }
        sum = _mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum));
        top = _mm_max_epu8(top, _mm_srli_si128(top, 8));
        top = _mm_max_epu8(top, _mm_srli_si128(top, 4));
        top = _mm_max_epu8(top, _mm_srli_si128(top, 2));
        top = _mm_max_epu8(top, _mm_srli_si128(top, 1));
        greatest = (unsigned char)_mm_cvtsi128_si32(top);
#if defined(__x86_64__) || defined(_M_X64)
        inner = (size_t)_mm_cvtsi128_si64(sum);
#else
        inner = (size_t)(uint32_t)_mm_cvtsi128_si32(sum);
#endif
    }
#endif
    for (; i < size; i++) {
        inner += continues(utf8[i]);
        greatest = utf8[i] > greatest ? utf8[i] : greatest;
    }
    text.length = size - inner;
    text.top = top_of(greatest);
    return text;
}

/* Count the bytes, of these 16, that come before the first one from 0x80 on. */
SSE_INLINE unsigned ascii16(const unsigned char *p)
{
#ifdef SSE_HAVE_SSE2
    const uint64_t high = gather_sse2(load_sse2(p));
    return high ? sse_lowest(high) : 16;
#else
    uint64_t high = sse_load64(p) & SSE_EACH(0x80);
    if (high) {
        return sse_lowest(high) / 8;
    }
    high = sse_load64(p + 8) & SSE_EACH(0x80);
    return high ? 8 + sse_lowest(high) / 8 : 16;
#endif
}

/* Below, a `width` of 0 writes nothing: only the check of the UTF-8 is left. */

SSE_INLINE unsigned char *put(unsigned char *to, int width, uint32_t code)
{
    if (width == 1) {
        *to = (unsigned char)code;
    } else if (width == 2) {
        const uint16_t unit = (uint16_t)code;
        memcpy(to, &unit, 2);
    } else if (width == 4) {
        memcpy(to, &code, 4);
    }
    return to + width;
}

/* Write sixteen bytes, each of which is a code point. */
SSE_INLINE void put16(unsigned char *to, int width, const unsigned char *p)
{
    if (width == 0) {
        return;
    }
#ifdef SSE_HAVE_SSE2
    const __m128i none = _mm_setzero_si128(), bytes = load_sse2(p);
    const __m128i low = _mm_unpacklo_epi8(bytes, none), high = _mm_unpackhi_epi8(bytes, none);
    if (width == 1) {
        store_sse2(to, bytes);
    } else if (width == 2) {
        store_sse2(to, low);
        store_sse2(to + 16, high);
    } else {
        store_sse2(to, _mm_unpacklo_epi16(low, none));
        store_sse2(to + 16, _mm_unpackhi_epi16(low, none));
        store_sse2(to + 32, _mm_unpacklo_epi16(high, none));
        store_sse2(to + 48, _mm_unpackhi_epi16(high, none));
    }
#else
    for (unsigned k = 0; k < 16; k++) {
        to = put(to, width, p[k]);
    }
#endif
}

#ifdef SSE_HAVE_SSE2
/* Write eight sequences of two bytes as eight code points, and return how many are valid before the first that is
 * not.
 */
SSE_INLINE unsigned put_pairs(unsigned char *to, int width, const unsigned char *p)
{
    const __m128i pairs = load_sse2(p);
    const __m128i shape = _mm_and_si128(pairs, _mm_set1_epi16((short)0xc0e0));
    const __m128i codes = _mm_or_si128(
        _mm_slli_epi16(_mm_and_si128(pairs, _mm_set1_epi16(0x1f)), 6),
        _mm_and_si128(_mm_srli_epi16(pairs, 8), _mm_set1_epi16(0x3f)));
    const __m128i valid = _mm_and_si128(
        _mm_cmpeq_epi16(shape, _mm_set1_epi16((short)0x80c0)), _mm_cmpgt_epi16(codes, _mm_set1_epi16(0x7f)));
    const unsigned run = sse_lowest(~gather_sse2(valid)) / 2;
    if (width == 1) {
        _mm_storel_epi64((__m128i *)(void *)to, _mm_packus_epi16(codes, codes));
    } else if (width == 2) {
        store_sse2(to, codes);
    } else if (width == 4) {
        store_sse2(to, _mm_unpacklo_epi16(codes, _mm_setzero_si128()));
        store_sse2(to + 16, _mm_unpackhi_epi16(codes, _mm_setzero_si128()));
    }
    return run;
}
#endif

SSE_INLINE void *write_text(
    unsigned char *to, const unsigned char *stop, int width, const unsigned char *p, size_t size)
{
    const unsigned char *const end = p + size;
    while (p < end) {
        const size_t left = (size_t)(end - p), room = (size_t)(stop - to);
        if (*p < 0x80) {
            if (left >= 16 && room >= 16 * (size_t)width) {
                const unsigned run = ascii16(p);
                put16(to, width, p);
                p += run;
                to += run * (unsigned)width;
            } else {
                do {
                    to = put(to, width, *p++);
                } while (p < end && *p < 0x80);
            }
            continue;
        }
#ifdef SSE_HAVE_SSE2
        if (*p < 0xe0 && left >= 16 && room >= 8 * (size_t)width) {
            const unsigned run = put_pairs(to, width, p);
            if (SSE_UNLIKELY(run == 0)) {
                return NULL;
            }
            p += 2 * run;
            to += run * (unsigned)width;
            continue;
        }
#endif
        do {
            uint32_t code;
            if (width != 1 && (*p & 0xf0) == 0xe0 && end - p >= 4) {
                const uint32_t word = sse_load32(p);
                code = (word & 0x0f) << 12 | (word >> 2 & 0xfc0) | (word >> 16 & 0x3f);
                if (SSE_UNLIKELY((word & 0xc0c000) != 0x808000 || code < 0x800 || (code & 0xf800) == 0xd800)) {
                    return NULL;
                }
                p += 3;
            } else {
                p += sequence(p, end, &code);
                if (SSE_UNLIKELY(code == 0)) {
                    return NULL;
                }
            }
            to = put(to, width, code);
        } while (p < end && *p >= 0xe0);
    }
    return to;
}

void *sse_write_text(void *to, const void *stop, int width, const unsigned char *utf8, size_t size)
{
    switch (width) {
    case 1:
        return write_text(to, stop, 1, utf8, size);
    case 2:
        return write_text(to, stop, 2, utf8, size);
    default:
        return write_text(to, stop, 4, utf8, size);
    }
}

int sse_is_utf8(const unsigned char *utf8, size_t size)
{
    unsigned char nowhere = 0;
    return write_text(&nowhere, &nowhere, 0, utf8, size) != NULL;
}

sse_text sse_measure_replaced(const unsigned char *utf8, size_t size)
{
    const unsigned char *p = utf8, *const end = utf8 + size;
    sse_text text = {0, 0x7f};
    uint32_t seen = 0; /* the bits of all code points: the classes of `top` are powers of two */
    for (; p < end; text.length++) {
        uint32_t code = *p;
        if (code < 0x80) {
            p++;
        } else {
            p += sequence(p, end, &code);
            seen |= code ? code : REPLACEMENT;
        }
    }
    if (seen > 0x7f) {
        text.top = seen <= 0xff ? 0xff : seen <= 0xffff ? 0xffff : 0x10ffff;
    }
    return text;
}

void *sse_write_replaced(void *to, int width, const unsigned char *utf8, size_t size)
{
    const unsigned char *p = utf8, *const end = utf8 + size;
    unsigned char *at = to;
    while (p < end) {
        uint32_t code = *p;
        if (code < 0x80) {
            p++;
        } else {
            p += sequence(p, end, &code);
            code = code ? code : REPLACEMENT;
        }
        at = put(at, width, code);
    }
    return at;
}
