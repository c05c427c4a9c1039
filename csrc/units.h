/* Internal: text of one width as lines of UTF-8. Included by write.c for each width, with SSE_UNIT, the unit's
 * type, and SSE_WIDTH, its size. No include guard, on purpose.
 */

#define SSE_PASTE(name, width) name##width
#define SSE_NAME(name, width) SSE_PASTE(name, width)

/* The steps are so plain, and their counters so narrow, that compilers turn them into vector code. */
static sse_lines SSE_NAME(measure, SSE_WIDTH)(const SSE_UNIT *text, size_t length)
{
    sse_lines lines = {0, 1, 1};
    size_t ends = 0, returns = 0, pairs = 0, wide = 0;

    for (size_t i = 0; i < length;) {
        const size_t stop = length - i < 128 ? length : i + 128;
        SSE_UNIT lf = 0, cr = 0, two = 0, three = 0, four = 0, bad = 0; /* none can exceed 128 */
        for (; i < stop; i++) {
            const SSE_UNIT unit = text[i];
            lf += unit == '\n';
            cr += unit == '\r';
            two += unit >= 0x80;
#if SSE_WIDTH > 1
            three += unit >= 0x800;
            bad |= (unit & 0xfffff800u) == 0xd800;
#endif
#if SSE_WIDTH > 2
            four += unit >= 0x10000;
#endif
        }
        ends += (size_t)lf + cr;
        returns += cr;
        wide += (size_t)two + three + four;
        if (bad) {
            lines.valid = 0;
        }
    }
    if (returns) {
        for (size_t i = 1; i < length; i++) {
            pairs += text[i] == '\n' && text[i - 1] == '\r';
        }
    }
    lines.lines += ends - pairs;
    lines.size = length - ends + wide;
    return lines;
}

/* Copy 16 units as bytes, if all are ASCII and none is a line end. */
SSE_INLINE int SSE_NAME(narrow, SSE_WIDTH)(unsigned char *to, const SSE_UNIT *text)
{
#ifdef SSE_HAVE_SSE2
    __m128i bytes;
#if SSE_WIDTH == 1
    bytes = load_sse2(text);
    if (gather_sse2(_mm_or_si128(bytes, ends_sse2(bytes)))) {
        return 0;
    }
#else
    const __m128i none = _mm_setzero_si128();
#if SSE_WIDTH == 2
    const __m128i low = load_sse2(text), high = load_sse2(text + 8);
    const __m128i beyond = _mm_and_si128(_mm_or_si128(low, high), _mm_set1_epi16((short)0xff80));
    bytes = _mm_packus_epi16(low, high);
#else
    const __m128i a = load_sse2(text), b = load_sse2(text + 4), c = load_sse2(text + 8), d = load_sse2(text + 12);
    const __m128i all = _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d));
    const __m128i beyond = _mm_and_si128(all, _mm_set1_epi32((int)0xffffff80));
    bytes = _mm_packus_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
#endif
    if (gather_sse2(_mm_andnot_si128(ends_sse2(bytes), _mm_cmpeq_epi8(beyond, none))) != 0xffff) {
        return 0;
    }
#endif
    _mm_storeu_si128((__m128i *)(void *)to, bytes);
    return 1;
#else
    SSE_UNIT beyond = 0, ends = 0;
    for (unsigned k = 0; k < 16; k++) {
        beyond |= text[k];
        ends |= (text[k] == '\n') | (text[k] == '\r');
    }
    if (beyond >= 0x80 || ends) {
        return 0;
    }
    for (unsigned k = 0; k < 16; k++) {
        to[k] = (unsigned char)text[k];
    }
    return 1;
#endif
}

static unsigned char *SSE_NAME(write, SSE_WIDTH)(
    unsigned char *to, const SSE_UNIT *text, size_t length, const char *head, size_t head_size)
{
    size_t i = 0;

    memcpy(to, head, head_size);
    to += head_size;
    while (i < length) {
        size_t stop = length;
        if (length - i >= 16) {
            if (SSE_NAME(narrow, SSE_WIDTH)(to, text + i)) {
                to += 16;
                i += 16;
                continue;
            }
            stop = i + 16;
        }
        for (; i < stop; i++) {
            const uint32_t code = text[i];
            if (code < 0x80) {
                if (code == '\n' || code == '\r') {
                    if (code == '\r' && i + 1 < length && text[i + 1] == '\n') {
                        i++;
                    }
                    *to++ = '\n';
                    memcpy(to, head, head_size);
                    to += head_size;
                } else {
                    *to++ = (unsigned char)code;
                }
#if SSE_WIDTH > 1
            } else if (code >= 0x800) {
#if SSE_WIDTH > 2
                if (code >= 0x10000) {
                    *to++ = (unsigned char)(0xf0 | code >> 18);
                    *to++ = (unsigned char)(0x80 | (code >> 12 & 0x3f));
                } else
#endif
                {
                    *to++ = (unsigned char)(0xe0 | code >> 12);
                }
                *to++ = (unsigned char)(0x80 | (code >> 6 & 0x3f));
                *to++ = (unsigned char)(0x80 | (code & 0x3f));
#endif
            } else {
                *to++ = (unsigned char)(0xc0 | code >> 6);
                *to++ = (unsigned char)(0x80 | (code & 0x3f));
            }
        }
    }
    *to++ = '\n';
    return to;
}

#undef SSE_PASTE
#undef SSE_NAME
#undef SSE_UNIT
#undef SSE_WIDTH
