# cython: language_level=3, freethreading_compatible=True
# cython: binding=False, embedsignature=True, embedsignature.format=clinic, auto_pickle=False
# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The compiled twin: the public names of `_codec_py.py`, which is the reference, in the same order.

The loops over bytes are in csrc (see _kernels.pxd), the memory of an Event is in _event.h; this file makes
Python objects of what they find. Encoding has two roads. The short road is fast and takes the usual values.
Others (a comment, an id that is not ASCII, anything that must be refused) go by the long road, which is the
pure twin's text, so that both twins raise the same errors. The short road stands between two parts of it.

    feed -> sse_split -> Decoder._interpret -> Event            section 9.2.6, coming in
    feed -> sse_split -> BlockSplitter._split -> bytes          section 9.2.5, passed on untouched
    encode -> _prepare, sse_write_block -> bytes                section 9.2.5, going out
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE, PyList_New
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject, PyTypeObject
from cpython.unicode cimport PyUnicode_DATA, PyUnicode_GET_LENGTH
from libc.stdint cimport SIZE_MAX, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from fastsse._kernels cimport (
    SSE_BYTES,
    SSE_LINE_END,
    SSE_LINES,
    SSE_NOT_ASCII,
    sse_begin,
    sse_block,
    sse_choose,
    sse_copy,
    sse_copy_line,
    sse_is_utf8,
    sse_join,
    sse_line,
    sse_lines,
    sse_measure_block,
    sse_measure_lines,
    sse_measure_replaced,
    sse_measure_text,
    sse_most_block,
    sse_put_retry,
    sse_scan,
    sse_split,
    sse_text,
    sse_write_block,
    sse_write_replaced,
    sse_write_text,
)

from fastsse import _json
from fastsse._text import mend
from fastsse.errors import BlockTooLarge, EventTooLarge, InvalidField, LineTooLong

cdef extern from "Python.h":
    PyObject *new_text "PyUnicode_New" (Py_ssize_t size, Py_UCS4 top) except NULL
    bint PyUnicode_CheckExact(PyObject *value)
    bint PyUnicode_IS_ASCII(PyObject *text)
    void *data_of "PyUnicode_DATA" (PyObject *text)
    int width_of "PyUnicode_KIND" (PyObject *text)
    Py_ssize_t length_of "PyUnicode_GET_LENGTH" (PyObject *text)
    PyObject *new_bytes "PyBytes_FromStringAndSize" (const char *text, Py_ssize_t size) except NULL
    bint PyBytes_CheckExact(PyObject *value)
    Py_ssize_t size_of "PyBytes_GET_SIZE" (PyObject *text)
    unsigned char *bytes_of "(unsigned char *)PyBytes_AS_STRING" (PyObject *text)
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    PyObject *new_list "PyList_New" (Py_ssize_t size)
    PyObject *PyList_GET_ITEM(list items, Py_ssize_t i)
    void PyList_SET_ITEM(list items, Py_ssize_t i, PyObject *item)
    PyObject *PyTuple_GET_ITEM(PyObject *items, Py_ssize_t i)
    Py_ssize_t PyTuple_GET_SIZE(PyObject *items)
    void Py_DECREF(PyObject *item)
    PyObject *Py_NewRef(PyObject *item)

cdef extern from *:
    int PyUnicode_READY "__Pyx_PyUnicode_READY" (PyObject *text) except -1

cdef extern from "_call.h":
    ctypedef PyObject *(*call_raw)(
        PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names
    ) except NULL
    call_raw call_shortcut(object function, call_raw shortcut) except NULL

cdef extern from "_event.h":
    PyObject *event_new(
        PyTypeObject *type, PyObject *data, PyObject *event, PyObject *id, PyObject *retry
    ) except NULL
    int event_prepare(PyTypeObject *type) except -1

__all__ = [
    "DEFAULT_MAX_BLOCK_SIZE",
    "DEFAULT_MAX_EVENT_SIZE",
    "DEFAULT_MAX_LINE_SIZE",
    "MAX_RETRY",
    "BlockSplitter",
    "Decoder",
    "Event",
    "LineSplitter",
    "decode",
    "encode",
    "encode_comment",
    "encode_json",
    "encode_many",
]

DEFAULT_MAX_BLOCK_SIZE = 16 * 2**20  # bytes
DEFAULT_MAX_EVENT_SIZE = 16 * 2**20  # bytes
DEFAULT_MAX_LINE_SIZE = 16 * 2**20  # bytes
MAX_RETRY = 2**63 - 1  # milliseconds; a longer reconnection time is read as this one

cdef uint64_t _MAX_RETRY = <uint64_t> MAX_RETRY

cdef enum:
    _LF = 0x0A
    _CR = 0x0D
    _SPACE = 0x20
    _COLON = 0x3A

cdef str _ONE_LINE = "must not contain CR or LF: it would end the line and begin another field"
cdef str _UNICODE = "must not contain lone surrogates: they have no UTF-8"
cdef str _UTF8 = "must be valid UTF-8"
cdef str _NUL = "must not contain NUL: receivers ignore such an id"
cdef str _UNNAMED = "must not be empty: receivers read that as 'message'; leave it out"
cdef str _UNDISPATCHED = "goes with data: a block without data is never dispatched"
cdef str _NOTHING = "with no other field leaves nothing to write"
cdef str _RETRY = f"must be a whole number of milliseconds, 0 to {MAX_RETRY}"
cdef str _MESSAGE = "message"
cdef str _EVENT = "event"
cdef str _ID = "id"
cdef str _RETRY_FIELD = "retry"

cdef object _encode_or_refuse = _json.encode_or_refuse
cdef object _form = _json.form
cdef object _options = _json.options


@cython.final
@cython.no_gc
cdef class Event:
    """Event(data, event="message", id="", retry=None)\n--\n
    One event, as a decoder dispatches it (section 9.2.6). Immutable and hashable.

    An event of the compiled twin equals one of the pure twin with the same fields.

    Attributes:
        data: the data buffer, lines joined by LF.
        event: the event type; ``"message"`` when the stream names none.
        id: the last event ID string at dispatch; ``""`` when there is none.
        retry: the reconnection time in milliseconds that this block set, or None.

    Raises:
        TypeError: a field has another type. Values are checked only when `encode` writes them.
    """

    # In the order of _event.h, which makes them attributes.
    cdef str data
    cdef str event
    cdef str id
    cdef object retry

    __match_args__ = ("data", "event", "id", "retry")

    def __cinit__(self, data, event="message", id="", retry=None):
        self.data = _str("data", data)
        self.event = _str("event", event)
        self.id = _str("id", id)
        self.retry = None if retry is None else _int("retry", retry)

    def json(self):
        """Parse the data as JSON, with the library that `encode_json` writes with.

        Raises:
            ValueError: the data is not JSON.
        """
        return _json.loads(self.data)

    def encode(self):
        """Write this event as one block. An empty id and the type ``"message"`` are left out.

        Raises:
            InvalidField: a field cannot be written; see `encode`.
        """
        return _encode_event(self, self.id or None)

    def __setattr__(self, name, value):
        raise AttributeError(f"Event is immutable: cannot set {name!r}")

    def __delattr__(self, name):
        raise AttributeError(f"Event is immutable: cannot delete {name!r}")

    def __repr__(self):
        return f"Event(data={self.data!r}, event={self.event!r}, id={self.id!r}, retry={self.retry!r})"

    def __eq__(self, other):
        cdef Event event
        if type(other) is not Event:
            if not getattr(type(other), "_is_fastsse_event", False):
                return NotImplemented
            return _fields(self) == (other.data, other.event, other.id, other.retry)
        event = <Event> other
        return (
            self.data == event.data
            and self.event == event.event
            and self.id == event.id
            and self.retry == event.retry
        )

    def __hash__(self):
        return hash(_fields(self))

    def __reduce_ex__(self, _protocol):
        from fastsse.event import restore

        return restore, _fields(self)

    _is_fastsse_event = True  # lets each twin recognise the other's events without importing it


event_prepare(<PyTypeObject *> Event)


cdef tuple _fields(Event event):
    return event.data, event.event, event.id, event.retry


# Going out: section 9.2.5, "Parsing an event stream", read as a grammar to write.


def encode(
    data,
    *,
    event=None,
    id=None,
    retry=None,
    comment=None,
    surrogates="refuse",
    line_separators="keep",
):
    """Write one block: the bytes of one event up to and including its blank line.

    Args:
        data: text, or bytes-like UTF-8; split at CR, LF and CRLF and at nothing else. None writes no data
            line: such a block carries a comment, an id or a reconnection time, and is never dispatched.
        event: the event type. One line, not empty, only with data.
        id: the last event ID; ``""`` resets it. One line without NUL.
        retry: the reconnection time, integer milliseconds, 0 to `MAX_RETRY`.
        comment: text that receivers ignore; split like data.
        surrogates: ``"replace"`` writes U+FFFD for each half of a surrogate pair in data that is text.
        line_separators: ``"escape"`` writes U+0085, U+2028 and U+2029 as escapes in data that is JSON.

    Returns:
        The block, with LF line ends, in the order comment, id, event, retry, data. The time is
        linear in the size of the block.

    Raises:
        InvalidField: a value cannot be written without changing its meaning. Nothing is repaired.
        ValueError: `surrogates` or `line_separators` is neither of its two words.
        TypeError: a value has another type.
    """
    if surrogates != "refuse" or line_separators != "keep":
        data = mend(data, surrogates, line_separators)
    if comment is None:
        return _encode(data, event, id, retry)
    return _encode_parts(data, event, id, retry, comment)


def encode_json(
    obj, *, event=None, id=None, retry=None, surrogates="refuse", line_separators="keep"
):
    """Write one block whose data is `obj` as JSON on one line; None and NaN become ``null``.

    Models, dataclasses, dates and so on have the forms that docs/codec.md lists. The JSON is written by
    orjson when that can be imported, otherwise by msgspec, otherwise by the standard library, with the
    same bytes.

    Args:
        obj: any object that JSON has a form for.
        event, id, retry, surrogates, line_separators: as `encode`.

    Raises:
        InvalidField: as `encode`; also for a string in `obj` with lone surrogates.
        TypeError: JSON has no form for a value in `obj`; the message names its type.
        ValueError, RecursionError: `obj` contains itself, or is nested too deeply; also what a model raises.
    """
    if surrogates != "refuse" or line_separators != "keep":
        return _encode(_json.dumps_mended(obj, surrogates, line_separators), event, id, retry)
    return _encode(_dumps(obj), event, id, retry)


def encode_comment(text=""):
    """Write a comment and a blank line: a heartbeat, which keeps proxies from closing the stream.

    Raises:
        InvalidField: `text` has lone surrogates.
        TypeError: `text` is not str.
    """
    return _comment(text) + b"\n"


def encode_many(events):
    """Write the blocks of `events`: ``decode(encode_many(events)) == events``.

    An event without an id that follows one with an id gets an empty ``id`` line, which resets it.
    Data comes back with LF for every CR and CRLF: the format has one line end.

    Raises:
        InvalidField: as `encode`. None of the blocks is returned then.
        TypeError: an item is not an Event.
    """
    cdef list items = list(events)
    cdef Py_ssize_t i
    for i in range(PyList_GET_SIZE(items)):
        if type(items[i]) is not Event:
            items[i] = _own(items[i])
    blocks = _blocks(items)
    return _encode_many_parts(items) if blocks is None else blocks


cdef Event _own(event):
    """Copy an event of the other twin into one of this twin."""
    if not getattr(type(event), "_is_fastsse_event", False):
        raise TypeError(f"events must be Event, not {type(event).__name__}")
    return Event(event.data, event.event, event.id, event.retry)


cdef _encode_event(Event event, id):
    name = None if event.event == _MESSAGE else event.event
    return _encode(event.data, name, id, event.retry)


cdef _encode(data, event, id, retry):
    """Write a block that has no comment."""
    cdef PyObject *block
    block = _block(<PyObject *> data, <PyObject *> event, <PyObject *> id, <PyObject *> retry)
    if block != NULL:
        return _owned(block)
    return _encode_parts(data, event, id, retry, None)


# The short road: an ASCII id and event type, data of any kind, no comment. ASCII data is written as one line
# first, because that size is known beforehand; a line end in it makes the writer give up and begin again.
# Other data is written into scratch memory that the largest possible result fits in, or, when that is too
# large for the stack, measured first.


cdef enum:
    _SCRATCH = 8192  # bytes on the stack, for a block whose size is not known


cdef PyObject *_encode_raw(
    PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names
) except NULL:
    """Serve the usual calls of `encode` from their raw arguments; pass others on to the parser."""
    cdef _Fields fields
    cdef PyObject *block = NULL
    if count == 1:
        if names == NULL:
            block = _line(args[0])
        if block == NULL and _name(&fields, args, names):
            if names != NULL and fields.retry == <PyObject *> None:
                block = _plain(args[0], fields.event, fields.id)
            if block == NULL:
                block = _block(args[0], fields.event, fields.id, fields.retry)
    return block if block != NULL else _encode_any(module, args, count, names)


cdef PyObject *_encode_json_raw(
    PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names
) except NULL:
    """Serve the usual calls of `encode_json` from their raw arguments; pass others on to the parser."""
    cdef _Fields fields
    cdef PyObject *block
    if count != 1 or not _name(&fields, args, names):
        return _encode_json_any(module, args, count, names)
    data = _dumps(<object> args[0])
    block = _line(<PyObject *> data) if names == NULL else NULL
    if block == NULL:
        block = _block(<PyObject *> data, fields.event, fields.id, fields.retry)
    if block == NULL:
        result = _encode_parts(
            data, <object> fields.event, <object> fields.id, <object> fields.retry, None
        )
        block = Py_NewRef(<PyObject *> result)
    return block


cdef struct _Fields:
    PyObject *event
    PyObject *id
    PyObject *retry


cdef inline bint _name(_Fields *fields, PyObject *const *args, PyObject *names) noexcept:
    """Sort the keyword arguments into `fields`. Return False when there is an unknown one."""
    cdef Py_ssize_t i
    cdef PyObject *name
    fields.event = fields.id = fields.retry = <PyObject *> None
    if names == NULL:
        return True
    for i in range(PyTuple_GET_SIZE(names)):
        name = PyTuple_GET_ITEM(names, i)
        if name == <PyObject *> _EVENT:
            fields.event = args[1 + i]
        elif name == <PyObject *> _ID:
            fields.id = args[1 + i]
        elif name == <PyObject *> _RETRY_FIELD:
            fields.retry = args[1 + i]
        else:
            return False
    return True


cdef _dumps(obj):
    """Write JSON with the fast library; when that refuses, do what the pure twin does."""
    try:
        return _encode_or_refuse(obj, _form, _options)
    except Exception:
        pass
    return _json.dumps(obj)


cdef call_raw _encode_any = call_shortcut(encode, _encode_raw)
cdef call_raw _encode_json_any = call_shortcut(encode_json, _encode_json_raw)


cdef _owned(PyObject *made):
    """Turn a new reference into an object that Cython counts."""
    result = <object> made
    Py_DECREF(made)
    return result


cdef inline bint _is_ascii(PyObject *value) except -1:
    """Return True when `value` is str itself, no subclass, and all ASCII."""
    return PyUnicode_CheckExact(value) and not PyUnicode_READY(value) and PyUnicode_IS_ASCII(value)


cdef inline PyObject *_line(PyObject *data) except? NULL:
    """Write a block of one data line and nothing else. NULL: data is not one line of ASCII, or of UTF-8."""
    cdef const unsigned char *text
    cdef Py_ssize_t size
    cdef int met
    cdef PyObject *block
    cdef unsigned char *to
    if PyBytes_CheckExact(data):
        text = bytes_of(data)
        size = size_of(data)
    elif _is_ascii(data):
        text = <const unsigned char *> data_of(data)
        size = length_of(data)
    else:
        return NULL
    block = new_bytes(NULL, size + 8)
    to = bytes_of(block)
    memcpy(to, b"data: ", 6)
    met = sse_copy_line(to + 6, text, size)
    if met & SSE_LINE_END or (met & SSE_NOT_ASCII and not sse_is_utf8(text, size)):
        Py_DECREF(block)
        return NULL
    memcpy(to + 6 + size, b"\n\n", 2)
    return block


cdef inline PyObject *_plain(PyObject *data, PyObject *event, PyObject *id) except? NULL:
    """Write a block of one ASCII data line, with a type, an id or both. NULL: a value is not such a line."""
    cdef size_t size
    cdef PyObject *block
    cdef unsigned char *to
    cdef int met = 0
    if not _is_ascii(data):
        return NULL
    size = length_of(data) + 8
    if event != <PyObject *> None:
        if not _is_ascii(event) or length_of(event) == 0:
            return NULL
        size += length_of(event) + 8
    if id != <PyObject *> None:
        if not _is_ascii(id):
            return NULL
        size += length_of(id) + 5
    block = new_bytes(NULL, size)
    to = bytes_of(block)
    if id != <PyObject *> None:
        memcpy(to, b"id: ", 4)
        to = _put_line(to + 4, id, &met)
        met = SSE_LINE_END if met else 0  # an id must not have a NUL either
    if event != <PyObject *> None:
        memcpy(to, b"event: ", 7)
        to = _put_line(to + 7, event, &met)
    memcpy(to, b"data: ", 6)
    to = _put_line(to + 6, data, &met)
    to[0] = _LF
    if not met & SSE_LINE_END:
        return block
    Py_DECREF(block)
    return NULL


cdef inline unsigned char *_put_line(unsigned char *to, PyObject *text, int *met) noexcept:
    cdef size_t size = length_of(text)
    met[0] |= sse_copy_line(to, <const unsigned char *> data_of(text), size)
    to[size] = _LF
    return to + size + 1


cdef PyObject *_block(PyObject *data, PyObject *event, PyObject *id, PyObject *retry) except? NULL:
    """Write any block of the short road. NULL: a value needs the long road."""
    cdef sse_block block
    cdef PyObject *result
    cdef size_t size
    cdef unsigned char *to
    if not _prepare(&block, data, event, id, retry):
        return NULL
    if block.line:
        size = sse_most_block(&block)
        result = new_bytes(NULL, size)
        to = bytes_of(result)
        if sse_write_block(&block, to, to + size) != NULL:
            return result
        Py_DECREF(result)
        block.line = False
    return _wide_block(&block)


cdef PyObject *_wide_block(sse_block *block) except? NULL:
    """Write a block whose data is not one line of ASCII. NULL: a value needs the long road."""
    cdef unsigned char[_SCRATCH] scratch
    cdef size_t size = sse_most_block(block)
    cdef PyObject *result
    cdef unsigned char *to
    cdef unsigned char *end
    if size <= _SCRATCH:
        end = sse_write_block(block, scratch, scratch + size)
        return NULL if end == NULL else new_bytes(<const char *> scratch, end - scratch)
    size = sse_measure_block(block)
    result = new_bytes(NULL, size)
    to = bytes_of(result)
    if sse_write_block(block, to, to + size) != NULL:
        return result
    Py_DECREF(result)
    return NULL


cdef _blocks(list events):
    """Write the blocks of all events. None: one of them needs the long road."""
    blocks = _blocks_of(events, False)
    return _blocks_of(events, True) if blocks is None else blocks


cdef size_t _sum_sizes(list events, bint measured):
    """Sum the sizes of the blocks of all events; ASCII data counts as one line unless `measured`.

    The sum is exact to the byte, because shrinking a large result in the end costs new memory from the
    system every time.
    """
    cdef Event event
    cdef PyObject *data
    cdef Py_ssize_t i
    cdef sse_lines lines
    cdef size_t id_size
    cdef size_t last_id = 0
    cdef size_t size = 0
    for i in range(PyList_GET_SIZE(events)):
        event = <Event> PyList_GET_ITEM(events, i)
        data = <PyObject *> event.data
        if measured or not _is_ascii(data):
            lines = sse_measure_lines(data_of(data), length_of(data), width_of(data))
            size += lines.size + 7 * lines.lines + 1
        else:
            size += length_of(data) + 8
        if not _is_message(event):
            size += length_of(<PyObject *> event.event) + 8
        id_size = length_of(<PyObject *> event.id)
        if id_size or last_id:
            size += id_size + 5
        last_id = id_size
        if event.retry is not None:
            size += _size_of_retry(event.retry)
    return size


cdef size_t _size_of_retry(retry) except? 0:
    cdef sse_block block
    return block.retry_size + 8 if _digits(&block, retry) else 0


cdef _blocks_of(list events, bint measured):
    """Write the blocks of all events into one result of the size that `_sum_sizes` gives.

    None: an event needs the long road, or, unless `measured`, ASCII data has several lines.
    """
    cdef sse_block block
    cdef Event event
    cdef Py_ssize_t i
    cdef PyObject *id
    cdef PyObject *name
    cdef bint after_id = False
    cdef unsigned char *end
    cdef size_t size = _sum_sizes(events, measured)
    cdef bytes blocks = _owned(new_bytes(NULL, size))
    cdef unsigned char *to = <unsigned char *> PyBytes_AS_STRING(blocks)
    cdef unsigned char *stop = to + size
    for i in range(PyList_GET_SIZE(events)):
        event = <Event> PyList_GET_ITEM(events, i)
        name = <PyObject *> None if _is_message(event) else <PyObject *> event.event
        id = <PyObject *> event.id
        if length_of(id):
            after_id = True
        elif after_id:
            after_id = False
        else:
            id = <PyObject *> None
        if (
            not _prepare(&block, <PyObject *> event.data, name, id, <PyObject *> event.retry)
            or block.line
            and sse_most_block(&block) > <size_t> (stop - to)
        ):
            return None
        end = sse_write_block(&block, to, stop)
        if end == NULL and measured and block.line:
            block.line = False
            end = sse_write_block(&block, to, stop)
        if end == NULL:
            return None
        to = end
    return blocks if to == stop else None


cdef inline bint _is_message(Event event) noexcept:
    cdef PyObject *name = <PyObject *> event.event
    return event.event is _MESSAGE or (
        length_of(name) == 7 and width_of(name) == 1 and memcmp(data_of(name), b"message", 7) == 0
    )


cdef inline bint _prepare(
    sse_block *block, PyObject *data, PyObject *event, PyObject *id, PyObject *retry
) except -1:
    """Fill in `block` from the values. Return False when a value needs the long road."""
    block.id = NULL
    block.event = NULL
    block.retry = NULL
    block.unchecked = False
    block.form = SSE_BYTES
    if id != <PyObject *> None:
        if not _is_ascii(id):
            return False
        block.id = <const unsigned char *> data_of(id)
        block.id_size = length_of(id)
    if event != <PyObject *> None:
        if not _is_ascii(event) or length_of(event) == 0:
            return False
        block.event = <const unsigned char *> data_of(event)
        block.event_size = length_of(event)
    if retry != <PyObject *> None and not _digits(block, <object> retry):
        return False
    if PyUnicode_CheckExact(data):
        block.line = _is_ascii(data)
        block.data = data_of(data)
        block.length = length_of(data)
        if not block.line:
            block.form = width_of(data)
        return True
    if PyBytes_CheckExact(data):
        block.line = True
        block.unchecked = True
        block.data = bytes_of(data)
        block.length = size_of(data)
        return True
    return False


cdef bint _digits(sse_block *block, retry) except -1:
    cdef int overflow = 0
    cdef uint64_t number
    if type(retry) is not int:
        return False
    number = PyLong_AsLongLongAndOverflow(retry, &overflow)
    if overflow or number > _MAX_RETRY:
        return False
    sse_put_retry(block, number)
    return True


# The long road: the same text as in the pure twin.


cdef _encode_parts(data, event, id, retry, comment):
    cdef list parts
    if event is None and id is None and retry is None and comment is None:
        if data is None:
            raise InvalidField("data", None, _NOTHING)
        return _data(data) + b"\n"
    if event is not None and data is None:
        raise InvalidField("event", event, _UNDISPATCHED)
    parts = []
    if comment is not None:
        parts.append(_comment(comment))
    if id is not None:
        parts.append(_field("id", id))
    if event is not None:
        parts.append(_field("event", event))
    if retry is not None:
        parts.append(_retry(retry))
    if data is not None:
        parts.append(_data(data))
    parts.append(b"\n")
    return b"".join(parts)


cdef _encode_many_parts(list events):
    cdef list blocks = []
    cdef Event event
    cdef str last_id = ""
    for event in events:
        blocks.append(_encode_event(event, event.id if event.id != last_id or event.id else None))
        last_id = event.id
    return b"".join(blocks)


cdef bytes _data(data):
    """Write the data lines, one for each line of the value: "a\\n" has two lines, "" has one."""
    cdef bytes value
    if isinstance(data, str):
        given = _exact_str(data)
        text = given.replace("\r\n", "\n").replace("\r", "\n")
        return _utf8("data", "data: " + text.replace("\n", "\ndata: ") + "\n", given)
    value = _bytes(data, "data must be str, bytes-like UTF-8 or None (encode_json() writes JSON)")
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise InvalidField("data", value, _UTF8) from error
    value = value.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return b"data: " + value.replace(b"\n", b"\ndata: ") + b"\n"


cdef bytes _comment(text):
    cdef list parts = []
    value = _str("comment", text, " or None")
    lines = value.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    # No list comprehension here: when its list cannot grow, Cython 3.3 frees an item twice.
    for line in lines:
        parts.append(f": {line}\n" if line else ":\n")
    return _utf8("comment", "".join(parts), value)


cdef bytes _field(str name, text):
    value = _str(name, text, " or None")
    if "\n" in value or "\r" in value:
        raise InvalidField(name, value, _ONE_LINE)
    if name == "id" and "\0" in value:
        raise InvalidField(name, value, _NUL)
    if name == "event" and not value:
        raise InvalidField(name, value, _UNNAMED)
    return _utf8(name, f"{name}: {value}\n", value)


cdef bytes _retry(value):
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidField("retry", value, _RETRY)
    milliseconds = _exact_int(value)
    if not 0 <= milliseconds <= MAX_RETRY:
        raise InvalidField("retry", value, _RETRY)
    return b"retry: %d\n" % milliseconds


cdef bytes _utf8(str name, str text, str value):
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidField(name, value, _UNICODE) from error


cdef str _str(str name, value, str otherwise=""):
    if type(value) is str:
        return <str> value
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str{otherwise}, not {type(value).__name__}")
    return _exact_str(value)


cdef _int(str name, value):
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be int or None, not {type(value).__name__}")
    return _exact_int(value)


cdef str _exact_str(value):
    """Return plain str, because methods of a subclass (an Enum's `__format__`) could write other text."""
    return <str> value if type(value) is str else str.__str__(value)


cdef _exact_int(value):
    return value if type(value) is int else int.__index__(value)


cdef bytes _bytes(value, str otherwise):
    """Return the value itself when it is bytes, otherwise one contiguous copy of it."""
    if type(value) is bytes:
        return <bytes> value
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(f"{otherwise}, not {type(value).__name__}") from None
    if not view.c_contiguous:
        raise BufferError("bytes-like values must be contiguous")
    return view.tobytes()


# Coming in: section 9.2.6, "Interpreting an event stream".


cdef enum:
    _KEPT = 65536  # bytes: a larger buffer is freed after use, a smaller one kept for the next line or event

# A buffer that grows by doubling.
cdef struct _Buffer:
    unsigned char *bytes
    size_t size
    size_t room
    uint64_t high  # not 0: some of it is from 0x80 on


cdef int _reserve(void **block, size_t *room, size_t unit, size_t needed) except -1:
    """Give `block` room for at least `needed` units; the room at least doubles."""
    cdef size_t more = 2 * room[0] if room[0] else 64
    cdef void *moved
    while more < needed:
        more *= 2
    moved = PyMem_Realloc(block[0], more * unit)
    if moved == NULL:
        raise MemoryError()
    block[0] = moved
    room[0] = more
    return 0


cdef inline int _append(_Buffer *buffer, const sse_line *text) except -1:
    if text.size == 0:
        return 0
    if buffer.size + text.size > buffer.room:
        _reserve(<void **> &buffer.bytes, &buffer.room, 1, buffer.size + text.size)
    sse_copy(buffer.bytes + buffer.size, text.text, text.size)
    buffer.high |= text.high
    buffer.size += text.size
    return 0


cdef inline void _clear(_Buffer *buffer) noexcept:
    buffer.size = 0
    buffer.high = 0
    if buffer.room > _KEPT:
        _free(buffer)


cdef void _free(_Buffer *buffer) noexcept:
    PyMem_Free(buffer.bytes)
    buffer.bytes = NULL
    buffer.size = buffer.room = 0
    buffer.high = 0


# The lines or events that one feed has found. They become a list at the end only: the size is not known
# before, and making a list may run the garbage collector and so anybody's code, which must not see this
# object's state half changed.
cdef struct _Found:
    PyObject **items
    size_t size
    size_t room


cdef int _grow(_Found *found, PyObject *item) except -1:
    try:
        return _reserve(<void **> &found.items, &found.room, sizeof(PyObject *), found.size + 1)
    except MemoryError:
        Py_DECREF(item)
        raise


cdef inline int _add(_Found *found, PyObject *item) except -1:
    """Append `item` and take over its reference, also when memory runs out."""
    if found.size == found.room:
        _grow(found, item)
    found.items[found.size] = item
    found.size += 1
    return 0


cdef list _list(_Found *found):
    cdef _Found taken
    cdef Py_ssize_t i
    if found.size == 0:
        return []
    if found.size == 1:
        return _list_one(found)
    taken = found[0]
    found.items = NULL
    found.size = found.room = 0
    try:
        result = PyList_New(taken.size)
        for i in range(<Py_ssize_t> taken.size):
            PyList_SET_ITEM(result, i, taken.items[i])
        taken.size = 0
    finally:
        _drop(found, True)
        found[0] = taken
        _drop(found, False)
    return result


cdef inline list _list_one(_Found *found):
    cdef PyObject *item = found.items[0]
    cdef PyObject *items
    found.size = 0
    items = new_list(1)
    if items == NULL:
        Py_DECREF(item)
        raise MemoryError()
    result = <list> items
    PyList_SET_ITEM(result, 0, item)
    Py_DECREF(items)
    return result


cdef void _drop(_Found *found, bint all) noexcept:
    """Release what was found; free the memory too when `all`, or when there is much of it."""
    while found.size:
        found.size -= 1
        Py_DECREF(found.items[found.size])
    if all or found.room * sizeof(PyObject *) > _KEPT:
        PyMem_Free(found.items)
        found.items = NULL
        found.room = 0


# Splits chunks into complete lines, in linear time however the input is cut.
cdef struct _Lines:
    # The line that no line end has closed yet. New bytes are appended; none is searched twice.
    _Buffer pending
    # The last chunk ended in CR, which closed its line; an LF that comes next belongs to that CR.
    bint swallow


cdef inline void _begin(_Lines *lines, sse_scan *scan, bytes chunk) noexcept:
    """Prepare `scan` to find the lines of a chunk."""
    cdef const unsigned char *text = <const unsigned char *> PyBytes_AS_STRING(chunk)
    cdef size_t size = PyBytes_GET_SIZE(chunk)
    cdef size_t skip = 1 if size and lines.swallow and text[0] == _LF else 0
    sse_begin(scan, text + skip, size - skip)
    if size:
        lines.swallow = text[size - 1] == _CR


cdef inline int _complete(_Lines *lines, sse_line *first) except -1:
    """Put what is pending before the first line that a chunk completes."""
    if lines.pending.size:
        _append(&lines.pending, first)
        first.text = lines.pending.bytes
        first.size = lines.pending.size
        first.high = lines.pending.high
    return 0


cdef class LineSplitter:
    """LineSplitter(*, max_line_size=16777216)\n--\n
    Splits bytes into lines at CR, LF and CRLF, wherever the chunks are cut.

    Args:
        max_line_size: bytes that one line may have, without its line end; None for no limit.

    A CR at the end of a chunk ends its line at once. An unfinished line is kept until its line end
    comes, or `reset` is called. Threads may share a splitter: each `feed` is atomic.
    """

    cdef object _max_line_size
    cdef size_t _limit
    cdef _Lines _lines
    cdef bint _failed  # a line was too long, so the lines after it cannot be told apart
    cdef _Found _found

    def __cinit__(self):
        self._limit = SIZE_MAX

    @cython.critical_section
    def __init__(self, *, max_line_size=DEFAULT_MAX_LINE_SIZE):
        self._max_line_size = _limit("max_line_size", max_line_size)
        self._limit = _bound(self._max_line_size)
        self._start()

    def __dealloc__(self):
        _free(&self._lines.pending)
        _drop(&self._found, True)

    @cython.final
    cdef void _start(self) noexcept:
        _clear(&self._lines.pending)
        self._lines.swallow = False
        self._failed = False

    @cython.critical_section
    def feed(self, chunk, /):
        """Take the next chunk (any bytes-like object) and return the lines that it completes.

        Raises:
            LineTooLong: a line is over the limit; ``.lines`` has the lines before it. Every later
                `feed` raises it again, until `reset`.
            TypeError: `chunk` is not bytes-like.
        """
        cdef bytes text = <bytes> chunk if type(chunk) is bytes else _bytes(chunk, _CHUNK)
        if self._failed:
            raise LineTooLong(self._max_line_size, [])
        try:
            self._split(text)
            return _list(&self._found)
        finally:
            if self._found.size:
                _drop(&self._found, False)

    @cython.critical_section
    def reset(self):
        """Begin a new stream: drop the unfinished line, forget a failure."""
        self._start()

    @cython.final
    cdef int _split(self, bytes chunk) except -1:
        cdef sse_line[SSE_LINES] lines
        cdef sse_scan scan
        cdef size_t found, i
        cdef bint first = True
        _begin(&self._lines, &scan, chunk)
        while scan.block < scan.end:
            found = sse_split(&scan, lines)
            if found and first:
                first = False
                _complete(&self._lines, &lines[0])
            for i in range(found):
                if lines[i].size > self._limit:
                    self._fail()
                _add(&self._found, new_bytes(<const char *> lines[i].text, lines[i].size))
        if not first:
            _clear(&self._lines.pending)
        if scan.rest.size:
            if self._lines.pending.size + scan.rest.size > self._limit:
                self._fail()
            _append(&self._lines.pending, &scan.rest)
        return 0

    @cython.final
    cdef int _fail(self) except -1:
        self._failed = True
        raise LineTooLong(self._max_line_size, _list(&self._found))


cdef class BlockSplitter:
    """BlockSplitter(*, max_block_size=16777216)\n--\n
    Splits an event stream into its blocks and leaves every byte as it is: for relays.

    Args:
        max_block_size: bytes that one block may have, not counting the line end of its blank line; None for
            no limit.

    A block is the bytes of one event up to and including its blank line (section 9.2.5); each further blank
    line is a block of its own. The blocks, joined with what `finish` gives, are the input: a byte-order mark,
    comments and unknown fields stay where they are. The time is linear in the input, and memory holds one
    unfinished block at most.

    A CR at the end of a chunk may be the first half of a CRLF. Where the line before ended in CRLF, or where
    the block is nothing but this blank line, the block waits for the next byte. Any other block ends at its
    CR at once; an LF that comes next is then given as a block of its own, which says nothing.

    Threads may share a splitter: each call is atomic.
    """

    cdef object _max_block_size
    cdef size_t _limit
    cdef _Buffer _pending  # the block that is not given yet
    cdef bint _held  # it is whole, and waits for the LF that may follow its last CR
    cdef bint _first  # the first line has not ended: a byte-order mark may begin it
    cdef bint _new_line  # the next byte begins a line
    cdef bint _after_cr  # the last byte was CR
    cdef bint _after_crlf  # the last two bytes were CRLF
    cdef bint _failed  # a block was too large
    cdef _Found _found

    def __cinit__(self):
        self._limit = SIZE_MAX
        self._start()

    @cython.critical_section
    def __init__(self, *, max_block_size=DEFAULT_MAX_BLOCK_SIZE):
        self._max_block_size = _limit("max_block_size", max_block_size)
        self._limit = _bound(self._max_block_size)
        self._start()

    def __dealloc__(self):
        _free(&self._pending)
        _drop(&self._found, True)

    @cython.final
    cdef void _start(self) noexcept:
        _clear(&self._pending)
        self._held = False
        self._first = True
        self._new_line = True
        self._after_cr = False
        self._after_crlf = False
        self._failed = False

    @property
    def pending(self):
        """The bytes that are held: those of the block that is not given yet."""
        with cython.critical_section(self):
            return self._pending.size

    @cython.critical_section
    def feed(self, chunk, /):
        """Take the next chunk (any bytes-like object) and return the blocks that it completes.

        A chunk that is one whole block is returned itself; any other block is copied once.

        Raises:
            BlockTooLarge: a block is over the limit; ``.blocks`` has the blocks before it. Every later call
                raises it again, until `reset`.
            TypeError: `chunk` is not bytes-like.
        """
        cdef bytes text = <bytes> chunk if type(chunk) is bytes else _bytes(chunk, _CHUNK)
        return self._blocks(text)

    @cython.critical_section
    def feed_joined(self, chunk, /):
        """Take the next chunk and return the blocks that it completes, joined: the same bytes as `feed`.

        A chunk that begins and ends between two blocks is returned itself. Only the last blank line is looked
        for, from the end, where no block can be over the limit.

        Raises:
            BlockTooLarge, TypeError: as `feed`.
        """
        cdef bytes text = <bytes> chunk if type(chunk) is bytes else _bytes(chunk, _CHUNK)
        cdef size_t end = self._end(text)
        if end:
            return self._pass(text, end)
        blocks = self._blocks(text)
        return b"".join(blocks) if blocks else b""

    @cython.critical_section
    def finish(self):
        """End the stream, and begin a new one.

        Returns:
            The blocks that the end completes: one that waited for an LF, or none. And the bytes of the last
            block when no blank line has ended it, which a decoder discards.

        Raises:
            BlockTooLarge: as `feed`.
        """
        cdef bint held = self._held
        if self._failed:
            raise BlockTooLarge(self._max_block_size, [])
        rest = _owned(new_bytes(<const char *> self._pending.bytes, self._pending.size))
        self._start()
        return ([rest], b"") if held else ([], rest)

    @cython.critical_section
    def reset(self):
        """Begin a new stream: drop the unfinished block, forget a failure."""
        self._start()

    @cython.final
    cdef list _blocks(self, bytes chunk):
        if self._failed:
            raise BlockTooLarge(self._max_block_size, [])
        try:
            if PyBytes_GET_SIZE(chunk):
                self._split(chunk)
            return _list(&self._found)
        finally:
            if self._found.size:
                _drop(&self._found, False)

    @cython.final
    cdef int _split(self, bytes chunk) except -1:
        """Find the blank lines of a chunk, cut after each, and keep what is left. The chunk is not empty."""
        cdef sse_line[SSE_LINES] lines
        cdef sse_scan scan
        cdef size_t found, i
        cdef const unsigned char *text = <const unsigned char *> PyBytes_AS_STRING(chunk)
        cdef const unsigned char *stop = text + PyBytes_GET_SIZE(chunk)
        cdef const unsigned char *start = self._begin(chunk, text)  # of the block
        cdef const unsigned char *end  # of the line, after its line end
        sse_begin(&scan, start, stop - start)
        if text < start and self._pending.size:
            start = text  # the LF that belongs to the line before is a part of the unfinished block
        while scan.block < scan.end:
            found = sse_split(&scan, lines)
            for i in range(found):
                if self._is_blank(&lines[i]):
                    end = lines[i + 1].text if i + 1 < found else scan.rest.text
                    self._check(lines[i].text + lines[i].size - start)
                    if end == stop and self._waits(start, text, stop):
                        self._held = True
                    else:
                        _add(&self._found, self._cut(chunk, start, end))
                        start = end
                self._new_line = True
        if scan.rest.size:
            self._new_line = False
        self._keep(start, stop)
        if not self._held:
            self._check(0)
        self._after_crlf = (stop - 1)[0] == _LF and (
            (stop - 2)[0] == _CR if stop - text > 1 else self._after_cr
        )
        self._after_cr = (stop - 1)[0] == _CR
        return 0

    @cython.final
    cdef const unsigned char *_begin(self, bytes chunk, const unsigned char *text) except NULL:
        """Finish what a CR at the end of the last chunk has left open; return where the chunk goes on."""
        cdef bint lf = self._after_cr and text[0] == _LF
        if self._held or lf and not self._pending.size:
            self._held = False
            _add(&self._found, self._cut(chunk, text, text + lf))
        return text + lf

    @cython.final
    cdef inline bint _is_blank(self, const sse_line *line) noexcept:
        """Return True when a line, or the rest of one, is blank; the first may have a byte-order mark."""
        cdef bint first = self._first
        self._first = False
        if first and self._pending.size + line.size == _BOM_SIZE:
            return _is_bom(self._pending.bytes, self._pending.size, line.text, line.size)
        return self._new_line and line.size == 0

    @cython.final
    cdef bint _waits(
        self, const unsigned char *start, const unsigned char *text, const unsigned char *stop
    ) noexcept:
        """Return True when an LF would belong to the CR that ends a block, which has `start` to `stop`."""
        cdef size_t size = self._pending.size + (stop - start) - 1
        cdef size_t before = stop - text - 1
        if (stop - 1)[0] != _CR:
            return False
        if size == 0 or size == _BOM_SIZE and _is_bom(
            self._pending.bytes, self._pending.size, start, size - self._pending.size
        ):
            return True
        if before == 0:
            return self._after_crlf
        return (stop - 2)[0] == _LF and ((stop - 3)[0] == _CR if before > 1 else self._after_cr)

    @cython.final
    cdef PyObject *_cut(
        self, bytes chunk, const unsigned char *start, const unsigned char *end
    ) except NULL:
        """Make the block that is pending and ends with this part of the chunk."""
        cdef size_t size = end - start
        cdef size_t pending = self._pending.size
        cdef PyObject *block
        if pending == 0:
            if size == <size_t> PyBytes_GET_SIZE(chunk):
                return Py_NewRef(<PyObject *> chunk)
            return new_bytes(<const char *> start, size)
        block = new_bytes(NULL, pending + size)
        sse_copy(bytes_of(block), self._pending.bytes, pending)
        sse_copy(bytes_of(block) + pending, start, size)
        _clear(&self._pending)
        return block

    @cython.final
    cdef int _keep(self, const unsigned char *start, const unsigned char *stop) except -1:
        """Add a part of the chunk to what is pending."""
        cdef sse_line part
        part.text = start
        part.size = stop - start
        part.high = 0
        return _append(&self._pending, &part)

    @cython.final
    cdef size_t _end(self, bytes chunk) noexcept:
        """Return where the last blank line in a chunk ends; 0 where its lines must be looked at in turn."""
        cdef const unsigned char *text = <const unsigned char *> PyBytes_AS_STRING(chunk)
        cdef size_t size = PyBytes_GET_SIZE(chunk)
        cdef size_t at = size
        cdef size_t least = size - _FROM_END if size > _FROM_END else 1
        if self._failed or self._first or size < 2 or text[size - 1] == _CR:
            return 0
        if size > self._limit or self._pending.size > self._limit - size:
            return 0
        while at > least:
            at -= 1
            if text[at] == _LF and text[at - 1] == _LF:
                return at + 1
            if text[at] == _CR and (text[at - 1] == _LF or text[at - 1] == _CR):
                return at + 2 if text[at + 1] == _LF else at + 1
        return 0

    @cython.final
    cdef bytes _pass(self, bytes chunk, size_t end):
        """Give what is pending and the chunk up to `end`, where a blank line ends."""
        cdef const unsigned char *text = <const unsigned char *> PyBytes_AS_STRING(chunk)
        cdef const unsigned char *stop = text + PyBytes_GET_SIZE(chunk)
        cdef bytes passed = _owned(self._cut(chunk, text, text + end))
        self._keep(text + end, stop)
        self._held = self._after_cr = False
        self._new_line = (stop - 1)[0] == _LF
        self._after_crlf = (stop - 1)[0] == _LF and (stop - 2)[0] == _CR
        return passed

    @cython.final
    cdef inline int _check(self, size_t more) except -1:
        """Fail when the pending bytes and `more` are over the limit."""
        if self._pending.size + more > self._limit:
            self._failed = True
            _clear(&self._pending)
            raise BlockTooLarge(self._max_block_size, _list(&self._found))
        return 0


cdef enum:
    _BOM_SIZE = 3
    _FROM_END = 1024  # bytes that are searched backwards, one by one; beyond them sse_split is faster


cdef bint _is_bom(
    const unsigned char *head, size_t head_size, const unsigned char *tail, size_t tail_size
) noexcept:
    """Return True when two parts, three bytes together, are a byte-order mark."""
    cdef const unsigned char *mark = b"\xef\xbb\xbf"
    return (head_size == 0 or memcmp(head, mark, head_size) == 0) and (
        tail_size == 0 or memcmp(tail, mark + head_size, tail_size) == 0
    )


cdef class Decoder:
    """Decoder(*, last_event_id="", max_event_size=16777216, on_comment=None)\n--\n
    Decodes the bytes of an event stream into events (section 9.2.6). Has no I/O and no clock.

    Args:
        last_event_id: the last event ID before the first event: the one that a reconnecting client sent.
        max_event_size: bytes that the data buffer and the current line may have together; None for
            no limit.
        on_comment: called with the text of each comment, without its colon and one leading space.

    No call is needed at the end of a stream: the standard discards an event whose blank line never
    came. Threads may share a decoder: each `feed` is atomic. With `on_comment`, a second `feed` while
    the first still runs raises RuntimeError.
    """

    cdef object _max_event_size
    cdef size_t _limit  # max_event_size, or SIZE_MAX for no limit
    cdef object _on_comment
    cdef str _last_event_id  # the stream's: moves at a blank line
    cdef object _retry  # the reconnection time: moves at its own line
    cdef bint _feeding  # True while on_comment may run, which must not call this decoder
    cdef _Lines _lines
    cdef bint _bom  # the next line is the stream's first: a byte-order mark may stand before it
    cdef _Buffer _data  # the data buffer as earlier chunks left it, each value with its LF
    cdef sse_line *_values  # the data buffer now: first the value in _data, then one for each data line
    cdef size_t _count
    cdef size_t _room
    cdef size_t _data_size  # its size in bytes, each value with its LF
    cdef str _event  # the event type buffer
    cdef str _event_seen  # the last event type, which is often the next one
    cdef object _event_retry  # the retry field of this block, for Event.retry
    cdef str _id  # the last event ID buffer: moves at an id line
    cdef str _failure  # why feed refuses until reset
    cdef _Found _found

    def __cinit__(self):
        self._limit = SIZE_MAX
        self._last_event_id = ""
        self._event_seen = _MESSAGE
        self._start()

    @cython.critical_section
    def __init__(
        self, *, last_event_id="", max_event_size=DEFAULT_MAX_EVENT_SIZE, on_comment=None
    ):
        if self._feeding:
            raise RuntimeError("on_comment must not call the decoder that calls it")
        last_event_id = _str("last_event_id", last_event_id)
        if on_comment is not None and not callable(on_comment):
            raise TypeError("on_comment must be callable or None")
        self._max_event_size = _limit("max_event_size", max_event_size)
        self._limit = _bound(self._max_event_size)
        self._on_comment = on_comment
        self._last_event_id = last_event_id
        self._retry = None
        self._start()

    def __dealloc__(self):
        _free(&self._lines.pending)
        _free(&self._data)
        PyMem_Free(self._values)
        _drop(&self._found, True)

    @cython.final
    cdef int _start(self) except -1:
        _clear(&self._lines.pending)
        self._lines.swallow = False
        self._bom = True
        _clear(&self._data)
        self._count = 0
        self._data_size = 0
        self._event = _MESSAGE
        self._event_retry = None
        self._id = self._last_event_id
        self._failure = None
        return 0

    @property
    def last_event_id(self):
        """The last event ID string: what a reconnecting client sends as ``Last-Event-ID``."""
        with cython.critical_section(self):
            return self._last_event_id

    @property
    def retry(self):
        """The reconnection time in milliseconds, or None while the stream has not set one."""
        with cython.critical_section(self):
            return self._retry

    @cython.critical_section
    def feed(self, chunk, /):
        """Take the next chunk (any bytes-like object) and return the events that it dispatches.

        Raises:
            EventTooLarge: an event is over the limit; ``.events`` has the events before it. Every
                later `feed` raises it again, until `reset`.
            RuntimeError: called from within `on_comment`, or after `on_comment` has raised.
            TypeError: `chunk` is not bytes-like.
        """
        cdef bytes text = <bytes> chunk if type(chunk) is bytes else _bytes(chunk, _CHUNK)
        if self._failure is not None or self._feeding:
            self._refuse()
        try:
            if self._on_comment is None:
                self._take(text)
            else:
                self._take_guarded(text)
            return _list(&self._found)
        finally:
            if self._found.size:
                _drop(&self._found, False)

    @cython.critical_section
    def reset(self):
        """Begin a new stream: drop the buffers, forget a failure, accept a byte-order mark again.

        `last_event_id` and `retry` are kept: a client that reconnects needs both.

        Raises:
            RuntimeError: called from within `on_comment`.
        """
        if self._feeding:
            raise RuntimeError("on_comment must not call the decoder that calls it")
        self._start()

    @cython.final
    cdef int _take(self, bytes chunk) except -1:
        """Split the chunk, interpret its lines, keep what is unfinished."""
        cdef sse_line[SSE_LINES] lines
        cdef sse_scan scan
        cdef size_t found
        cdef bint first = True
        self._count = 0  # a feed that ran out of memory may have left values of a chunk that is gone
        if self._data.size:
            self._recall()
        _begin(&self._lines, &scan, chunk)
        while scan.block < scan.end:
            found = sse_split(&scan, lines)
            if found:
                if first:
                    first = False
                    _complete(&self._lines, &lines[0])
                self._interpret(lines, lines + found)
        if self._count:
            self._keep()
        if not first:
            _clear(&self._lines.pending)
        if self._data_size + self._lines.pending.size + scan.rest.size > self._limit:
            self._fail_size()
        if scan.rest.size:
            _append(&self._lines.pending, &scan.rest)
        return 0

    @cython.final
    cdef int _recall(self) except -1:
        """Make the content of _data the first of the values."""
        cdef sse_line value
        value.text = self._data.bytes
        value.size = self._data.size - 1  # without the last LF
        value.high = self._data.high
        return self._value(&value)

    @cython.final
    cdef int _keep(self) except -1:
        """Copy the values to _data, because the chunk that they point into belongs to the caller."""
        cdef sse_line lf
        cdef size_t i
        lf.text = <const unsigned char *> b"\n"
        lf.size = 1
        lf.high = 0
        for i in range(1 if self._data.size else 0, self._count):
            _append(&self._data, &self._values[i])
            _append(&self._data, &lf)
        self._forget()
        return 0

    @cython.final
    cdef void _forget(self) noexcept:
        """Drop the values, and their memory when it has room for very many."""
        self._count = 0
        if self._room * sizeof(sse_line) > _KEPT:
            PyMem_Free(self._values)
            self._values = NULL
            self._room = 0

    @cython.final
    cdef inline int _value(self, const sse_line *value) except -1:
        if self._count == self._room:
            _reserve(<void **> &self._values, &self._room, sizeof(sse_line), self._count + 1)
        self._values[self._count] = value[0]
        self._count += 1
        return 0

    @cython.final
    cdef int _interpret(self, sse_line *line, sse_line *stop) except -1:
        """Follow the standard's steps for each line. A state machine: long, and better in one piece."""
        if self._bom:
            self._bom = False
            if line.size >= 3 and memcmp(line.text, b"\xef\xbb\xbf", 3) == 0:
                if self._data_size + line.size > self._limit:
                    self._fail_size()
                line.text += 3
                line.size -= 3
        while line < stop:
            if self._data_size + line.size > self._limit:
                self._fail_size()
            if _is_data(line):
                if self._count or line + 1 == stop or line[1].size:
                    line = self._note(line, stop)
                    continue
                # One data line and a blank line, as in most events: the value needs no place in _values.
                _after_data(line)
                self._dispatch(_text_of(line))
                line += 2
                continue
            elif line.size == 0:
                if self._count:
                    self._dispatch(_joined(self._values, self._count))
                    self._forget()
                    self._data_size = 0
                    _clear(&self._data)
                else:
                    self._close()
            else:
                self._field(line)
            line += 1
        return 0

    @cython.final
    cdef sse_line *_note(self, sse_line *line, sse_line *stop) except NULL:
        """Add the data lines from here on to _values; return the first line that is not one."""
        cdef size_t size = self._data_size
        cdef size_t needed = self._count + (stop - line)
        cdef sse_line *to
        if needed > self._room:
            _reserve(<void **> &self._values, &self._room, sizeof(sse_line), needed)
        to = self._values + self._count
        while True:
            to[0] = line[0]
            _after_data(to)
            size += to.size + 1
            to += 1
            line += 1
            if line == stop or not _is_data(line):
                break
            if size + line.size > self._limit:
                self._fail_size()
        self._count = to - self._values
        self._data_size = size
        return line

    @cython.final
    cdef inline int _dispatch(self, PyObject *text) except -1:
        """Add the event of a finished block; take over the reference to its data."""
        _add(
            &self._found,
            event_new(
                <PyTypeObject *> Event,
                text,
                <PyObject *> self._event,
                <PyObject *> self._id,
                <PyObject *> self._event_retry,
            ),
        )
        self._close()
        return 0

    @cython.final
    cdef inline void _close(self) noexcept:
        """Do what a blank line does besides dispatching: set the last event ID, clear the other fields."""
        if self._last_event_id is not self._id:
            self._last_event_id = self._id
        if self._event is not _MESSAGE:
            self._event = _MESSAGE
        if self._event_retry is not None:
            self._event_retry = None

    @cython.final
    cdef int _field(self, sse_line *line) except -1:
        """Interpret a line that is not blank, and no data field with a value."""
        cdef size_t i
        if line.text[0] == _COLON:
            if self._on_comment is not None:
                _after_colon(line, 0)
                self._on_comment(_str_of(line))
        elif _is_field(line, b"event", 5):
            _after_colon(line, 5)
            self._event = self._type(line)
        elif _is_field(line, b"id", 2):
            _after_colon(line, 2)
            if memchr(line.text, 0, line.size) == NULL:
                self._id = _str_of(line)
        elif _is_field(line, b"retry", 5):
            _after_colon(line, 5)
            if line.size == 0:
                return 0
            for i in range(line.size):
                if line.text[i] < 0x30 or line.text[i] > 0x39:
                    return 0
            self._retry = self._event_retry = _milliseconds(line)
        elif _is_field(line, b"data", 4):
            _after_colon(line, 4)
            self._value(line)
            self._data_size += line.size + 1
        return 0

    @cython.final
    cdef str _type(self, const sse_line *value):
        """Return the event type; when it equals the last one, the same object, which costs no new text."""
        if value.size == 0:
            return _MESSAGE
        if value.high:
            return _str_of(value)
        if (
            <size_t> PyUnicode_GET_LENGTH(self._event_seen) != value.size
            or memcmp(PyUnicode_DATA(self._event_seen), value.text, value.size) != 0
        ):
            self._event_seen = _str_of(value)
        return self._event_seen

    @cython.final
    cdef int _take_guarded(self, bytes chunk) except -1:
        """Take a chunk while `on_comment` may run: refuse its calls to us, and remember if it raises."""
        self._feeding = True
        self._failure = "on_comment raised"
        try:
            self._take(chunk)
            self._failure = None
        finally:
            self._feeding = False
        return 0

    @cython.final
    cdef int _fail_size(self) except -1:
        self._failure = "size"
        raise EventTooLarge(self._max_event_size, _list(&self._found))

    @cython.final
    cdef int _refuse(self) except -1:
        if self._feeding:
            raise RuntimeError("on_comment must not call the decoder that calls it")
        if self._failure == "size":
            raise EventTooLarge(self._max_event_size, [])
        raise RuntimeError("on_comment has raised in the middle of a chunk; reset() to go on")


cdef inline bint _is_field(const sse_line *line, const char *name, size_t size) noexcept:
    return (
        line.size >= size
        and memcmp(line.text, name, size) == 0
        and (line.size == size or line.text[size] == _COLON)
    )


cdef inline bint _is_data(const sse_line *line) noexcept:
    """Return True when the line is a data field with a value, as most lines are."""
    return line.size >= 6 and memcmp(line.text, b"data:", 5) == 0


cdef inline void _after_data(sse_line *line) noexcept:
    """Cut a line of which `_is_data` is true to its value."""
    cdef size_t skip = 6 if line.text[5] == _SPACE else 5
    line.text += skip
    line.size -= skip


cdef inline void _after_colon(sse_line *line, size_t name) noexcept:
    """Cut a line to the value of its field, without the name, the colon and one leading space."""
    cdef size_t skip = name
    if skip < line.size:
        skip += 1
        if skip < line.size and line.text[skip] == _SPACE:
            skip += 1
    line.text += skip
    line.size -= skip


cdef str _str_of(const sse_line *value):
    cdef PyObject *text = _text_of(value)
    result = <str> text
    Py_DECREF(text)
    return result


cdef inline PyObject *_text_of(const sse_line *value) except NULL:
    """Decode a value as UTF-8, with U+FFFD for each part that is not UTF-8."""
    cdef PyObject *text
    if value.high:
        return _joined_high(value, 1)
    text = new_text(value.size, 0x7F)
    sse_copy(<unsigned char *> data_of(text), value.text, value.size)
    return text


cdef PyObject *_joined(const sse_line *values, size_t count) except NULL:
    """Join values by LF and decode them, with U+FFFD for each part that is not UTF-8."""
    cdef size_t i
    cdef size_t size = count - 1
    cdef uint64_t high = 0
    cdef PyObject *text
    for i in range(count):
        size += values[i].size
        high |= values[i].high
    if high:
        return _joined_high(values, count)
    text = new_text(size, 0x7F)
    sse_join(<unsigned char *> data_of(text), values, count)
    return text


cdef PyObject *_joined_high(const sse_line *values, size_t count) except NULL:
    """Join and decode values of which some are not ASCII."""
    cdef size_t i
    cdef size_t length = count - 1
    cdef uint32_t top = 0x7F
    cdef sse_text measured
    cdef PyObject *text
    cdef void *to
    cdef const void *stop
    cdef int width
    for i in range(count):
        if values[i].high:
            measured = sse_measure_text(values[i].text, values[i].size)
            length += measured.length
            top = max(top, measured.top)
        else:
            length += values[i].size
    text = new_text(length, top)
    width = width_of(text)
    to = data_of(text)
    stop = <char *> to + length * width
    for i in range(count):
        if i:
            to = sse_write_text(to, stop, width, <const unsigned char *> b"\n", 1)
        to = sse_write_text(to, stop, width, values[i].text, values[i].size)
        if to == NULL:
            Py_DECREF(text)
            return _joined_replaced(values, count)
    return text


cdef PyObject *_joined_replaced(const sse_line *values, size_t count) except NULL:
    """Join and decode values of which some are not UTF-8. Slower."""
    cdef size_t i
    cdef size_t length = count - 1
    cdef uint32_t top = 0x7F
    cdef sse_text measured
    cdef PyObject *text
    cdef void *to
    cdef int width
    for i in range(count):
        measured = sse_measure_replaced(values[i].text, values[i].size)
        length += measured.length
        top = max(top, measured.top)
    text = new_text(length, top)
    width = width_of(text)
    to = data_of(text)
    for i in range(count):
        if i:
            to = sse_write_replaced(to, width, <const unsigned char *> b"\n", 1)
        to = sse_write_replaced(to, width, values[i].text, values[i].size)
    return text


def decode(stream):
    """Decode a whole event stream that is in memory already. No event is too large.

    Raises:
        TypeError: `stream` is not bytes-like.
    """
    return Decoder(max_event_size=None).feed(stream)


cdef str _CHUNK = "chunk must be bytes-like"


cdef _limit(str name, value):
    if value is None:
        return None
    value = _int(name, value)
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


cdef size_t _bound(limit) except? 0:
    return SIZE_MAX if limit is None or limit > SIZE_MAX else <size_t> limit


cdef _milliseconds(const sse_line *digits):
    cdef size_t i = 0
    cdef uint64_t number = 0
    while i < digits.size and digits.text[i] == 0x30:
        i += 1
    if digits.size - i > 19:
        return MAX_RETRY
    while i < digits.size:
        number = number * 10 + (digits.text[i] - 0x30)
        i += 1
    return number if number < _MAX_RETRY else MAX_RETRY


sse_choose()
