/* Internal: the kernels that have a body for each instruction set, said once.
 *
 * Included by bodies.c again and again with SSE_SET, the suffix of the steps in simd.h, and SSE_TARGET, the
 * attribute that lets a function use them. No include guard, on purpose.
 */

#define SSE_PASTE(name, set) name##_##set
#define SSE_NAME(name, set) SSE_PASTE(name, set)
#define MASKS64 SSE_NAME(masks64, SSE_SET)
#define MASKS16 SSE_NAME(masks16, SSE_SET)
#define COPY64 SSE_NAME(copy64, SSE_SET)
#define COPY16 SSE_NAME(copy16, SSE_SET)

/* The masks of 1 to 63 bytes, by loads that overlap: the same byte gives the same bit twice. */
SSE_TARGET static inline sse_masks SSE_NAME(masks_short, SSE_SET)(const unsigned char *p, size_t size)
{
    sse_masks masks, part;
    if (size < 8) {
        return sse_masks8(sse_load_short(p, size));
    }
    if (size < 16) {
        masks = sse_masks8(sse_load64(p));
        part = sse_masks8(sse_load64(p + size - 8));
        masks.ends |= part.ends << (size - 8);
        masks.high |= part.high << (size - 8);
        return masks;
    }
    masks = MASKS16(p + size - 16);
    masks.ends <<= size - 16;
    masks.high <<= size - 16;
    for (size_t i = 0; i < size - 16; i += 16) {
        part = MASKS16(p + i);
        masks.ends |= part.ends << i;
        masks.high |= part.high << i;
    }
    return masks;
}

SSE_TARGET static size_t SSE_NAME(sse_split, SSE_SET)(
    const unsigned char **at, const unsigned char *end, sse_line *lines, size_t room)
{
    const unsigned char *line = *at;
    const unsigned char *block = line;
    const int whole = end - line >= 64;
    size_t found = 0;
    uint64_t high = 0; /* not 0: the line has bytes from 0x80 on in the blocks before this one */

    while (block < end) {
        size_t left = (size_t)(end - block);
        sse_masks masks;
        if (left >= 64) {
            masks = MASKS64(block);
        } else if (whole) {
            masks = MASKS64(end - 64);
            masks.ends >>= 64 - left;
            masks.high >>= 64 - left;
        } else {
            masks = SSE_NAME(masks_short, SSE_SET)(block, left);
        }
        const unsigned char *next = block + 64;
        while (masks.ends) {
            unsigned i = sse_lowest(masks.ends);
            uint64_t upto = ((uint64_t)2 << i) - 1; /* bits 0 to i; a line end is never high itself */
            const unsigned char *stop = block + i;
            lines[found].text = line;
            lines[found].size = (size_t)(stop - line);
            lines[found].ascii = (high | (masks.high & upto)) == 0;
            found++;
            high = 0;
            masks.high &= ~upto;
            masks.ends &= masks.ends - 1;
            line = stop + 1;
            if (*stop == '\r' && line < end && *line == '\n') {
                line++;
                masks.ends &= masks.ends - 1; /* its LF is the next end, or, after bit 63, in the next block */
                if (i == 63) {
                    next = line;
                }
            }
            if (found == room) {
                *at = line;
                return found;
            }
        }
        high |= masks.high;
        block = next;
    }
    lines[found].text = line;
    lines[found].size = (size_t)(end - line);
    lines[found].ascii = high == 0;
    *at = line;
    return found;
}

SSE_TARGET static int SSE_NAME(sse_copy_line, SSE_SET)(unsigned char *to, const unsigned char *from, size_t size)
{
    sse_masks found, part;
    uint64_t high = 0;
    size_t i = 0;

    if (size < 16) {
        if (size < 8) {
            if (size == 0) {
                return 0;
            }
            uint64_t word = sse_load_short(from, size);
            found.ends = sse_ends8(word);
            found.high = word & SSE_EACH(0x80);
            if (size >= 4) {
                memcpy(to + size - 4, from + size - 4, 4);
                memcpy(to, from, 4);
            } else {
                to[size - 1] = from[size - 1];
                to[size >> 1] = from[size >> 1];
                to[0] = from[0];
            }
        } else {
            uint64_t low = sse_load64(from), last = sse_load64(from + size - 8);
            memcpy(to, from, 8);
            memcpy(to + size - 8, from + size - 8, 8);
            found.ends = sse_ends8(low) | sse_ends8(last);
            found.high = (low | last) & SSE_EACH(0x80);
        }
        return (found.ends ? SSE_LINE_END : 0) | (found.high ? SSE_NOT_ASCII : 0);
    }
    for (; i + 64 <= size; i += 64) {
        found = COPY64(to + i, from + i);
        if (SSE_UNLIKELY(found.ends)) {
            return SSE_LINE_END;
        }
        high |= found.high;
    }
    found = COPY16(to + size - 16, from + size - 16);
    for (; i + 16 < size; i += 16) {
        part = COPY16(to + i, from + i);
        found.ends |= part.ends;
        found.high |= part.high;
    }
    return (found.ends ? SSE_LINE_END : 0) | (high | found.high ? SSE_NOT_ASCII : 0);
}

#undef SSE_PASTE
#undef SSE_NAME
#undef MASKS64
#undef MASKS16
#undef COPY64
#undef COPY16
#undef SSE_SET
#undef SSE_TARGET
