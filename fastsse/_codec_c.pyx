# cython: language_level=3, freethreading_compatible=True
# cython: binding=False, embedsignature=True, embedsignature.format=clinic, auto_pickle=False
# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The compiled twin: the same names in the same order as `_codec_py.py`, which is the reference.

What looks at every byte is in csrc (see _kernels.pxd), the memory of an Event in _event.h. Here stands what
makes Python objects of it. Values that the short road does not take (a comment, an id that is not ASCII,
anything that must be refused) go by the long road, which is the pure twin's text: errors are the same by
construction.

    feed -> sse_split -> Decoder._interpret -> Event            section 9.2.6, coming in
    encode -> _prepare, _write -> bytes                         section 9.2.5, going out
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
    sse_choose,
    sse_copy,
    sse_copy_line,
    sse_is_utf8,
    sse_join,
    sse_line,
    sse_lines,
    sse_measure_lines,
    sse_measure_replaced,
    sse_measure_text,
    sse_most,
    sse_scan,
    sse_split,
    sse_text,
    sse_write_data,
    sse_write_replaced,
    sse_write_text,
)

from fastsse import _json
from fastsse.errors import EventTooLarge, InvalidField, LineTooLong

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
    "DEFAULT_MAX_EVENT_SIZE",
    "DEFAULT_MAX_LINE_SIZE",
    "MAX_RETRY",
    "Decoder",
    "Event",
    "LineSplitter",
    "decode",
    "encode",
    "encode_comment",
    "encode_json",
    "encode_many",
]

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


@cython.final
@cython.no_gc
cdef class Event:
    """Event(data, event="message", id="", retry=None)\n--\n
    What a decoder dispatches (section 9.2.6). Immutable, hashable, equal to its other twin.

    Attributes:
        data: the data buffer, lines joined by LF.
        event: the event type; ``"message"`` when the stream names none.
        id: the last event ID string at dispatch; ``""`` when there is none.
        retry: the reconnection time in milliseconds that this block set, or None.

    Raises:
        TypeError: a field is of another type. What it says is checked by `encode`.
    """

    # As _event.h says, which makes them attributes.
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
        """The data parsed as JSON, by the library that `encode_json` writes with.

        Raises:
            ValueError: the data is not JSON.
        """
        return _json.loads(self.data)

    def encode(self):
        """This event as one block. An empty id and the type ``"message"`` are left out.

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

    _is_fastsse_event = True  # how the twins know each other without an import


event_prepare(<PyTypeObject *> Event)


cdef tuple _fields(Event event):
    return event.data, event.event, event.id, event.retry


# Going out: section 9.2.5, "Parsing an event stream", read as a grammar to write.


def encode(data, *, event=None, id=None, retry=None, comment=None):
    """Write one block: the bytes of one event up to and including its blank line.

    Args:
        data: text, or bytes-like UTF-8; split at CR, LF and CRLF and at nothing else. None
            writes no data line: such a block carries a comment, an id or a reconnection time, and
            is never dispatched.
        event: the event type. One line, not empty, only with data.
        id: the last event ID; ``""`` resets it. One line without NUL.
        retry: the reconnection time, integer milliseconds, 0 to `MAX_RETRY`.
        comment: text that receivers ignore; split like data.

    Returns:
        The block, LF line ends, in the order comment, id, event, retry, data. Linear in its size.

    Raises:
        InvalidField: a value cannot be written without changing its meaning. Nothing is repaired.
        TypeError: a value is of another type.
    """
    if comment is None:
        return _encode(data, event, id, retry)
    return _encode_parts(data, event, id, retry, comment)


def encode_json(obj, *, event=None, id=None, retry=None):
    """Write one block whose data is `obj` as JSON on one line; None is ``null``, and so is NaN.

    By orjson when it is importable, else msgspec, else the standard library.

    Raises:
        InvalidField: as `encode`; also for a string in `obj` with lone surrogates.
        TypeError, ValueError, RecursionError: JSON cannot say `obj`, or it holds itself.
    """
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
        InvalidField: as `encode`. Nothing is returned by halves.
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
    """The other twin's event as ours."""
    if not getattr(type(event), "_is_fastsse_event", False):
        raise TypeError(f"events must be Event, not {type(event).__name__}")
    return Event(event.data, event.event, event.id, event.retry)


cdef _encode_event(Event event, id):
    name = None if event.event == _MESSAGE else event.event
    return _encode(event.data, name, id, event.retry)


cdef _encode(data, event, id, retry):
    """`encode` without a comment."""
    cdef PyObject *block
    block = _block(<PyObject *> data, <PyObject *> event, <PyObject *> id, <PyObject *> retry)
    if block != NULL:
        return _owned(block)
    return _encode_parts(data, event, id, retry, None)


# The short road: ASCII names, data of any kind, no comment. Data that is ASCII is taken for one line, whose
# size is known, until a line end shows. Other data is written where there is room for the most that it can
# come to, or, when it is large, measured first.


cdef enum:
    _SCRATCH = 8192  # bytes on the stack, for a block whose size is not known

cdef struct _Block:
    const unsigned char *id  # ASCII; NULL: none
    size_t id_size
    const unsigned char *event  # ASCII; NULL: none
    size_t event_size
    const char *retry  # digits, in `digits`; NULL: none
    size_t retry_size
    const void *data  # as csrc/sse.h has it: text, length, form
    size_t length
    int form
    bint unknown  # data came as bytes: are they UTF-8?
    bint line  # data is taken for one line of ASCII
    char[20] digits


cdef PyObject *_encode_raw(
    PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names
) except NULL:
    """`encode` for the calls that it is mostly called with."""
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
    """`encode_json` for the same calls."""
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
    """The fields that one positional argument is followed by. False: there are others."""
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
    """JSON by the library at once; what it refuses, as the pure twin does it."""
    try:
        return _encode_or_refuse(obj)
    except Exception:
        pass
    return _json.dumps(obj)


cdef call_raw _encode_any = call_shortcut(encode, _encode_raw)
cdef call_raw _encode_json_any = call_shortcut(encode_json, _encode_json_raw)


cdef _owned(PyObject *made):
    """A new reference as an object."""
    result = <object> made
    Py_DECREF(made)
    return result


cdef inline bint _is_ascii(PyObject *value) except -1:
    """Whether it is str itself, and all ASCII."""
    return PyUnicode_CheckExact(value) and not PyUnicode_READY(value) and PyUnicode_IS_ASCII(value)


cdef inline PyObject *_line(PyObject *data) except? NULL:
    """The block of one line of ASCII, or of UTF-8, and nothing else; NULL when it is not that."""
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
    """The block of one line of ASCII with a type, an id or both, or NULL when it is not that."""
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
        met = SSE_LINE_END if met else 0  # nor may it have a NUL
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
    """The block, or NULL when a value wants the long road."""
    cdef _Block block
    cdef PyObject *result
    cdef size_t size
    cdef unsigned char *to
    if not _prepare(&block, data, event, id, retry):
        return NULL
    if block.line:
        size = _size(&block)
        result = new_bytes(NULL, size)
        to = bytes_of(result)
        if _write(&block, to, to + size) != NULL:
            return result
        Py_DECREF(result)
        block.line = False
    return _wide_block(&block)


cdef PyObject *_wide_block(_Block *block) except? NULL:
    """The same for data that is not one line of ASCII."""
    cdef unsigned char[_SCRATCH] scratch
    cdef size_t size = _size(block)
    cdef PyObject *result
    cdef unsigned char *to
    cdef unsigned char *end
    if size <= _SCRATCH:
        end = _write(block, scratch, scratch + size)
        return NULL if end == NULL else new_bytes(<const char *> scratch, end - scratch)
    size = _size_measured(block)
    result = new_bytes(NULL, size)
    to = bytes_of(result)
    if _write(block, to, to + size) != NULL:
        return result
    Py_DECREF(result)
    return NULL


cdef _blocks(list events):
    """The blocks of all, or None when one of them wants the long road."""
    blocks = _blocks_of(events, False)
    return _blocks_of(events, True) if blocks is None else blocks


cdef size_t _sum_sizes(list events, bint measured):
    """What the blocks of all come to, where ASCII is taken for one line unless `measured`.

    To the byte: a large block that is made smaller in the end is a new one from the system every time.
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
    cdef _Block block
    return block.retry_size + 8 if _digits(&block, retry) else 0


cdef _blocks_of(list events, bint measured):
    """The same, also None when ASCII that was not measured has several lines."""
    cdef _Block block
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
            and _size(&block) > <size_t> (stop - to)
        ):
            return None
        end = _write(&block, to, stop)
        if end == NULL and measured and block.line:
            block.line = False
            end = _write(&block, to, stop)
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
    _Block *block, PyObject *data, PyObject *event, PyObject *id, PyObject *retry
) except -1:
    """Look at every part. False: a value wants the long road."""
    block.id = NULL
    block.event = NULL
    block.retry = NULL
    block.unknown = False
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
        block.unknown = True
        block.data = bytes_of(data)
        block.length = size_of(data)
        return True
    return False


cdef bint _digits(_Block *block, retry) except -1:
    cdef int overflow = 0
    cdef uint64_t number
    cdef char *at = &block.digits[20]
    if type(retry) is not int:
        return False
    number = PyLong_AsLongLongAndOverflow(retry, &overflow)
    if overflow or number > _MAX_RETRY:
        return False
    while True:
        at -= 1
        at[0] = <char> (48 + number % 10)
        number //= 10
        if number == 0:
            break
    block.retry = at
    block.retry_size = &block.digits[20] - at
    return True


cdef inline size_t _size(const _Block *block) noexcept:
    """The bytes that the block comes to, if its data is one line of ASCII, or the most."""
    return _size_with(block, block.length + 7 if block.line else sse_most(block.length))


cdef size_t _size_measured(const _Block *block) noexcept:
    """The bytes that the block comes to."""
    cdef sse_lines lines = sse_measure_lines(block.data, block.length, block.form)
    return _size_with(block, lines.size + 7 * lines.lines)


cdef inline size_t _size_with(const _Block *block, size_t data) noexcept:
    cdef size_t size = data + 1  # the blank line
    if block.id != NULL:
        size += block.id_size + 5
    if block.event != NULL:
        size += block.event_size + 8
    if block.retry != NULL:
        size += block.retry_size + 8
    return size


cdef inline unsigned char *_write(
    const _Block *block, unsigned char *to, const unsigned char *stop
) noexcept:
    """Write the block and return its end; NULL when a value is not the one line that it was taken for."""
    cdef int met
    if block.id != NULL:
        memcpy(to, b"id: ", 4)
        if sse_copy_line(to + 4, block.id, block.id_size):  # a line end or a NUL
            return NULL
        to += 4 + block.id_size
        to[0] = _LF
        to += 1
    if block.event != NULL:
        memcpy(to, b"event: ", 7)
        if sse_copy_line(to + 7, block.event, block.event_size) & SSE_LINE_END:
            return NULL
        to += 7 + block.event_size
        to[0] = _LF
        to += 1
    if block.retry != NULL:
        memcpy(to, b"retry: ", 7)
        memcpy(to + 7, block.retry, block.retry_size)
        to += 7 + block.retry_size
        to[0] = _LF
        to += 1
    if block.line:
        memcpy(to, b"data: ", 6)
        met = sse_copy_line(to + 6, <const unsigned char *> block.data, block.length)
        if met & SSE_LINE_END:
            return NULL
        if met & SSE_NOT_ASCII and not sse_is_utf8(<const unsigned char *> block.data, block.length):
            return NULL
        to += 6 + block.length
        to[0] = _LF
        to += 1
    else:
        if block.unknown and not sse_is_utf8(<const unsigned char *> block.data, block.length):
            return NULL
        to = sse_write_data(to, stop, block.data, block.length, block.form)
        if to == NULL:
            return NULL
    to[0] = _LF
    return to + 1


# The long road: the pure twin's text.


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
    """The data lines: one for each line of the value, so "a\\n" makes two and "" makes one."""
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
    # Not a list comprehension: Cython 3.3 frees an item twice when its list cannot grow.
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
    """The text itself: a subclass's own methods (an Enum's `__format__`) could write other text."""
    return <str> value if type(value) is str else str.__str__(value)


cdef _exact_int(value):
    return value if type(value) is int else int.__index__(value)


cdef bytes _bytes(value, str otherwise):
    """One contiguous copy of a bytes-like value, or the value itself when it is bytes."""
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
    _KEPT = 65536  # bytes of buffer that are kept for the next line, event or result

# A buffer that grows by doubling.
cdef struct _Buffer:
    unsigned char *bytes
    size_t size
    size_t room
    uint64_t high  # not 0: some of it is from 0x80 on


cdef int _reserve(void **block, size_t *room, size_t unit, size_t needed) except -1:
    """Let `block` have room for `needed` units."""
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


# What a feed has found. Not a list from the start: its size is not known, and making a list may run the
# collector and so anybody's code, which must wait until our own state is whole.
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
    """Take over `item`, also when it fails."""
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
    """Let go of what was found, and of the memory, if there is much of it."""
    while found.size:
        found.size -= 1
        Py_DECREF(found.items[found.size])
    if all or found.room * sizeof(PyObject *) > _KEPT:
        PyMem_Free(found.items)
        found.items = NULL
        found.room = 0


# Chunks in, complete lines out; linear for every way to cut the input.
cdef struct _Lines:
    # The line that no line end has closed yet. Appended to, never searched again.
    _Buffer pending
    # The last chunk ended in CR, which closed its line; an LF that comes next belongs to that CR.
    bint swallow


cdef inline void _begin(_Lines *lines, sse_scan *scan, bytes chunk) noexcept:
    """Let the lines of a chunk be looked for."""
    cdef const unsigned char *text = <const unsigned char *> PyBytes_AS_STRING(chunk)
    cdef size_t size = PyBytes_GET_SIZE(chunk)
    cdef size_t skip = 1 if size and lines.swallow and text[0] == _LF else 0
    sse_begin(scan, text + skip, size - skip)
    if size:
        lines.swallow = text[size - 1] == _CR


cdef inline int _complete(_Lines *lines, sse_line *first) except -1:
    """The first line of a chunk ends what is pending."""
    if lines.pending.size:
        _append(&lines.pending, first)
        first.text = lines.pending.bytes
        first.size = lines.pending.size
        first.high = lines.pending.high
    return 0


cdef class LineSplitter:
    """LineSplitter(*, max_line_size=16777216)\n--\n
    Bytes in, lines out: CR, LF and CRLF end a line, wherever the chunks are cut.

    Args:
        max_line_size: bytes that one line may have, its line end not counted; None for no limit.

    A CR at the end of a chunk ends its line at once. An unfinished line waits for more, or for
    `reset`. Threads may share a splitter: each `feed` is one step.
    """

    cdef object _max_line_size
    cdef size_t _limit
    cdef _Lines _lines
    cdef bint _failed  # a line was too long: what follows cannot be told apart any more
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
            LineTooLong: with the lines before it in ``.lines``; and again until `reset`.
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
        """Begin a new stream: the unfinished line is dropped, a failure forgotten."""
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


cdef class Decoder:
    """Decoder(*, last_event_id="", max_event_size=16777216, on_comment=None)\n--\n
    Bytes in, events out, as the standard says (section 9.2.6). No I/O, no clock.

    Args:
        last_event_id: what the stream begins with: the id that a reconnecting client sent.
        max_event_size: bytes that the data buffer and the current line may have together; None for
            no limit.
        on_comment: called with the text of each comment, without its colon and one leading space.

    There is nothing to finish: the standard discards an event whose blank line never came. Threads
    may share a decoder: each `feed` is one step (with `on_comment`, another meanwhile is refused).
    """

    cdef object _max_event_size
    cdef size_t _limit  # the same, or SIZE_MAX
    cdef object _on_comment
    cdef str _last_event_id  # the stream's: moves at a blank line
    cdef object _retry  # the reconnection time: moves at its own line
    cdef bint _feeding  # on_comment must not feed us while we feed
    cdef _Lines _lines
    cdef bint _bom  # the next line is the stream's first: a byte-order mark may stand before it
    cdef _Buffer _data  # the data buffer as earlier chunks left it, each value with its LF
    cdef sse_line *_values  # the data buffer as it is: that of _data, then a value a line
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
            EventTooLarge: with the events before it in ``.events``; and again until `reset`.
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
        """Begin a new stream: buffers dropped, a failure forgotten, a byte-order mark may come.

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
        self._count = 0  # a feed that ran out of memory may have left some, of a chunk that is gone
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
        """What stands in _data is the first of the values."""
        cdef sse_line value
        value.text = self._data.bytes
        value.size = self._data.size - 1  # without the last LF
        value.high = self._data.high
        return self._value(&value)

    @cython.final
    cdef int _keep(self) except -1:
        """The values go to _data: the chunk in which they stand is not ours."""
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
        """No more values, nor room for very many."""
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
        """The standard's steps for each line. A state machine: long, and better in one piece."""
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
                # One line of data and a blank one, as most events are: it need not be noted down.
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
        """Note down the data lines from here on; returns the first line that is none."""
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
        """Make the event of a block and take over its data."""
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
        """The blank line, but for the event."""
        if self._last_event_id is not self._id:
            self._last_event_id = self._id
        if self._event is not _MESSAGE:
            self._event = _MESSAGE
        if self._event_retry is not None:
            self._event_retry = None

    @cython.final
    cdef int _field(self, sse_line *line) except -1:
        """Every line but a blank one and data that is not empty."""
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
        """The event type; the same object when it is the same again."""
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
        """The same while a caller's code may run: it must neither feed us nor raise unnoticed."""
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
    """Whether it is a data field with a value, as most lines are."""
    return line.size >= 6 and memcmp(line.text, b"data:", 5) == 0


cdef inline void _after_data(sse_line *line) noexcept:
    """The value of such a line."""
    cdef size_t skip = 6 if line.text[5] == _SPACE else 5
    line.text += skip
    line.size -= skip


cdef inline void _after_colon(sse_line *line, size_t name) noexcept:
    """The value of a field, without its colon and one leading space."""
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
    """A value as text, with U+FFFD for what is not UTF-8."""
    cdef PyObject *text
    if value.high:
        return _joined_high(value, 1)
    text = new_text(value.size, 0x7F)
    sse_copy(<unsigned char *> data_of(text), value.text, value.size)
    return text


cdef PyObject *_joined(const sse_line *values, size_t count) except NULL:
    """Values as text, joined by LF, with U+FFFD for what is not UTF-8."""
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
    """The same for what is not ASCII."""
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
    """The same for what is not UTF-8."""
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
    """The events of a whole event stream that is in memory already; no size limit.

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
