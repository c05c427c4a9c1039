"""The kernels in csrc, as Cython sees them. csrc/sse.h is their contract."""

from libc.stdint cimport uint32_t

cdef extern from "sse.h" nogil:
    const char *sse_choose()

    ctypedef struct sse_line:
        const unsigned char *text
        size_t size
        size_t ascii

    size_t sse_split(
        const unsigned char **at, const unsigned char *end, sse_line *lines, size_t room
    ) noexcept

    ctypedef struct sse_utf8:
        size_t length
        uint32_t top
        int valid

    sse_utf8 sse_measure_utf8(const unsigned char *utf8, size_t size) noexcept
    void *sse_write_text(void *to, int width, const unsigned char *utf8, size_t size) noexcept

    enum:
        SSE_LINE_END
        SSE_NOT_ASCII
        SSE_BYTES
        SSE_LATIN1

    int sse_copy_line(unsigned char *to, const unsigned char *text, size_t size) noexcept

    ctypedef struct sse_lines:
        size_t size
        size_t lines
        int valid

    sse_lines sse_measure_lines(const void *text, size_t length, int form) noexcept
    unsigned char *sse_write_lines(
        unsigned char *to, const void *text, size_t length, int form, const char *head, size_t head_size
    ) noexcept
