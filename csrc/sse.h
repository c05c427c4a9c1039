/* The kernels of the codec and of forms: the loops that look at every byte.
 *
 * The contract, for every function here:
 *   - pointer and length in, size or pointer out; a length is in units of what the pointer points at;
 *   - no Python.h, no allocation, no failure, no state except the choice of a body, which is made once;
 *   - no read and no write past the end of what was given; any alignment; a length may be 0;
 *   - linear in the length, for every input;
 *   - the caller owns every buffer, and no pointer is kept after the call.
 *
 * Line ends are CR, LF and CRLF and nothing else (HTML, "Server-sent events", section 9.2.5).
 * `sse_split`, `sse_copy_long` and `sse_copy_large` have a body for each instruction set; until `sse_choose` is called
 * they are the bodies of the baseline. All bodies of a kernel give the same answer.
 */
#ifndef FASTSSE_SSE_H
#define FASTSSE_SSE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Choose the best bodies that this machine can run, and return their name. Call once, before there are threads. */
const char *sse_choose(void);


/* Coming in: lines */

enum { SSE_LINES = 128 }; /* the most lines that one call of `sse_split` finds */

typedef struct {
    const unsigned char *text; /* the first byte of the line, or where it would be */
    size_t size;               /* bytes, without the line end */
    uint64_t high;             /* not 0 when some of them are from 0x80 on */
} sse_line;

/* How far a chunk has been searched for lines. */
typedef struct {
    sse_line rest;              /* the line that no line end has closed yet; may be empty */
    const unsigned char *block; /* the next byte to search */
    const unsigned char *begin, *end;
} sse_scan;

/* Begin to search a chunk. */
static inline void sse_begin(sse_scan *scan, const unsigned char *chunk, size_t size)
{
    scan->rest.text = scan->block = scan->begin = chunk;
    scan->rest.size = 0;
    scan->rest.high = 0;
    scan->end = chunk + size;
}

/* Find the next lines, at most SSE_LINES, and return how many. When `block` has reached `end`, there are no more
 * lines, and `rest` is the part of the chunk that no line end closes.
 *
 * An LF that follows its CR is part of that line end; a CR that is the last byte ends its line.
 */
extern size_t (*sse_split)(sse_scan *scan, sse_line *lines);


/* Coming in: text */

extern void (*sse_copy_large)(unsigned char *to, const unsigned char *from, size_t size); /* 64 or more */

/* Copy bytes of a value. For a short copy, the call of `memcpy` costs more than the copy itself. Above 1 MiB, which no
 * longer fits in a cache, `memcpy` is best. Between 256 bytes and 1 MiB our own loop is steadier.
 */
static inline void sse_copy(unsigned char *to, const unsigned char *from, size_t size)
{
    size_t i = 0;
    if (size > 1u << 20) {
        memcpy(to, from, size);
    } else if (size > 256) {
        sse_copy_large(to, from, size);
    } else if (size >= 16) {
        for (; size - i >= 16; i += 16) {
            memcpy(to + i, from + i, 16);
        }
        memcpy(to + size - 16, from + size - 16, 16); /* overlaps bytes copied before */
    } else if (size >= 8) {
        memcpy(to, from, 8);
        memcpy(to + size - 8, from + size - 8, 8);
    } else if (size >= 4) {
        memcpy(to, from, 4);
        memcpy(to + size - 4, from + size - 4, 4);
    } else {
        for (; i < size; i++) {
            to[i] = from[i];
        }
    }
}

/* Write ASCII values joined by LF. There must be room for the sum of their sizes and for count - 1 line ends. */
static inline void sse_join(unsigned char *to, const sse_line *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i) {
            *to++ = '\n';
        }
        sse_copy(to, values[i].text, values[i].size);
        to += values[i].size;
    }
}

typedef struct {
    size_t length; /* code points */
    uint32_t top;  /* the lowest of 0x7f, 0xff, 0xffff and 0x10ffff that no code point exceeds */
} sse_text;

/* Measure UTF-8 as text, without checking that it is UTF-8. */
sse_text sse_measure_text(const unsigned char *utf8, size_t size);

/* Write UTF-8 as text of `width` 1, 2 or 4 bytes a code point, at `to`, not beyond `stop`. The width must fit
 * its `top`, and there must be room for its `length`, as measured.
 * Returns the end of what was written, or NULL when the bytes are not UTF-8.
 */
void *sse_write_text(void *to, const void *stop, int width, const unsigned char *utf8, size_t size);

/* Measure and write bytes that are not UTF-8, as the standard's decoder reads them: one U+FFFD for each maximal subpart
 * (Unicode, table 3-8), as Python's "replace" does. Slower than the two functions above.
 */
sse_text sse_measure_replaced(const unsigned char *utf8, size_t size);
void *sse_write_replaced(void *to, int width, const unsigned char *utf8, size_t size);

/* Return 1 when the bytes are UTF-8, otherwise 0. */
int sse_is_utf8(const unsigned char *utf8, size_t size);


/* Going out. A text has a `form`: the width of its code points, or SSE_BYTES when it is UTF-8 already. */

enum { SSE_BYTES = 0, SSE_LATIN1 = 1, SSE_UCS2 = 2, SSE_UCS4 = 4 };

/* Kinds of bytes that a copy reports: a CR or LF, a NUL, a byte from 0x80 on. */
enum { SSE_LINE_END = 1, SSE_NUL = 2, SSE_NOT_ASCII = 4 };

int sse_copy_short(unsigned char *to, const unsigned char *from, size_t size); /* below 16 */
extern int (*sse_copy_long)(unsigned char *to, const unsigned char *from, size_t size); /* 16 or more */

/* Copy bytes that are assumed to be one line, and return which kinds of bytes they hold, ORed together. With
 * SSE_LINE_END among them the bytes are not one line: the copy may have stopped there and must not be used.
 */
static inline int sse_copy_line(unsigned char *to, const unsigned char *from, size_t size)
{
    return size < 16 ? sse_copy_short(to, from, size) : sse_copy_long(to, from, size);
}

typedef struct {
    size_t size;  /* bytes as UTF-8, without line ends */
    size_t lines; /* 1 + the number of line ends */
} sse_lines;

/* Measure text as lines of UTF-8. A lone surrogate, which has no UTF-8, counts as three bytes. */
sse_lines sse_measure_lines(const void *text, size_t length, int form);

/* The most bytes that a text of this length can need as data lines: that of a text of nothing but line ends. */
static inline size_t sse_most(size_t length)
{
    return 7 * length + 7;
}

/* Write text as data lines of UTF-8, each "data: ", the line and an LF, at `to`, not beyond `stop`. There must be
 * room for size + 7 * lines bytes as measured, or for `sse_most`.
 * Returns the end of what was written, or NULL when there is a surrogate. With SSE_BYTES, UTF-8 is not checked.
 */
unsigned char *sse_write_data(
    unsigned char *to, const unsigned char *stop, const void *text, size_t length, int form);


/* Forms: `%` and two hex digits stand for a byte, `+` for a space, every other byte for itself. */

typedef struct {
    size_t count;  /* the number of `%` */
    size_t broken; /* the offset of the first `%` without two hex digits after it; the size when there is none */
} sse_escapes;

/* Measure escaped text. When no escape is broken, the text becomes size - 2 * count bytes. */
sse_escapes sse_measure_escapes(const unsigned char *text, size_t size);

/* Write what escaped text stands for. No escape may be broken, and there must be room for size - 2 * count bytes. */
void sse_write_unescaped(unsigned char *to, const unsigned char *text, size_t size);

#endif
