# cython: language_level=3, freethreading_compatible=True
# cython: binding=False, embedsignature=True, embedsignature.format=clinic, auto_pickle=False
# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The compiled twin: the same names in the same order as `_codec_py.py`, which is the reference.

What looks at every byte is in csrc (see _kernels.pxd), the memory of an Event in _event.h. Here stands what
makes Python objects of it. Values that the short road does not take (a comment, an id that is not ASCII,
anything that must be refused) go by the long road, which is the pure twin's text: errors are the same by
construction.

    feed -> sse_split -> Decoder._interpret -> Event            section 9.2.6, coming in
    encode -> _measure, _write -> bytes                         section 9.2.5, going out
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_New
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject, PyTypeObject
from cpython.unicode cimport PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND
from libc.stdint cimport SIZE_MAX, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from fastsse._kernels cimport (
    SSE_BYTES,
    SSE_LINE_END,
    sse_choose,
    sse_copy_line,
    sse_line,
    sse_lines,
    sse_measure_lines,
    sse_measure_utf8,
    sse_split,
    sse_utf8,
    sse_write_lines,
    sse_write_text,
)

from fastsse import _json
from fastsse.errors import EventTooLarge, InvalidField, LineTooLong

cdef extern from "Python.h":
    PyObject *_PyUnicode_New "PyUnicode_New" (Py_ssize_t size, Py_UCS4 top) except NULL
    PyObject *_PyBytes_New "PyBytes_FromStringAndSize" (const char *text, Py_ssize_t size) except NULL
    void *_PyUnicode_DATA "PyUnicode_DATA" (PyObject *text)
    int _PyUnicode_KIND "PyUnicode_KIND" (PyObject *text)
    bint PyUnicode_IS_ASCII(object text)
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    void PyList_SET_ITEM(object items, Py_ssize_t i, PyObject *item)
    void Py_DECREF(PyObject *item)

cdef extern from *:
    int PyUnicode_READY "__Pyx_PyUnicode_READY" (object text) except -1

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
cdef object _DEFAULT_SIZE = DEFAULT_MAX_EVENT_SIZE

cdef unsigned char _LF = 0x0A
cdef unsigned char _CR = 0x0D

cdef str _ONE_LINE = "must not contain CR or LF: it would end the line and begin another field"
cdef str _UNICODE = "must not contain lone surrogates: they have no UTF-8"
cdef str _UTF8 = "must be valid UTF-8"
cdef str _NUL = "must not contain NUL: receivers ignore such an id"
cdef str _UNNAMED = "must not be empty: receivers read that as 'message'; leave it out"
cdef str _UNDISPATCHED = "goes with data: a block without data is never dispatched"
cdef str _NOTHING = "with no other field leaves nothing to write"
cdef str _RETRY = f"must be a whole number of milliseconds, 0 to {MAX_RETRY}"
cdef str _MESSAGE = "message"


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
        from fastsse.event import Event as Chosen

        return Chosen, _fields(self)

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
        block = _block(data, event, id, retry)
        if block is not None:
            return block
    return _encode_parts(data, event, id, retry, comment)


def encode_json(obj, *, event=None, id=None, retry=None):
    """Write one block whose data is `obj` as JSON on one line; None is ``null``.

    By orjson when it is importable, else msgspec, else the standard library.

    Raises:
        InvalidField: as `encode`.
        TypeError: the JSON library cannot write `obj` (msgspec and orjson raise subclasses of it).
    """
    data = _json.dumps(obj)
    block = _block(data, event, id, retry)
    if block is not None:
        return block
    return _encode_parts(data, event, id, retry, None)


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
    cdef list items = [_own(event) for event in events]
    block = _blocks(items, False)
    if block is None:
        block = _blocks(items, True)
    if block is None:
        return _encode_many_parts(items)
    return block


cdef Event _own(event):
    """The event itself, or the other twin's as ours."""
    if type(event) is Event:
        return <Event> event
    if not getattr(type(event), "_is_fastsse_event", False):
        raise TypeError(f"events must be Event, not {type(event).__name__}")
    return Event(event.data, event.event, event.id, event.retry)


cdef _encode_event(Event event, id):
    name = None if event.event == _MESSAGE else event.event
    block = _block(event.data, name, id, event.retry)
    if block is not None:
        return block
    return _encode_parts(event.data, name, id, event.retry, None)


# The short road: ASCII names, data of any kind, no comment. Measured, then written into one exact object.


cdef struct _Block:
    const unsigned char *id  # ASCII; NULL: none
    size_t id_size
    const unsigned char *event  # ASCII; NULL: none
    size_t event_size
    const char *retry  # digits, in `digits`; NULL: none
    size_t retry_size
    const void *data  # as csrc/sse.h calls it: text, length, form; size and lines as UTF-8
    size_t data_length
    int form
    bint utf8  # data came as bytes: is it UTF-8?
    size_t data_size
    size_t lines
    char[20] digits


cdef _block(data, event, id, retry):
    """The block, or None when a value wants the long road."""
    cdef _Block block
    cdef unsigned char *to
    if not _measure(&block, data, event, id, retry):
        return None
    result = PyBytes_FromStringAndSize(NULL, _size(&block))
    to = <unsigned char *> PyBytes_AS_STRING(result)
    if _write(&block, &to):
        return result
    if not _measure_data(&block):
        return None
    result = PyBytes_FromStringAndSize(NULL, _size(&block))
    to = <unsigned char *> PyBytes_AS_STRING(result)
    return result if _write(&block, &to) else None


cdef _blocks(list events, bint exact):
    """The blocks, or None when they must be measured exactly, or one of them wants the long road."""
    cdef _Block block
    cdef Event event
    cdef Py_ssize_t size = 0
    cdef unsigned char *to
    cdef str last_id = ""
    for event in events:
        if not _measure_event(&block, event, last_id) or (exact and not _measure_data(&block)):
            return None
        size += _size(&block)
        last_id = event.id
    result = PyBytes_FromStringAndSize(NULL, size)
    to = <unsigned char *> PyBytes_AS_STRING(result)
    last_id = ""
    for event in events:
        _measure_event(&block, event, last_id)
        if exact:
            _measure_data(&block)
        if not _write(&block, &to):
            return None
        last_id = event.id
    return result


cdef bint _measure_event(_Block *block, Event event, str last_id) except -1:
    name = None if event.event == _MESSAGE else event.event
    id = event.id if event.id or event.id != last_id else None
    return _measure(block, event.data, name, id, event.retry)


cdef bint _measure(_Block *block, data, event, id, retry) except -1:
    """Find the size of every part; data that is ASCII or bytes is taken for one line until it is seen."""
    cdef long long milliseconds
    cdef int overflow = 0
    cdef sse_lines measured
    block.id = block.event = NULL
    block.retry = NULL
    block.utf8 = False
    if id is not None:
        if type(id) is not str or PyUnicode_READY(id) or not PyUnicode_IS_ASCII(id):
            return False
        block.id = <const unsigned char *> PyUnicode_DATA(id)
        block.id_size = PyUnicode_GET_LENGTH(id)
        if memchr(block.id, 0, block.id_size) != NULL:
            return False
    if event is not None:
        if type(event) is not str or PyUnicode_READY(event) or not PyUnicode_IS_ASCII(event):
            return False
        block.event = <const unsigned char *> PyUnicode_DATA(event)
        block.event_size = PyUnicode_GET_LENGTH(event)
        if block.event_size == 0:
            return False
    if retry is not None:
        if type(retry) is not int:
            return False
        milliseconds = PyLong_AsLongLongAndOverflow(retry, &overflow)
        if overflow or milliseconds < 0:
            return False
        _digits(block, milliseconds)
    block.lines = 1
    if type(data) is str:
        PyUnicode_READY(data)
        block.data = PyUnicode_DATA(data)
        block.data_length = block.data_size = PyUnicode_GET_LENGTH(data)
        if PyUnicode_IS_ASCII(data):
            block.form = SSE_BYTES
            return True
        block.form = PyUnicode_KIND(data)
        measured = sse_measure_lines(block.data, block.data_length, block.form)
        block.data_size = measured.size
        block.lines = measured.lines
        return measured.valid
    if type(data) is bytes:
        block.data = PyBytes_AS_STRING(data)
        block.data_length = block.data_size = PyBytes_GET_SIZE(data)
        block.form = SSE_BYTES
        block.utf8 = True
        return True
    return False


cdef bint _measure_data(_Block *block) noexcept:
    """Count the lines of data that was taken for one."""
    cdef sse_lines measured
    if block.form == SSE_BYTES:
        if block.utf8 and not sse_measure_utf8(<const unsigned char *> block.data, block.data_length).valid:
            return False
        block.utf8 = False
        measured = sse_measure_lines(block.data, block.data_length, SSE_BYTES)
        block.data_size = measured.size
        block.lines = measured.lines
    return True


cdef void _digits(_Block *block, uint64_t number) noexcept:
    cdef char *at = &block.digits[20]
    while True:
        at -= 1
        at[0] = <char> (48 + number % 10)
        number //= 10
        if number == 0:
            break
    block.retry = at
    block.retry_size = &block.digits[20] - at


cdef size_t _size(_Block *block) noexcept:
    cdef size_t size = block.data_size + block.lines * 7 + 1  # "data: " and LF, and the blank line
    if block.id != NULL:
        size += block.id_size + 5
    if block.event != NULL:
        size += block.event_size + 8
    if block.retry != NULL:
        size += block.retry_size + 8
    return size


cdef bint _write(_Block *block, unsigned char **end) noexcept:
    """Write the block and move `end` behind it. False: an unexpected line end, or not UTF-8."""
    cdef unsigned char *to = end[0]
    cdef int seen
    if block.id != NULL:
        memcpy(to, b"id: ", 4)
        if sse_copy_line(to + 4, block.id, block.id_size):
            return False
        to += 4 + block.id_size
        to[0] = _LF
        to += 1
    if block.event != NULL:
        memcpy(to, b"event: ", 7)
        if sse_copy_line(to + 7, block.event, block.event_size):
            return False
        to += 7 + block.event_size
        to[0] = _LF
        to += 1
    if block.retry != NULL:
        memcpy(to, b"retry: ", 7)
        memcpy(to + 7, block.retry, block.retry_size)
        to += 7 + block.retry_size
        to[0] = _LF
        to += 1
    if block.form == SSE_BYTES and block.lines == 1:
        memcpy(to, b"data: ", 6)
        seen = sse_copy_line(to + 6, <const unsigned char *> block.data, block.data_size)
        if seen:
            if seen & SSE_LINE_END:
                return False
            if block.utf8 and not sse_measure_utf8(
                <const unsigned char *> block.data, block.data_size
            ).valid:
                return False
        to += 6 + block.data_size
        to[0] = _LF
        to += 1
    else:
        to = sse_write_lines(to, block.data, block.data_length, block.form, b"data: ", 6)
    to[0] = _LF
    end[0] = to + 1
    return True


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
    value = _str("comment", text, " or None")
    lines = value.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return _utf8("comment", "".join([f": {line}\n" if line else ":\n" for line in lines]), value)


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
    _BATCH = 64  # lines that are looked for at a time
    _KEPT = 65536  # bytes of buffer that are kept for the next line, event or result

# A buffer that grows by doubling.
cdef struct _Buffer:
    unsigned char *bytes
    size_t size
    size_t room
    size_t ascii  # nothing in it is from 0x80 on


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
    if buffer.size + text.size > buffer.room:
        _reserve(<void **> &buffer.bytes, &buffer.room, 1, buffer.size + text.size)
    memcpy(buffer.bytes + buffer.size, text.text, text.size)
    buffer.ascii &= text.ascii
    buffer.size += text.size
    return 0


cdef inline void _clear(_Buffer *buffer) noexcept:
    buffer.size = 0
    buffer.ascii = 1
    if buffer.room > _KEPT:
        _free(buffer)


cdef void _free(_Buffer *buffer) noexcept:
    PyMem_Free(buffer.bytes)
    buffer.bytes = NULL
    buffer.size = buffer.room = 0
    buffer.ascii = 1


# What a feed has found. Not a list from the start: its size is not known, and making a list may run the
# collector and so anybody's code, which must wait until our own state is whole.
cdef struct _Found:
    PyObject **items
    size_t size
    size_t room


cdef inline int _add(_Found *found, PyObject *item) except -1:
    """Take over `item`, also when it fails."""
    if found.size == found.room:
        try:
            _reserve(<void **> &found.items, &found.room, sizeof(PyObject *), found.size + 1)
        except MemoryError:
            Py_DECREF(item)
            raise
    found.items[found.size] = item
    found.size += 1
    return 0


cdef list _list(_Found *found):
    cdef _Found taken = found[0]
    cdef Py_ssize_t i
    found.items = NULL
    found.size = found.room = 0
    try:
        result = PyList_New(taken.size)
        for i in range(<Py_ssize_t> taken.size):
            PyList_SET_ITEM(result, i, taken.items[i])
        taken.size = 0
    finally:
        if found.items == NULL:
            found[0] = taken
        _drop(found, False)
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


cdef inline const unsigned char *_begin(_Lines *lines, const unsigned char *chunk, size_t size) noexcept:
    """Where the lines of this chunk begin."""
    cdef const unsigned char *at = chunk
    if size:
        if lines.swallow and chunk[0] == _LF:
            at += 1
        lines.swallow = chunk[size - 1] == _CR
    return at


cdef inline int _complete(_Lines *lines, sse_line *first) except -1:
    """The first line of a chunk ends what is pending."""
    if lines.pending.size:
        _append(&lines.pending, first)
        first.text = lines.pending.bytes
        first.size = lines.pending.size
        first.ascii = lines.pending.ascii
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
        self._lines.pending.ascii = 1

    def __init__(self, *, max_line_size=_DEFAULT_SIZE):
        self._max_line_size = _limit("max_line_size", max_line_size)
        self._limit = _bound(self._max_line_size)
        self._start()

    def __dealloc__(self):
        _free(&self._lines.pending)
        _drop(&self._found, True)

    cdef void _start(self) noexcept:
        _clear(&self._lines.pending)
        self._lines.swallow = False
        self._failed = False

    @cython.critical_section
    def feed(self, chunk):
        """Take the next chunk (any bytes-like object) and return the lines that it completes.

        Raises:
            LineTooLong: with the lines before it in ``.lines``; and again until `reset`.
            TypeError: `chunk` is not bytes-like.
        """
        cdef bytes text = _bytes(chunk, _CHUNK)
        if self._failed:
            raise LineTooLong(self._max_line_size, [])
        try:
            self._split(<const unsigned char *> PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
            return _list(&self._found)
        finally:
            if self._found.size:
                _drop(&self._found, False)

    @cython.critical_section
    def reset(self):
        """Begin a new stream: the unfinished line is dropped, a failure forgotten."""
        self._start()

    cdef int _split(self, const unsigned char *chunk, size_t size) except -1:
        cdef sse_line[_BATCH + 1] lines
        cdef const unsigned char *at = _begin(&self._lines, chunk, size)
        cdef const unsigned char *end = chunk + size
        cdef size_t found, i
        cdef bint first = True
        while True:
            found = sse_split(&at, end, lines, _BATCH)
            if first and found:
                first = False
                _complete(&self._lines, &lines[0])
            for i in range(found):
                if lines[i].size > self._limit:
                    self._fail()
                _add(&self._found, _PyBytes_New(<const char *> lines[i].text, lines[i].size))
            if found < _BATCH:
                break
        if not first:
            _clear(&self._lines.pending)
        if lines[found].size:
            if self._lines.pending.size + lines[found].size > self._limit:
                self._fail()
            _append(&self._lines.pending, &lines[found])
        return 0

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
    cdef object _reconnection  # the reconnection time: moves at its own line
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

    def __init__(self, *, last_event_id="", max_event_size=_DEFAULT_SIZE, on_comment=None):
        if self._feeding:
            raise RuntimeError("on_comment must not call the decoder that calls it")
        last_event_id = _str("last_event_id", last_event_id)
        if on_comment is not None and not callable(on_comment):
            raise TypeError("on_comment must be callable or None")
        self._max_event_size = _limit("max_event_size", max_event_size)
        self._limit = _bound(self._max_event_size)
        self._on_comment = on_comment
        self._last_event_id = last_event_id
        self._reconnection = None
        self._start()

    def __dealloc__(self):
        _free(&self._lines.pending)
        _free(&self._data)
        PyMem_Free(self._values)
        _drop(&self._found, True)

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
            return self._reconnection

    @cython.critical_section
    def feed(self, chunk):
        """Take the next chunk (any bytes-like object) and return the events that it dispatches.

        Raises:
            EventTooLarge: with the events before it in ``.events``; and again until `reset`.
            RuntimeError: called from within `on_comment`, or after `on_comment` has raised.
            TypeError: `chunk` is not bytes-like.
        """
        cdef bytes text = _bytes(chunk, _CHUNK)
        cdef bint guarded = self._on_comment is not None
        if self._failure is not None or self._feeding:
            self._refuse()
        try:
            if guarded:
                # A caller's function may run: it must neither feed us nor raise unnoticed.
                self._feeding = True
                self._failure = "on_comment raised"
            self._take(<const unsigned char *> PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
            if guarded:
                self._failure = None
            return _list(&self._found)
        finally:
            self._feeding = False
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

    cdef int _take(self, const unsigned char *chunk, size_t size) except -1:
        """Split the chunk, interpret its lines, keep what is unfinished."""
        cdef sse_line[_BATCH + 1] lines
        cdef const unsigned char *at = _begin(&self._lines, chunk, size)
        cdef const unsigned char *end = chunk + size
        cdef size_t found, kept
        cdef bint first = True
        cdef sse_line lf
        self._count = 0
        if self._data.size:
            lf.text = self._data.bytes
            lf.size = self._data.size - 1  # without the last LF
            lf.ascii = self._data.ascii
            self._value(&lf)
        while True:
            found = sse_split(&at, end, lines, _BATCH)
            if found:
                if first:
                    first = False
                    _complete(&self._lines, &lines[0])
                self._interpret(lines, found)
            if found < _BATCH:
                break
        kept = 1 if self._data.size else 0
        lf.text = <const unsigned char *> b"\n"
        lf.size = 1
        lf.ascii = 1
        while kept < self._count:
            _append(&self._data, &self._values[kept])
            _append(&self._data, &lf)
            kept += 1
        if not first:
            _clear(&self._lines.pending)
        if self._data_size + self._lines.pending.size + lines[found].size > self._limit:
            self._fail_size()
        if lines[found].size:
            _append(&self._lines.pending, &lines[found])
        return 0

    cdef inline int _value(self, const sse_line *value) except -1:
        if self._count == self._room:
            _reserve(<void **> &self._values, &self._room, sizeof(sse_line), self._count + 1)
        self._values[self._count] = value[0]
        self._count += 1
        return 0

    cdef int _interpret(self, sse_line *lines, size_t count) except -1:
        """The standard's steps for each line. A state machine: long, and better in one piece."""
        cdef sse_line *line = lines
        cdef sse_line *stop = lines + count
        cdef size_t skip
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
            if line.size >= 5 and memcmp(line.text, b"data:", 5) == 0:
                skip = 6 if line.size > 5 and line.text[5] == 0x20 else 5
                line.text += skip
                line.size -= skip
                self._value(line)
                self._data_size += line.size + 1
            elif line.size == 0:
                self._dispatch()
            else:
                self._field(line)
            line += 1
        return 0

    cdef inline int _dispatch(self) except -1:
        cdef PyObject *text
        if self._last_event_id is not self._id:
            self._last_event_id = self._id
        if self._count:
            text = _text(self._values, self._count)
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
            self._count = 0
            self._data_size = 0
            if self._data.size:
                _clear(&self._data)
        self._event = _MESSAGE
        self._event_retry = None
        return 0

    cdef int _field(self, sse_line *line) except -1:
        """Every line but ``data:`` and the blank one."""
        cdef const unsigned char *text = line.text
        cdef size_t size = line.size
        cdef size_t i
        if text[0] == 0x3A:
            if self._on_comment is not None:
                _after_colon(line, 0)
                self._on_comment(<object> _text_object(line))
        elif size >= 5 and memcmp(text, b"event", 5) == 0 and (size == 5 or text[5] == 0x3A):
            _after_colon(line, 5)
            self._event = self._type(line)
        elif size >= 2 and memcmp(text, b"id", 2) == 0 and (size == 2 or text[2] == 0x3A):
            _after_colon(line, 2)
            if memchr(line.text, 0, line.size) == NULL:
                self._id = _text_object(line)
        elif size >= 5 and memcmp(text, b"retry", 5) == 0 and (size == 5 or text[5] == 0x3A):
            _after_colon(line, 5)
            if line.size == 0:
                return 0
            for i in range(line.size):
                if line.text[i] < 0x30 or line.text[i] > 0x39:
                    return 0
            self._reconnection = self._event_retry = _milliseconds(line)
        elif size == 4 and memcmp(text, b"data", 4) == 0:
            _after_colon(line, 4)
            self._value(line)
            self._data_size += 1
        return 0

    cdef str _type(self, const sse_line *value):
        """The event type; the same object when it is the same again."""
        cdef str text
        if value.size == 0:
            return _MESSAGE
        if not value.ascii:
            return _text_object(value)
        if (
            <size_t> PyUnicode_GET_LENGTH(self._event_seen) == value.size
            and memcmp(PyUnicode_DATA(self._event_seen), value.text, value.size) == 0
        ):
            return self._event_seen
        text = _text_object(value)
        self._event_seen = text
        return text

    cdef int _fail_size(self) except -1:
        self._failure = "size"
        raise EventTooLarge(self._max_event_size, _list(&self._found))

    cdef int _refuse(self) except -1:
        if self._feeding:
            raise RuntimeError("on_comment must not call the decoder that calls it")
        if self._failure == "size":
            raise EventTooLarge(self._max_event_size, [])
        raise RuntimeError("on_comment has raised in the middle of a chunk; reset() to go on")


cdef inline void _after_colon(sse_line *line, size_t name) noexcept:
    """The value of a field, without its colon and one leading space."""
    cdef size_t skip = name
    if skip < line.size:
        skip += 1
        if skip < line.size and line.text[skip] == 0x20:
            skip += 1
    line.text += skip
    line.size -= skip


cdef str _text_object(const sse_line *value):
    cdef PyObject *text = _text(value, 1)
    result = <object> text
    Py_DECREF(text)
    return <str> result


cdef PyObject *_text(const sse_line *values, size_t count) except NULL:
    """The values, joined by LF, as text, with U+FFFD for what is not UTF-8."""
    cdef size_t i
    cdef size_t length = count - 1
    cdef size_t ascii = 1
    cdef uint32_t top = 0x7F
    cdef int width
    cdef sse_utf8 measured
    cdef PyObject *text
    cdef unsigned char *to
    for i in range(count):
        length += values[i].size
        ascii &= values[i].ascii
    if ascii:
        text = _PyUnicode_New(length, 0x7F)
        to = <unsigned char *> _PyUnicode_DATA(text)
        memcpy(to, values[0].text, values[0].size)
        to += values[0].size
        for i in range(1, count):
            to[0] = _LF
            memcpy(to + 1, values[i].text, values[i].size)
            to += 1 + values[i].size
        return text
    length = count - 1
    for i in range(count):
        measured = sse_measure_utf8(values[i].text, values[i].size)
        length += measured.length
        if measured.top > top:
            top = measured.top
    text = _PyUnicode_New(length, top)
    to = <unsigned char *> _PyUnicode_DATA(text)
    width = _PyUnicode_KIND(text)
    for i in range(count):
        if i:
            to = <unsigned char *> sse_write_text(to, width, <const unsigned char *> b"\n", 1)
        to = <unsigned char *> sse_write_text(to, width, values[i].text, values[i].size)
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
