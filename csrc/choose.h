/* Internal: the bodies that this build has, for the choice and for the tests. */
#ifndef FASTSSE_CHOOSE_H
#define FASTSSE_CHOOSE_H

#include "sse.h"

typedef struct {
    const char *name;
    size_t (*split)(sse_scan *scan, sse_line *lines);
    int (*copy_long)(unsigned char *to, const unsigned char *from, size_t size);
    void (*copy_large)(unsigned char *to, const unsigned char *from, size_t size);
} sse_body;

/* The bodies that this machine can run, the slowest first: `scalar` is always there. */
const sse_body *sse_bodies(size_t *count);

#endif
