/* Internal: the list of bodies in this build. choose.c picks one; the tests run them all. */
#ifndef FASTSSE_CHOOSE_H
#define FASTSSE_CHOOSE_H

#include "sse.h"

typedef struct {
    const char *name;
    size_t (*split)(sse_scan *scan, sse_line *lines);
    int (*copy_long)(unsigned char *to, const unsigned char *from, size_t size);
    void (*copy_large)(unsigned char *to, const unsigned char *from, size_t size);
} sse_body;

/* Return the bodies that this machine can run, the slowest first. The first one is always `scalar`. */
const sse_body *sse_bodies(size_t *count);

#endif
