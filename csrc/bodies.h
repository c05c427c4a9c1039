/* Internal: the text of the kernels that have a body for each instruction set.
 *
 * choose.c includes this file once for each set. Before, it defines SSE_SET, the suffix of the steps in simd.h, and
 * SSE_TARGET, the attribute that lets a function use the set. There is no include guard, on purpose.
 */

#define SSE_PASTE(name, set) name##_##set
#define SSE_NAME(name, set) SSE_PASTE(name, set)
#define PLAIN64 SSE_NAME(plain64, SSE_SET)
#define MASKS64 SSE_NAME(masks64, SSE_SET)
#define MASKS16 SSE_NAME(masks16, SSE_SET)
#define MASKS8X2 SSE_NAME(masks8x2, SSE_SET)
#define COPY64 SSE_NAME(copy64, SSE_SET)
#define COPY16 SSE_NAME(copy16, SSE_SET)
#define LOOK16 SSE_NAME(look16, SSE_SET)

/* The masks of 1 to 63 bytes. Loads overlap instead of reading past the end; a byte that is read twice sets its bit
 * twice, which changes nothing.
 */
SSE_TARGET static inline sse_masks SSE_NAME(masks_short, SSE_SET)(const unsigned char *p, size_t size)
{
    sse_masks masks, part;
    if (size < 8) {
        return sse_masks8(sse_load_short(p, size));
    }
    if (size < 16) {
        part = MASKS8X2(p, p + size - 8);
        masks.ends = (part.ends & 0xff) | part.ends >> 8 << (size - 8);
        masks.high = (part.high & 0xff) | part.high >> 8 << (size - 8);
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

SSE_TARGET static size_t SSE_NAME(sse_split, SSE_SET)(sse_scan *scan, sse_line *lines)
{
    const unsigned char *const end = scan->end;
    const unsigned char *block = scan->block, *line = scan->rest.text;
    uint64_t high = scan->rest.high;
    size_t found = 0;

    while (block < end && found <= SSE_LINES - 64) {
        const size_t left = (size_t)(end - block);
        sse_masks masks;
        if (left >= 64) {
            if (PLAIN64(block)) {
                block += 64;
                continue;
            }
            masks = MASKS64(block);
        } else if (end - scan->begin >= 64) {
            masks = MASKS64(end - 64);
            masks.ends >>= 64 - left;
            masks.high >>= 64 - left;
        } else {
            masks = SSE_NAME(masks_short, SSE_SET)(block, left);
        }
        const unsigned char *next = left < 64 ? end : block + 64;
        while (masks.ends) {
            const unsigned char *stop = block + sse_lowest(masks.ends);
            const uint64_t upto = masks.ends ^ (masks.ends - 1); /* the bits of the line and of its end */
            lines[found].text = line;
            lines[found].size = (size_t)(stop - line);
            lines[found].high = high | (masks.high & upto);
            found++;
            high = 0;
            masks.high &= ~upto;
            masks.ends &= ~upto;
            line = stop + 1;
            if (SSE_UNLIKELY(*stop == '\r') && line < end && *line == '\n') {
                line++;
                masks.ends &= masks.ends - 1; /* drop the LF of a CRLF; after bit 63 it is in the next block */
                if (stop == block + 63) {
                    next = line;
                }
            }
        }
        high |= masks.high;
        block = next;
    }
    scan->block = block;
    scan->rest.text = line;
    scan->rest.size = (size_t)(end - line);
    scan->rest.high = high;
    return found;
}

/* Copy the rest of a line of which a part is not plain. Out of line, so that the common case stays small. */
SSE_TARGET SSE_NOINLINE static int SSE_NAME(copy_rest, SSE_SET)(
    unsigned char *to, const unsigned char *from, size_t size)
{
    int met = 0;
    while (size >= 16) {
        if (!COPY16(to, from)) {
            met |= LOOK16(from);
            if (met & SSE_LINE_END) {
                return met;
            }
        }
        to += 16;
        from += 16;
        size -= 16;
    }
    return met | sse_copy_short(to, from, size);
}

SSE_TARGET static int SSE_NAME(sse_copy_long, SSE_SET)(unsigned char *to, const unsigned char *from, size_t size)
{
    for (; size >= 64; size -= 64, to += 64, from += 64) {
        if (SSE_UNLIKELY(!COPY64(to, from))) {
            return SSE_NAME(copy_rest, SSE_SET)(to, from, size);
        }
    }
    for (; size >= 16; size -= 16, to += 16, from += 16) {
        if (SSE_UNLIKELY(!COPY16(to, from))) {
            return SSE_NAME(copy_rest, SSE_SET)(to, from, size);
        }
    }
    if (size && SSE_UNLIKELY(!COPY16(to + size - 16, from + size - 16))) { /* overlaps bytes copied before */
        return SSE_NAME(copy_rest, SSE_SET)(to, from, size);
    }
    return 0;
}

/* Copies through registers. A C library may copy this much with `rep movsb`, which takes up to half as long again,
 * depending on the distance between the two addresses.
 */
SSE_TARGET static void SSE_NAME(sse_copy_large, SSE_SET)(unsigned char *to, const unsigned char *from, size_t size)
{
    size_t i = 0;
    for (; size - i >= 128; i += 128) {
        (void)COPY64(to + i, from + i);
        (void)COPY64(to + i + 64, from + i + 64);
    }
    for (; i < size; i += 64) {
        i = size - i >= 64 ? i : size - 64; /* overlaps bytes copied before */
        (void)COPY64(to + i, from + i);
    }
}

#undef SSE_PASTE
#undef SSE_NAME
#undef PLAIN64
#undef MASKS64
#undef MASKS16
#undef MASKS8X2
#undef COPY64
#undef COPY16
#undef LOOK16
#undef SSE_SET
#undef SSE_TARGET
