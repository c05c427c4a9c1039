/* Internal: text of one width as data lines of UTF-8. write.c includes this file once for each width, after defining
 * SSE_UNIT, the type of a unit, and SSE_WIDTH, its size in bytes. There is no include guard, on purpose.
 */

#define SSE_PASTE(name, width) name##width
#define SSE_NAME(name, width) SSE_PASTE(name, width)

#ifdef SSE_HAVE_SSE2

/* Sixteen units. `bytes` has the units below 0x80 as they are; every other unit has become a byte that is neither
 * plain nor a line end.
 */
typedef struct {
    __m128i bytes;
#if SSE_WIDTH > 1
    __m128i a, b; /* as 16-bit units; a unit that does not fit has become 0x7fff */
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
    units.bytes = _mm_packus_epi16(units.a, units.b); /* units from 0x8000 on become 0, others at most 0xff */
#endif
    return units;
}

/* For each unit, the bytes that it takes in UTF-8 beyond the first. */
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

/* Of 16 units that are not all plain, count those before the first that is a line end or not ASCII. */
SSE_INLINE unsigned SSE_NAME(run, SSE_WIDTH)(SSE_NAME(sixteen, SSE_WIDTH) units)
{
#if SSE_WIDTH == 1
    const __m128i ascii = _mm_cmpgt_epi8(units.bytes, _mm_set1_epi8(-1));
#else
    const __m128i ascii = _mm_packs_epi16(below_sse2(units.a, 0xff80), below_sse2(units.b, 0xff80));
#endif
    const uint64_t good = gather_sse2(_mm_andnot_si128(ends_sse2(units.bytes), ascii));
    return sse_lowest(~good); /* at most 16, because the bits of `good` from 16 on are 0 */
}

/* Write 8 units as sequences of two bytes, and return how many units need two before the first that does not. */
SSE_INLINE unsigned SSE_NAME(put_pairs, SSE_WIDTH)(unsigned char *to, const SSE_UNIT *text)
{
#if SSE_WIDTH == 1
    const __m128i units = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)(const void *)text), _mm_setzero_si128());
#elif SSE_WIDTH == 2
    const __m128i units = load_sse2(text);
#else
    const __m128i units = _mm_packs_epi32(load_sse2(text), load_sse2(text + 4));
#endif
    const __m128i two = _mm_andnot_si128(below_sse2(units, 0xff80), below_sse2(units, 0xf800));
    const __m128i lead = _mm_or_si128(_mm_srli_epi16(units, 6), _mm_set1_epi16(0xc0));
    const __m128i rest = _mm_or_si128(_mm_and_si128(units, _mm_set1_epi16(0x3f)), _mm_set1_epi16(0x80));
    store_sse2(to, _mm_or_si128(lead, _mm_slli_epi16(rest, 8)));
    return sse_lowest(~gather_sse2(two)) / 2;
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
        i = length; /* the last 16 units are plain and add nothing, and some were counted before */
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

/* Write text; every line end becomes the beginning of the next data line. Four bytes are stored where three are
 * needed, and eight where seven are: there is room, because an LF at least is still to come.
 */
static unsigned char *SSE_NAME(write, SSE_WIDTH)(
    unsigned char *to, const unsigned char *stop, const SSE_UNIT *text, size_t length)
{
    size_t i = 0;
    (void)stop; /* only vector code stores more than it keeps, and must mind the end */
    while (i < length) {
        uint32_t code = text[i];
        if (code < 0x80) {
#ifdef SSE_HAVE_SSE2
            while (length - i >= 16 && stop - to >= 16) {
                const SSE_NAME(sixteen, SSE_WIDTH) units = SSE_NAME(load, SSE_WIDTH)(text + i);
                unsigned run = 16;
                store_sse2(to, units.bytes);
                if (!is_plain_sse2(units.bytes)) {
                    run = SSE_NAME(run, SSE_WIDTH)(units);
                }
                to += run;
                i += run;
                if (run < 16) {
                    break;
                }
            }
            if (i == length || text[i] >= 0x80) {
                continue;
            }
            const size_t left = length - i;
            if (left < 16 && length >= 16) {
                /* When the last 16 units are plain, store them all: those written before become the same bytes. */
                const __m128i bytes = SSE_NAME(load, SSE_WIDTH)(text + length - 16).bytes;
                if (is_plain_sse2(bytes)) {
                    store_sse2(to + left - 16, bytes);
                    to += left;
                    break;
                }
            }
#endif
            code = text[i++];
            if (code == '\n' || code == '\r') {
                to = sse_put_next(to);
                i += code == '\r' && i < length && text[i] == '\n';
            } else {
                *to++ = (unsigned char)code;
            }
        } else if (code < 0x800) {
#ifdef SSE_HAVE_SSE2
            if (length - i >= 8 && stop - to >= 16) {
                const unsigned run = SSE_NAME(put_pairs, SSE_WIDTH)(to, text + i);
                to += 2 * run;
                i += run;
                continue;
            }
#endif
            *to++ = (unsigned char)(0xc0 | code >> 6);
            *to++ = (unsigned char)(0x80 | (code & 0x3f));
            i++;
#if SSE_WIDTH > 1
        } else {
            do {
                if (SSE_UNLIKELY((code & 0xfffff800u) == 0xd800)) {
                    return NULL;
                }
#if SSE_WIDTH > 2
                if (code >= 0x10000) {
                    const uint32_t tail = (code >> 4 & 0x3f00) | (code & 0xfc0) << 10 | (code & 0x3f) << 24;
                    sse_store32(to, 0x808080f0 | code >> 18 | tail);
                    to += 4;
                } else
#endif
                {
                    sse_store32(to, 0x8080e0 | code >> 12 | (code & 0xfc0) << 2 | (code & 0x3f) << 16);
                    to += 3;
                }
                i++;
            } while (i < length && (code = text[i]) >= 0x800);
#endif
        }
    }
    return to;
}

#undef SSE_PASTE
#undef SSE_NAME
#undef SSE_UNIT
#undef SSE_WIDTH
