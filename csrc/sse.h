/* The kernels of the codec: what must look at every byte.
 *
 * The contract, for every function here:
 *   - pointer and length in, size or pointer out; a length is in units of what the pointer points at;
 *   - no Python.h, no allocation, no failure, no state but the choice of a body, made once;
 *   - no read and no write past the end of what was given; any alignment; a length may be 0;
 *   - linear in the length, for every input;
 *   - the caller owns every buffer, and nothing given is kept.
 *
 * Line ends are CR, LF and CRLF and nothing else (HTML, "Server-sent events", section 9.2.5).
 * `sse_split` and `sse_copy_line` have a body for each instruction set; `sse_choose` picks the best that the
 * machine can run, and before that they are the baseline's. All bodies of a kernel give the same answer.
 */
#ifndef FASTSSE_SSE_H
#define FASTSSE_SSE_H

#include <stddef.h>
#include <stdint.h>

/* Call once, before the threads start, for the best body; safe to leave out. Returns its name. */
const char *sse_choose(void);


/* Coming in: scan.c */

typedef struct {
    const unsigned char *text; /* the first byte of the line, or where it would stand */
    size_t size;               /* bytes, its line end not counted */
    size_t ascii;              /* 1: every byte is below 0x80; 0: some are not */
} sse_line;

/* Find the next lines of [*at, end).
 *
 * Writes up to `room` complete lines (room >= 1) and moves `*at` behind the last line end. An LF that follows
 * its CR is part of that line end; a CR that is the last byte ends its line.
 * Returns how many were found. Fewer than `room`: the input is used up, and `lines[found]`, one slot more than
 * `room` counts, is the rest that no line end closes, possibly empty; `*at` stands at its first byte.
 */
extern size_t (*sse_split)(const unsigned char **at, const unsigned char *end, sse_line *lines, size_t room);

typedef struct {
    size_t length; /* code points, U+FFFD counted for what is not UTF-8 */
    uint32_t top;  /* 0x7f, 0xff, 0xffff or 0x10ffff: the least of these that no code point exceeds */
    int valid;     /* all of it is UTF-8 */
} sse_utf8;

/* Measure UTF-8 as text. What is not UTF-8 counts as the standard's decoder reads it: a U+FFFD for each maximal
 * subpart (Unicode, table 3-8), as in Python's "replace".
 */
sse_utf8 sse_measure_utf8(const unsigned char *utf8, size_t size);

/* Write UTF-8 as text of `width` 1, 2 or 4 bytes a code point, which its `top` must fit.
 * Returns the end of what was written: `to` plus exactly `length` code points.
 */
void *sse_write_text(void *to, int width, const unsigned char *utf8, size_t size);


/* Going out: write.c */

enum { SSE_LINE_END = 1, SSE_NOT_ASCII = 2 };

/* Copy one line, looking at it on the way. Returns 0 or a sum of
 *   SSE_LINE_END   it has a CR or an LF: it is not one line. What was written is unspecified, SSE_NOT_ASCII too.
 *   SSE_NOT_ASCII  it has bytes from 0x80 on.
 */
extern int (*sse_copy_line)(unsigned char *to, const unsigned char *from, size_t size);

enum { SSE_BYTES = 0, SSE_LATIN1 = 1, SSE_UCS2 = 2, SSE_UCS4 = 4 };

typedef struct {
    size_t size;  /* bytes as UTF-8, line ends not counted */
    size_t lines; /* 1 + the number of line ends */
    int valid;    /* no surrogate: it has a UTF-8 */
} sse_lines;

/* Measure text as lines of UTF-8. `form` is the width of a code point, or SSE_BYTES for what is UTF-8 already
 * (and is not examined for that).
 */
sse_lines sse_measure_lines(const void *text, size_t length, int form);

/* Write text as lines of UTF-8, each after `head` and before one LF. The text must be valid.
 * Returns the end of what was written: `to` plus exactly size + lines * (head_size + 1).
 */
unsigned char *sse_write_lines(
    unsigned char *to, const void *text, size_t length, int form, const char *head, size_t head_size);

#endif
