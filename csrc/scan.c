/* Coming in: UTF-8 as text. (Line ends, which have a body for each instruction set, are in bodies.h.)
 *
 * Measure first, then write code points of their final width: what CPython wants, without a second copy.
 */

#include "sse.h"
#include "simd.h"

#define REPLACEMENT 0xfffdu

SSE_INLINE int continues(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* One code point at a byte from 0x80 on: returns how many bytes it takes. `*code` is 0 for a maximal subpart of
 * an ill-formed sequence: the lead and as many of its followers as could still have become a code point.
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

/* How many of these 16 bytes come before the first one from 0x80 on. */
SSE_INLINE unsigned ascii16(const unsigned char *p)
{
#ifdef SSE_HAVE_SSE2
    uint64_t high = gather_sse2(load_sse2(p));
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

sse_utf8 sse_measure_utf8(const unsigned char *utf8, size_t size)
{
    const unsigned char *p = utf8, *const end = utf8 + size;
    sse_utf8 text = {0, 0x7f, 1};
    uint32_t seen = 0; /* the bits of all code points: the classes of `top` are powers of two */

    while (p < end) {
        if (*p < 0x80) {
            unsigned run = 1;
            if (end - p >= 16) {
                run = ascii16(p);
            }
            p += run;
            text.length += run;
            continue;
        }
        do {
            uint32_t code;
            p += sequence(p, end, &code);
            if (SSE_UNLIKELY(code == 0)) {
                text.valid = 0;
                code = REPLACEMENT;
            }
            seen |= code;
            text.length++;
        } while (p < end && *p >= 0x80);
    }
    if (seen > 0x7f) {
        text.top = seen <= 0xff ? 0xff : seen <= 0xffff ? 0xffff : 0x10ffff;
    }
    return text;
}

SSE_INLINE void put(void *to, int width, size_t i, uint32_t code)
{
    if (width == 1) {
        ((uint8_t *)to)[i] = (uint8_t)code;
    } else if (width == 2) {
        ((uint16_t *)to)[i] = (uint16_t)code;
    } else {
        ((uint32_t *)to)[i] = code;
    }
}

/* Sixteen bytes, each a code point of its own. */
SSE_INLINE void widen16(void *to, int width, size_t i, const unsigned char *p)
{
    if (width == 1) {
        memcpy((uint8_t *)to + i, p, 16);
        return;
    }
#ifdef SSE_HAVE_SSE2
    const __m128i none = _mm_setzero_si128(), bytes = load_sse2(p);
    const __m128i low = _mm_unpacklo_epi8(bytes, none), high = _mm_unpackhi_epi8(bytes, none);
    if (width == 2) {
        __m128i *at = (__m128i *)(void *)((uint16_t *)to + i);
        _mm_storeu_si128(at, low);
        _mm_storeu_si128(at + 1, high);
    } else {
        __m128i *at = (__m128i *)(void *)((uint32_t *)to + i);
        _mm_storeu_si128(at, _mm_unpacklo_epi16(low, none));
        _mm_storeu_si128(at + 1, _mm_unpackhi_epi16(low, none));
        _mm_storeu_si128(at + 2, _mm_unpacklo_epi16(high, none));
        _mm_storeu_si128(at + 3, _mm_unpackhi_epi16(high, none));
    }
#else
    for (unsigned k = 0; k < 16; k++) {
        put(to, width, i + k, p[k]);
    }
#endif
}

SSE_INLINE void *write_text(void *to, int width, const unsigned char *p, const unsigned char *end)
{
    size_t i = 0;
    while (p < end) {
        if (*p < 0x80) {
            if (end - p >= 64) {
                /* 64 bytes are at least 16 code points, so there is room for 16 even when fewer are kept. */
                unsigned run = ascii16(p);
                widen16(to, width, i, p);
                p += run;
                i += run;
            } else {
                put(to, width, i++, *p++);
            }
            continue;
        }
        do {
            uint32_t code;
            p += sequence(p, end, &code);
            put(to, width, i++, code ? code : REPLACEMENT);
        } while (p < end && *p >= 0x80);
    }
    return (uint8_t *)to + i * (size_t)width;
}

void *sse_write_text(void *to, int width, const unsigned char *utf8, size_t size)
{
    if (width == 1) {
        return write_text(to, 1, utf8, utf8 + size);
    }
    if (width == 2) {
        return write_text(to, 2, utf8, utf8 + size);
    }
    return write_text(to, 4, utf8, utf8 + size);
}
