# cython: language_level=3, binding=False, freethreading_compatible=True
"""Percent-encoding undone, compiled over csrc/escapes.c: the names of `_escapes_py.py` in the same order."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from fastsse._kernels cimport sse_escapes, sse_measure_escapes, sse_write_unescaped

from fastsse.broadcast.web._escapes_py import BrokenEscape

__all__ = ["SLICE", "BrokenEscape", "unescape", "unescaped_size"]

SLICE = 2**20


def unescaped_size(bytes text not None):
    """Return how many bytes `text` becomes: see `_escapes_py.unescaped_size`."""
    cdef Py_ssize_t size = len(text)
    cdef sse_escapes found = sse_measure_escapes(<const unsigned char *> PyBytes_AS_STRING(text), size)
    return size - 2 * <Py_ssize_t> found.count


def unescape(bytes text not None):
    """Undo the escapes of a text: see `_escapes_py.unescape`."""
    cdef const unsigned char *start = <const unsigned char *> PyBytes_AS_STRING(text)
    cdef Py_ssize_t size = len(text)
    cdef sse_escapes found = sse_measure_escapes(start, size)
    cdef bytes made
    if found.broken < <size_t> size:
        raise BrokenEscape(found.broken)
    made = PyBytes_FromStringAndSize(NULL, size - 2 * <Py_ssize_t> found.count)
    sse_write_unescaped(<unsigned char *> PyBytes_AS_STRING(made), start, size)
    return made
