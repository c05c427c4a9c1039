"""The kernels in csrc, as Cython sees them. csrc/sse.h is their contract."""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "sse.h" nogil:
    const char *sse_choose() noexcept

    enum:
        SSE_LINES

    ctypedef struct sse_line:
        const unsigned char *text
        size_t size
        uint64_t high

    ctypedef struct sse_scan:
        sse_line rest
        const unsigned char *block
        const unsigned char *end

    void sse_begin(sse_scan *scan, const unsigned char *chunk, size_t size) noexcept
    size_t sse_split(sse_scan *scan, sse_line *lines) noexcept

    void sse_copy(unsigned char *to, const unsigned char *text, size_t size) noexcept
    void sse_join(unsigned char *to, const sse_line *values, size_t count) noexcept

    ctypedef struct sse_text:
        size_t length
        uint32_t top

    sse_text sse_measure_text(const unsigned char *utf8, size_t size) noexcept
    void *sse_write_text(
        void *to, const void *stop, int width, const unsigned char *utf8, size_t size
    ) noexcept
    sse_text sse_measure_replaced(const unsigned char *utf8, size_t size) noexcept
    void *sse_write_replaced(void *to, int width, const unsigned char *utf8, size_t size) noexcept
    bint sse_is_utf8(const unsigned char *utf8, size_t size) noexcept

    enum:
        SSE_BYTES
        SSE_LINE_END
        SSE_NUL
        SSE_NOT_ASCII

    int sse_copy_line(unsigned char *to, const unsigned char *text, size_t size) noexcept

    ctypedef struct sse_lines:
        size_t size
        size_t lines

    sse_lines sse_measure_lines(const void *text, size_t length, int form) noexcept

    ctypedef struct sse_escapes:
        size_t count
        size_t broken

    sse_escapes sse_measure_escapes(const unsigned char *text, size_t size) noexcept
    void sse_write_unescaped(unsigned char *to, const unsigned char *text, size_t size) noexcept

cdef extern from "block.h" nogil:
    ctypedef struct sse_block:
        const unsigned char *id
        const unsigned char *event
        const void *data
        const char *retry
        size_t id_size
        size_t event_size
        size_t retry_size
        size_t length
        int form
        bint line
        bint unchecked

    void sse_put_retry(sse_block *block, uint64_t milliseconds) noexcept
    size_t sse_most_block(const sse_block *block) noexcept
    size_t sse_measure_block(const sse_block *block) noexcept
    unsigned char *sse_write_block(
        const sse_block *block, unsigned char *to, const unsigned char *stop
    ) noexcept
