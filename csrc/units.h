/* Internal: text of one width as lines of UTF-8. Included by write.c for each width, with SSE_UNIT, the unit's
 * type, and SSE_WIDTH, its size. No include guard, on purpose.
 */

#define SSE_PASTE(name, width) name##width
#define SSE_NAME(name, width) SSE_PASTE(name, width)

#ifdef SSE_HAVE_SSE2

/* Sixteen units. `bytes` are right for those below 0x80; others have become bytes that are neither that nor a
 * line end.
 */
typedef struct {
    __m128i bytes;
#if SSE_WIDTH > 1
    __m128i a, b; /* as 16-bit units; what is beyond them has become 0x7fff */
#endif
} SSE_NAME(sixteen, SSE_WIDTH);

SSE_INLINE SSE_NAME(sixteen, SSE_WIDTH) SSE_NAME(load, SSE_WIDTH)(const SSE_UNIT *text)
{
    SSE_NAME(sixteen, SSE_WIDTH) units;
#if SSE_WIDTH == 1
    units.bytes = load_sse2(text);
#else
#if SSE_WIDTH == 2
    units.a = load_sse2(text);
    units.b = load_sse2(text + 8);
#else
    units.a = _mm_packs_epi32(load_sse2(text), load_sse2(text + 4));
    units.b = _mm_packs_epi32(load_sse2(text + 8), load_sse2(text + 12));
#endif
    units.bytes = _mm_packus_epi16(units.a, units.b); /* from 0x8000 on it is 0, else at most 0xff */
#endif
    return units;
}

/* How many bytes more than one each unit takes. */
SSE_INLINE __m128i SSE_NAME(extra, SSE_WIDTH)(SSE_NAME(sixteen, SSE_WIDTH) units, const SSE_UNIT *text)
{
#if SSE_WIDTH == 1
    (void)text;
    return _mm_and_si128(_mm_cmplt_epi8(units.bytes, _mm_setzero_si128()), _mm_set1_epi8(1));
#else
    __m128i extra = _mm_set1_epi8(2);
    extra = _mm_add_epi8(extra, _mm_packs_epi16(below_sse2(units.a, 0xff80), below_sse2(units.b, 0xff80)));
    extra = _mm_add_epi8(extra, _mm_packs_epi16(below_sse2(units.a, 0xf800), below_sse2(units.b, 0xf800)));
#if SSE_WIDTH == 4
    const __m128i most = _mm_set1_epi32(0xffff);
    const __m128i a = _mm_packs_epi32(
        _mm_cmpgt_epi32(load_sse2(text), most), _mm_cmpgt_epi32(load_sse2(text + 4), most));
    const __m128i b = _mm_packs_epi32(
        _mm_cmpgt_epi32(load_sse2(text + 8), most), _mm_cmpgt_epi32(load_sse2(text + 12), most));
    extra = _mm_sub_epi8(extra, _mm_packs_epi16(a, b));
#else
    (void)text;
#endif
    return extra;
#endif
}

/* Write 16 units as bytes; returns how many of them are right from the first on: ASCII and no line end. */
SSE_INLINE unsigned SSE_NAME(narrow, SSE_WIDTH)(unsigned char *to, const SSE_UNIT *text)
{
    const SSE_NAME(sixteen, SSE_WIDTH) units = SSE_NAME(load, SSE_WIDTH)(text);
    store_sse2(to, units.bytes);
    if (is_plain_sse2(units.bytes)) {
        return 16;
    }
#if SSE_WIDTH == 1
    const __m128i ascii = _mm_cmpgt_epi8(units.bytes, _mm_set1_epi8(-1));
#else
    const __m128i ascii = _mm_packs_epi16(below_sse2(units.a, 0xff80), below_sse2(units.b, 0xff80));
#endif
    const uint64_t good = gather_sse2(_mm_andnot_si128(ends_sse2(units.bytes), ascii));
    return sse_lowest(~good); /* 16 at most: the bits from 16 on are 0 */
}

#endif

static sse_lines SSE_NAME(measure, SSE_WIDTH)(const SSE_UNIT *text, size_t length)
{
    sse_lines lines = {0, 1};
    size_t extra = 0, ends = 0, returns = 0, i = 0;

#ifdef SSE_HAVE_SSE2
    const __m128i none = _mm_setzero_si128();
    __m128i sum = none, found = none, found_cr = none;
    for (; length - i >= 16; i += 16) {
        const SSE_NAME(sixteen, SSE_WIDTH) units = SSE_NAME(load, SSE_WIDTH)(text + i);
        if (is_plain_sse2(units.bytes)) {
            continue;
        }
        const __m128i cr = _mm_cmpeq_epi8(units.bytes, _mm_set1_epi8('\r'));
        sum = _mm_add_epi64(sum, _mm_sad_epu8(SSE_NAME(extra, SSE_WIDTH)(units, text + i), none));
        found = _mm_add_epi64(found, _mm_sad_epu8(_mm_sub_epi8(none, ends_sse2(units.bytes)), none));
        found_cr = _mm_add_epi64(found_cr, _mm_sad_epu8(_mm_sub_epi8(none, cr), none));
    }
    if (i && i < length && is_plain_sse2(SSE_NAME(load, SSE_WIDTH)(text + length - 16).bytes)) {
        i = length; /* the last 16 overlap what is done, and add nothing */
    }
    extra = total_sse2(sum);
    ends = total_sse2(found);
    returns = total_sse2(found_cr);
#endif
    for (; i < length; i++) {
        const uint32_t unit = text[i];
        extra += (size_t)(unit >= 0x80) + (unit >= 0x800) + (unit >= 0x10000);
        ends += unit == '\n' || unit == '\r';
        returns += unit == '\r';
    }
    lines.size = length + extra - ends;
    lines.lines += ends;
    if (returns) {
        for (i = 1; i < length; i++) {
            lines.lines -= text[i] == '\n' && text[i - 1] == '\r';
        }
    }
    return lines;
}

#if defined(SSE_HAVE_SSE2) && SSE_WIDTH == 2
/* Write 8 units as sequences of two bytes; returns how many of them are that long from the first on. */
SSE_INLINE unsigned narrow_pairs(unsigned char *to, const SSE_UNIT *text)
{
    const __m128i units = load_sse2(text);
    const __m128i two = _mm_andnot_si128(below_sse2(units, 0xff80), below_sse2(units, 0xf800));
    const __m128i lead = _mm_or_si128(_mm_srli_epi16(units, 6), _mm_set1_epi16(0xc0));
    const __m128i rest = _mm_or_si128(_mm_and_si128(units, _mm_set1_epi16(0x3f)), _mm_set1_epi16(0x80));
    store_sse2(to, _mm_or_si128(lead, _mm_slli_epi16(rest, 8)));
    return sse_lowest(~gather_sse2(two)) / 2;
}
#endif

/* Write units from `*at` on up to a line end, a surrogate or the end, and move `*at` there. */
SSE_INLINE unsigned char *SSE_NAME(put_line, SSE_WIDTH)(
    unsigned char *to, const unsigned char *stop, const SSE_UNIT *text, size_t length, size_t *at)
{
    size_t i = *at;
#ifndef SSE_HAVE_SSE2
    (void)stop;
#endif
    while (i < length) {
        const uint32_t code = text[i];
        if (code < 0x80) {
#ifdef SSE_HAVE_SSE2
            unsigned run = 16;
            while (run == 16 && length - i >= 16 && stop - to >= 16) {
                run = SSE_NAME(narrow, SSE_WIDTH)(to, text + i);
                to += run;
                i += run;
            }
            if (i == length || text[i] >= 0x80) {
                continue;
            }
            const size_t left = length - i;
            if (left < 16 && length >= 16) {
                /* The last 16 units, when they are plain: those of them that are done are done as the same bytes. */
                const __m128i bytes = SSE_NAME(load, SSE_WIDTH)(text + length - 16).bytes;
                if (is_plain_sse2(bytes)) {
                    store_sse2(to + left - 16, bytes);
                    to += left;
                    i = length;
                    break;
                }
            }
#endif
            if (text[i] == '\n' || text[i] == '\r') {
                break;
            }
            *to++ = (unsigned char)text[i];
        } else if (code < 0x800) {
#if defined(SSE_HAVE_SSE2) && SSE_WIDTH == 2
            if (length - i >= 8 && stop - to >= 16) {
                const unsigned run = narrow_pairs(to, text + i);
                to += 2 * run;
                i += run;
                continue;
            }
#endif
            *to++ = (unsigned char)(0xc0 | code >> 6);
            *to++ = (unsigned char)(0x80 | (code & 0x3f));
#if SSE_WIDTH > 1
        } else if (code < 0x10000) {
            if (SSE_UNLIKELY((code & 0xf800) == 0xd800)) {
                break;
            }
            /* The fourth byte is where the next one comes: an LF, if nothing else. */
            sse_store32(to, 0x8080e0 | code >> 12 | (code & 0xfc0) << 2 | (code & 0x3f) << 16);
            to += 3;
#endif
#if SSE_WIDTH > 2
        } else {
            *to++ = (unsigned char)(0xf0 | code >> 18);
            *to++ = (unsigned char)(0x80 | (code >> 12 & 0x3f));
            *to++ = (unsigned char)(0x80 | (code >> 6 & 0x3f));
            *to++ = (unsigned char)(0x80 | (code & 0x3f));
#endif
        }
        i++;
    }
    *at = i;
    return to;
}

static unsigned char *SSE_NAME(write, SSE_WIDTH)(
    unsigned char *to, const unsigned char *stop, const SSE_UNIT *text, size_t length, const char *head,
    size_t head_size)
{
    size_t i = 0;
    for (;;) {
        memcpy(to, head, head_size);
        to = SSE_NAME(put_line, SSE_WIDTH)(to + head_size, stop, text, length, &i);
        if (i == length) {
            *to++ = '\n';
            return to;
        }
        if (SSE_UNLIKELY(text[i] >= 0x80)) {
            return NULL;
        }
        *to++ = '\n';
        i += text[i] == '\r' && i + 1 < length && text[i + 1] == '\n' ? 2 : 1;
    }
}

#undef SSE_PASTE
#undef SSE_NAME
#undef SSE_UNIT
#undef SSE_WIDTH
