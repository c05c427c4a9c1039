/* Going out: whole blocks.
 *
 * The contract of sse.h holds. These functions are inline, because a call costs 20 instructions, and writing a small block
 * takes no more than 300.
 */
#ifndef FASTSSE_BLOCK_H
#define FASTSSE_BLOCK_H

#include "sse.h"

/* A block to be written: lines for id, event and retry, those of the data, and a blank line, each ended by LF. */
typedef struct {
    const unsigned char *id; /* assumed to be ASCII on one line, without NUL; NULL: none */
    size_t id_size;
    const unsigned char *event; /* assumed to be ASCII on one line; NULL: none */
    size_t event_size;
    const char *retry; /* in `digits`; NULL: none */
    size_t retry_size;
    const void *data; /* text of `length` and `form`, as in sse.h */
    size_t length;
    int form;
    int unchecked; /* not 0: the data is bytes that may not be UTF-8 */
    int line;      /* not 0: the data is bytes that are assumed to be one line */
    char digits[20];
} sse_block;

/* Give a block its reconnection time. */
static inline void sse_put_retry(sse_block *block, uint64_t milliseconds)
{
    char *const end = block->digits + sizeof block->digits;
    char *at = end;
    do {
        *--at = (char)('0' + milliseconds % 10);
        milliseconds /= 10;
    } while (milliseconds);
    block->retry = at;
    block->retry_size = (size_t)(end - at);
}

/* The size of a block whose data takes so many bytes as data lines. */
static inline size_t sse_size_with(const sse_block *block, size_t data)
{
    size_t size = data + 1;
    if (block->id != NULL) {
        size += block->id_size + 5;
    }
    if (block->event != NULL) {
        size += block->event_size + 8;
    }
    if (block->retry != NULL) {
        size += block->retry_size + 8;
    }
    return size;
}

/* The exact size of a block whose data is one line; otherwise the most that the block can need. */
static inline size_t sse_most_block(const sse_block *block)
{
    return sse_size_with(block, block->line ? block->length + 7 : sse_most(block->length));
}

/* Measure the data, and return the exact size of the block. */
static inline size_t sse_measure_block(const sse_block *block)
{
    const sse_lines lines = sse_measure_lines(block->data, block->length, block->form);
    return sse_size_with(block, lines.size + 7 * lines.lines);
}

/* Write data that is assumed to be one line. Returns NULL when it has line ends, or is not UTF-8. */
static inline unsigned char *sse_write_line(unsigned char *to, const unsigned char *data, size_t size)
{
    memcpy(to, "data: ", 6);
    const int met = sse_copy_line(to + 6, data, size);
    if (met & SSE_LINE_END || (met & SSE_NOT_ASCII && !sse_is_utf8(data, size))) {
        return NULL;
    }
    to += 6 + size;
    *to++ = '\n';
    return to;
}

/* Write a block at `to`, not beyond `stop`. There must be room for its exact size.
 * Returns the end of what was written, or NULL when a part is not what it was assumed to be: what was written must not
 * be used then.
 */
static inline unsigned char *sse_write_block(const sse_block *block, unsigned char *to, const unsigned char *stop)
{
    if (block->id != NULL) {
        memcpy(to, "id: ", 4);
        if (sse_copy_line(to + 4, block->id, block->id_size)) { /* a line end or a NUL */
            return NULL;
        }
        to += 4 + block->id_size;
        *to++ = '\n';
    }
    if (block->event != NULL) {
        memcpy(to, "event: ", 7);
        if (sse_copy_line(to + 7, block->event, block->event_size) & SSE_LINE_END) {
            return NULL;
        }
        to += 7 + block->event_size;
        *to++ = '\n';
    }
    if (block->retry != NULL) {
        memcpy(to, "retry: ", 7);
        memcpy(to + 7, block->retry, block->retry_size);
        to += 7 + block->retry_size;
        *to++ = '\n';
    }
    if (block->line) {
        to = sse_write_line(to, block->data, block->length);
    } else if (block->unchecked && !sse_is_utf8(block->data, block->length)) {
        to = NULL;
    } else {
        to = sse_write_data(to, stop, block->data, block->length, block->form);
    }
    if (to != NULL) {
        *to++ = '\n';
    }
    return to;
}

#endif
