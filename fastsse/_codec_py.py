"""The pure twin: the HTML standard's "Server-sent events", written to be read.

This file is the reference, the fallback where the compiled twin could not be built, and what type
checkers see. `_codec_c.pyx` has the same public names in the same order; the two change in one
commit. This file knows bytes and text; it must not know sockets, loops, frameworks or topics.

    feed -> _Lines.split -> Decoder._interpret -> Event         section 9.2.6, coming in
    feed -> BlockSplitter._split -> bytes                       section 9.2.5, passed on untouched
    encode -> _lines, _field -> bytes                           section 9.2.5, going out
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, final

from fastsse import _json
from fastsse._text import LineSeparators, Surrogates, mend
from fastsse.errors import BlockTooLarge, EventTooLarge, InvalidField, LineTooLong

if TYPE_CHECKING:
    # In collections.abc from 3.12 on; never imported at run time.
    from typing_extensions import Buffer

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

_BOM = b"\xef\xbb\xbf"
_NOTHINGS = (b"\r", _BOM + b"\r")  # blocks that are one blank line, until an LF comes
_COLON = 0x3A
_LF = 0x0A
_CR = 0x0D
_FOLD = 4096  # values of one event that are joined in advance

_ONE_LINE = "must not contain CR or LF: it would end the line and begin another field"
_UNICODE = "must not contain lone surrogates: they have no UTF-8"
_UTF8 = "must be valid UTF-8"
_NUL = "must not contain NUL: receivers ignore such an id"
_UNNAMED = "must not be empty: receivers read that as 'message'; leave it out"
_UNDISPATCHED = "goes with data: a block without data is never dispatched"
_NOTHING = "with no other field leaves nothing to write"
_RETRY = f"must be a whole number of milliseconds, 0 to {MAX_RETRY}"


class _Draft:
    """An Event while it is being made: the same slots, still writable."""

    __slots__ = ("data", "event", "id", "retry")

    data: str
    event: str
    id: str
    retry: int | None


@final
class Event(_Draft):
    """One event, as a decoder dispatches it (section 9.2.6). Immutable and hashable.

    An event of the compiled twin equals one of the pure twin with the same fields.

    Attributes:
        data: the data buffer, lines joined by LF.
        event: the event type; ``"message"`` when the stream names none.
        id: the last event ID string at dispatch; ``""`` when there is none.
        retry: the reconnection time in milliseconds that this block set, or None.

    Raises:
        TypeError: a field has another type. Values are checked only when `encode` writes them.
    """

    __slots__ = ()
    __match_args__ = ("data", "event", "id", "retry")

    def __new__(
        cls, data: str, event: str = "message", id: str = "", retry: int | None = None
    ) -> Event:
        return _event(
            _str("data", data),
            _str("event", event),
            _str("id", id),
            None if retry is None else _int("retry", retry),
        )

    def json(self) -> Any:
        """Parse the data as JSON, with the library that `encode_json` writes with.

        Raises:
            ValueError: the data is not JSON.
        """
        return _json.loads(self.data)

    def encode(self) -> bytes:
        """Write this event as one block. An empty id and the type ``"message"`` are left out.

        Raises:
            InvalidField: a field cannot be written; see `encode`.
        """
        return _encode_event(self, self.id or None)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Event is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Event is immutable: cannot delete {name!r}")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("type 'fastsse.Event' is not an acceptable base type")

    def __repr__(self) -> str:
        data, event, id, retry = _fields(self)
        return f"Event(data={data!r}, event={event!r}, id={id!r}, retry={retry!r})"

    def __eq__(self, other: object) -> bool:
        if not getattr(type(other), "_is_fastsse_event", False):
            return NotImplemented
        return _fields(self) == _fields(other)

    def __hash__(self) -> int:
        return hash(_fields(self))

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[Any, ...]:
        from fastsse.event import restore

        return restore, _fields(self)

    _is_fastsse_event = True  # lets each twin recognise the other's events without importing it


def _fields(event: Any) -> tuple[str, str, str, int | None]:
    return event.data, event.event, event.id, event.retry


def _event(data: str, event: str, id: str, retry: int | None) -> Event:
    """Make an Event without its checks: fill the writable slots, then close them."""
    draft = _Draft()
    draft.data = data
    draft.event = event
    draft.id = id
    draft.retry = retry
    draft.__class__ = Event
    return draft  # type: ignore[return-value]


# Going out: section 9.2.5, "Parsing an event stream", read as a grammar to write.


def encode(
    data: str | Buffer | None,
    *,
    event: str | None = None,
    id: str | None = None,
    retry: int | None = None,
    comment: str | None = None,
    surrogates: Surrogates = "refuse",
    line_separators: LineSeparators = "keep",
) -> bytes:
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
    if event is None and id is None and retry is None and comment is None:
        if data is None:
            raise InvalidField("data", None, _NOTHING)
        return _data(data) + b"\n"
    return _join(data, event, id, retry, comment)


def encode_json(
    obj: Any,
    *,
    event: str | None = None,
    id: str | None = None,
    retry: int | None = None,
    surrogates: Surrogates = "refuse",
    line_separators: LineSeparators = "keep",
) -> bytes:
    """Write one block whose data is `obj` as JSON on one line; None and NaN become ``null``.

    Models, dataclasses, dates and so on have the forms that docs/codec.md lists. The JSON is written by orjson when
    that can be imported, otherwise by msgspec, otherwise by the standard library, with equal bytes.

    Args:
        obj: any object that JSON has a form for.
        event, id, retry, surrogates, line_separators: as `encode`.

    Raises:
        InvalidField: as `encode`; also for a string in `obj` with lone surrogates.
        TypeError: JSON has no form for a value in `obj`; the message names its type.
        ValueError, RecursionError: `obj` contains itself, or is nested too deeply; also what a model raises.
    """
    if surrogates != "refuse" or line_separators != "keep":
        data = _json.dumps_mended(obj, surrogates, line_separators)
    else:
        data = _json.dumps(obj)
    return encode(data, event=event, id=id, retry=retry)


def encode_comment(text: str = "") -> bytes:
    """Write a comment and a blank line: a heartbeat, which keeps proxies from closing the stream.

    Raises:
        InvalidField: `text` has lone surrogates.
        TypeError: `text` is not str.
    """
    return _comment(text) + b"\n"


def encode_many(events: Iterable[Event]) -> bytes:
    """Write the blocks of `events`: ``decode(encode_many(events)) == events``.

    An event without an id that follows one with an id gets an empty ``id`` line, which resets it.
    Data comes back with LF for every CR and CRLF: the format has one line end.

    Raises:
        InvalidField: as `encode`. None of the blocks is returned then.
        TypeError: an item is not an Event.
    """
    blocks: list[bytes] = []
    last_id = ""
    for event in list(events):  # an error of the iterable comes before one in an event
        if not getattr(type(event), "_is_fastsse_event", False):
            raise TypeError(f"events must be Event, not {type(event).__name__}")
        blocks.append(_encode_event(event, event.id if event.id != last_id or event.id else None))
        last_id = event.id
    return b"".join(blocks)


def _join(
    data: str | Buffer | None,
    event: str | None,
    id: str | None,
    retry: int | None,
    comment: str | None,
) -> bytes:
    """Write a block that has more than data."""
    if event is not None and data is None:
        raise InvalidField("event", event, _UNDISPATCHED)
    parts: list[bytes] = []
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


def _encode_event(event: Event, id: str | None) -> bytes:
    name = None if event.event == "message" else event.event
    return encode(event.data, event=name, id=id, retry=event.retry)


def _data(data: str | Buffer) -> bytes:
    """Write the data lines, one for each line of the value: "a\\n" has two lines, "" has one."""
    if isinstance(data, str):
        text = given = _exact_str(data)
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return _utf8("data", "data: " + text.replace("\n", "\ndata: ") + "\n", given)
    value = _bytes(data, "data must be str, bytes-like UTF-8 or None (encode_json() writes JSON)")
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise InvalidField("data", value, _UTF8) from error
    if b"\r" in value:
        value = value.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return b"data: " + value.replace(b"\n", b"\ndata: ") + b"\n"


def _comment(text: str) -> bytes:
    text = _str("comment", text, " or None")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return _utf8("comment", "".join(f": {line}\n" if line else ":\n" for line in lines), text)


def _field(name: str, value: str) -> bytes:
    value = _str(name, value, " or None")
    if "\n" in value or "\r" in value:
        raise InvalidField(name, value, _ONE_LINE)
    if name == "id" and "\0" in value:
        raise InvalidField(name, value, _NUL)
    if name == "event" and not value:
        raise InvalidField(name, value, _UNNAMED)
    return _utf8(name, f"{name}: {value}\n", value)


def _retry(value: object) -> bytes:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidField("retry", value, _RETRY)
    milliseconds = _exact_int(value)
    if not 0 <= milliseconds <= MAX_RETRY:
        raise InvalidField("retry", value, _RETRY)
    return b"retry: %d\n" % milliseconds


def _utf8(name: str, text: str, value: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidField(name, value, _UNICODE) from error


def _str(name: str, value: object, otherwise: str = "") -> str:
    if type(value) is str:
        return value
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str{otherwise}, not {type(value).__name__}")
    return _exact_str(value)


def _int(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be int or None, not {type(value).__name__}")
    return _exact_int(value)


def _exact_str(value: str) -> str:
    """Return plain str, because methods of a subclass (an Enum's `__format__`) could write other text."""
    return value if type(value) is str else str.__str__(value)


def _exact_int(value: int) -> int:
    return value if type(value) is int else int.__index__(value)


def _bytes(value: Any, otherwise: str) -> bytes:
    """Return the value itself when it is bytes, otherwise one contiguous copy of it."""
    if type(value) is bytes:
        return value
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(f"{otherwise}, not {type(value).__name__}") from None
    if not view.c_contiguous:
        raise BufferError("bytes-like values must be contiguous")
    return view.tobytes()


# Coming in: section 9.2.6, "Interpreting an event stream".


class _Lines:
    """Splits chunks into complete lines, in linear time however the input is cut."""

    __slots__ = ("pending", "swallow")

    def __init__(self) -> None:
        # The line that no line end has closed yet. New bytes are appended; none is searched twice.
        self.pending = bytearray()
        # The last chunk ended in CR, which closed its line; an LF that comes next belongs to that CR.
        self.swallow = False

    def split(self, chunk: bytes) -> list[bytes]:
        if self.swallow and chunk:
            self.swallow = False
            if chunk[0] == _LF:
                chunk = chunk[1:]
        if b"\r" in chunk:
            self.swallow = chunk[-1] == _CR
            lines = chunk.splitlines()  # bytes: at CR, LF and CRLF, and nowhere else
            if chunk[-1] == _CR or chunk[-1] == _LF:
                lines.append(b"")
        else:
            lines = chunk.split(b"\n")
        rest = lines.pop()
        if self.pending and lines:
            self.pending += lines[0]
            lines[0] = bytes(self.pending)
            self.pending = bytearray()
        if rest:
            self.pending += rest
        return lines


class LineSplitter:
    """Splits bytes into lines at CR, LF and CRLF, wherever the chunks are cut.

    Args:
        max_line_size: bytes that one line may have, without its line end; None for no limit.

    A CR at the end of a chunk ends its line at once. An unfinished line is kept until its line end
    comes, or `reset` is called. Threads may share a splitter: each `feed` is atomic.
    """

    __slots__ = ("_failed", "_lines", "_lock", "_max_line_size")

    def __init__(self, *, max_line_size: int | None = DEFAULT_MAX_LINE_SIZE) -> None:
        self._max_line_size = _limit("max_line_size", max_line_size)
        self._lines = _Lines()
        self._failed = False  # a line was too long, so the lines after it cannot be told apart
        self._lock = Lock()  # makes each feed atomic among threads

    def feed(self, chunk: Buffer, /) -> list[bytes]:
        """Take the next chunk (any bytes-like object) and return the lines that it completes.

        Raises:
            LineTooLong: a line is over the limit; ``.lines`` has the lines before it. Every later
                `feed` raises it again, until `reset`.
            TypeError: `chunk` is not bytes-like.
        """
        chunk = _bytes(chunk, _CHUNK)
        limit = self._max_line_size
        with self._lock:
            if self._failed:
                assert limit is not None
                raise LineTooLong(limit, [])
            lines = self._lines.split(chunk)
            if limit is not None:
                for number, line in enumerate(lines):
                    if len(line) > limit:
                        self._failed = True
                        raise LineTooLong(limit, lines[:number])
                if len(self._lines.pending) > limit:
                    self._failed = True
                    raise LineTooLong(limit, lines)
            return lines

    def reset(self) -> None:
        """Begin a new stream: drop the unfinished line, forget a failure."""
        with self._lock:
            self._lines = _Lines()
            self._failed = False


class BlockSplitter:
    """Splits an event stream into its blocks and leaves every byte as it is: for relays.

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

    __slots__ = (
        "_after_cr",
        "_after_crlf",
        "_failed",
        "_first",
        "_held",
        "_lock",
        "_max_block_size",
        "_new_line",
        "_pending",
    )

    def __init__(self, *, max_block_size: int | None = DEFAULT_MAX_BLOCK_SIZE) -> None:
        self._max_block_size = _limit("max_block_size", max_block_size)
        self._lock = Lock()  # makes each call atomic among threads
        self._start()

    def _start(self) -> None:
        self._pending = bytearray()  # the block that is not given yet
        self._held = False  # it is whole, and waits for the LF that may follow its last CR
        self._first = True  # the first line has not ended: a byte-order mark may begin it
        self._new_line = True  # the next byte begins a line
        self._after_cr = False  # the last byte was CR
        self._after_crlf = False  # the last line end was CRLF
        self._failed = False  # a block was too large

    @property
    def pending(self) -> int:
        """The bytes that are held: those of the block that is not given yet."""
        return len(self._pending)

    def feed(self, chunk: Buffer, /) -> list[bytes]:
        """Take the next chunk (any bytes-like object) and return the blocks that it completes.

        A chunk that is one whole block is returned itself; any other block is copied once.

        Raises:
            BlockTooLarge: a block is over the limit; ``.blocks`` has the blocks before it. Every later call
                raises it again, until `reset`.
            TypeError: `chunk` is not bytes-like.
        """
        chunk = _bytes(chunk, _CHUNK)
        with self._lock:
            return self._split(chunk)

    def feed_joined(self, chunk: Buffer, /) -> bytes:
        """Take the next chunk and return the blocks that it completes, joined: the same bytes as `feed`.

        A chunk that begins and ends between two blocks is returned itself. Only the last blank line is looked
        for, from the end, where no block can be over the limit.

        Raises:
            BlockTooLarge, TypeError: as `feed`.
        """
        chunk = _bytes(chunk, _CHUNK)
        with self._lock:
            end = self._end(chunk)
            if end:
                return self._pass(chunk, end)
            return b"".join(self._split(chunk))

    def finish(self) -> tuple[list[bytes], bytes]:
        """End the stream, and begin a new one.

        Returns:
            The blocks that the end completes: one that waited for an LF, or none. And the bytes of the last
            block when no blank line has ended it, which a decoder discards.

        Raises:
            BlockTooLarge: as `feed`.
        """
        with self._lock:
            if self._failed:
                self._fail([])
            rest = bytes(self._pending)
            held = self._held
            self._start()
            return ([rest], b"") if held else ([], rest)

    def reset(self) -> None:
        """Begin a new stream: drop the unfinished block, forget a failure."""
        with self._lock:
            self._start()

    def _split(self, chunk: bytes) -> list[bytes]:
        if self._failed:
            self._fail([])
        blocks: list[bytes] = []
        start = end = 0  # of the block, and of the line, in the chunk
        if chunk:
            start = end = self._begin(chunk, blocks)
        for line in chunk[end:].splitlines(keepends=True):  # bytes: at CR, LF and CRLF
            end += len(line)
            if self._is_blank(line):
                size = end - start - len(line) + len(line.rstrip(b"\r\n"))
                self._check(size, blocks)
                self._held = end == len(chunk) and self._waits(chunk[start:end])
                if not self._held:
                    blocks.append(self._cut(chunk[start:end]))
                    start = end
            self._after_crlf = line.endswith(b"\r\n")
        self._pending += chunk[start:]
        if not self._held:
            self._check(0, blocks)
        if chunk:
            self._after_cr = chunk[-1] == _CR
        return blocks

    def _begin(self, chunk: bytes, blocks: list[bytes]) -> int:
        """Finish what a CR at the end of the last chunk has left open; return where the chunk goes on."""
        lf = self._after_cr and chunk[0] == _LF
        if self._held or (lf and not self._pending):
            self._held = False
            blocks.append(self._cut(b"\n" if lf else b""))
        elif lf:
            self._pending += b"\n"
        if lf:
            self._after_crlf = True
        return int(lf)

    def _is_blank(self, line: bytes) -> bool:
        """Return True when a line, or the rest of one, is given with its line end and is a blank line."""
        blank = self._new_line and line in (b"\n", b"\r", b"\r\n")
        self._new_line = line[-1] in b"\r\n"
        if self._first and self._new_line:
            self._first = False
            blank = blank or bytes(self._pending) + line.rstrip(b"\r\n") == _BOM
        return blank

    def _waits(self, part: bytes) -> bool:
        """Return True when an LF would belong to the CR that ends a block, of which `part` is in this chunk."""
        nothing = len(self._pending) + len(part) <= 4 and bytes(self._pending) + part in _NOTHINGS
        return part[-1] == _CR and (nothing or self._after_crlf)

    def _cut(self, part: bytes) -> bytes:
        """Return the block that is pending and ends with `part`."""
        if not self._pending:
            return part
        block = bytes(self._pending) + part
        self._pending = bytearray()
        return block

    def _end(self, chunk: bytes) -> int:
        """Return where the last blank line in a chunk ends; 0 where the lines must be looked at one by one."""
        limit = self._max_block_size
        if limit is not None and len(self._pending) + len(chunk) > limit:
            return 0
        if self._failed or self._first or chunk[-1:] == b"\r":
            return 0
        if chunk[-2:] == b"\n\n":
            return len(chunk)
        end = max(chunk.rfind(two) for two in (b"\n\n", b"\n\r", b"\r\r")) + 2
        if end == 1:
            return 0
        return end + 1 if chunk[end - 1] == _CR and chunk[end] == _LF else end

    def _pass(self, chunk: bytes, end: int) -> bytes:
        """Give what is pending and the chunk up to `end`, where a blank line ends."""
        passed = self._cut(chunk[:end])
        self._pending += chunk[end:]
        self._held = self._after_cr = False
        self._new_line = chunk[-1] == _LF
        self._after_crlf = chunk.endswith(b"\r\n")
        return passed

    def _check(self, more: int, blocks: list[bytes]) -> None:
        """Fail when the pending bytes and `more` are over the limit."""
        limit = self._max_block_size
        if limit is not None and len(self._pending) + more > limit:
            self._fail(blocks)

    def _fail(self, blocks: list[bytes]) -> NoReturn:
        assert self._max_block_size is not None
        self._failed = True
        self._pending = bytearray()
        raise BlockTooLarge(self._max_block_size, blocks)


class Decoder:
    """Decodes the bytes of an event stream into events (section 9.2.6). Has no I/O and no clock.

    Args:
        last_event_id: the last event ID before the first event: the one that a reconnecting client sent.
        max_event_size: bytes that the data buffer and the current line may have together; None for
            no limit.
        on_comment: called with the text of each comment, without its colon and one leading space.

    No call is needed at the end of a stream: the standard discards an event whose blank line never
    came. Threads may share a decoder: each `feed` is atomic. With `on_comment`, a second `feed` while
    the first still runs raises RuntimeError.
    """

    __slots__ = (
        "_bom",
        "_data",
        "_data_size",
        "_event",
        "_event_retry",
        "_failure",
        "_feeding",
        "_folded",
        "_id",
        "_last_event_id",
        "_lines",
        "_lock",
        "_max_event_size",
        "_on_comment",
        "_retry",
    )

    def __init__(
        self,
        *,
        last_event_id: str = "",
        max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE,
        on_comment: Callable[[str], object] | None = None,
    ) -> None:
        if getattr(self, "_feeding", False):
            self._refuse()
        last_event_id = _str("last_event_id", last_event_id)
        if on_comment is not None and not callable(on_comment):
            raise TypeError("on_comment must be callable or None")
        self._max_event_size = _limit("max_event_size", max_event_size)
        self._on_comment = on_comment
        self._last_event_id = last_event_id  # the stream's: moves at a blank line
        self._retry: int | None = None  # the reconnection time: moves at its own line
        self._feeding = False  # True while on_comment may run, which must not call this decoder
        self._lock = Lock()  # makes each feed atomic among threads
        self._start()

    def _start(self) -> None:
        self._lines = _Lines()
        self._bom = True  # the next line is the stream's first: a byte-order mark may begin it
        self._data: list[bytes] = []  # the data buffer: one value for each data line
        self._data_size = 0  # its size in bytes, each value with its LF
        self._folded = 0  # how many items of _data hold several values, joined by _fold
        self._event = ""  # the event type buffer
        self._event_retry: int | None = None  # the retry field of this block, for Event.retry
        self._id = self._last_event_id  # the last event ID buffer: moves at an id line
        self._failure = ""  # why feed refuses until reset

    @property
    def last_event_id(self) -> str:
        """The last event ID string: what a reconnecting client sends as ``Last-Event-ID``."""
        return self._last_event_id

    @property
    def retry(self) -> int | None:
        """The reconnection time in milliseconds, or None while the stream has not set one."""
        return self._retry

    def feed(self, chunk: Buffer, /) -> list[Event]:
        """Take the next chunk (any bytes-like object) and return the events that it dispatches.

        Raises:
            EventTooLarge: an event is over the limit; ``.events`` has the events before it. Every
                later `feed` raises it again, until `reset`.
            RuntimeError: called from within `on_comment`, or after `on_comment` has raised.
            TypeError: `chunk` is not bytes-like.
        """
        chunk = _bytes(chunk, _CHUNK)
        if self._feeding:
            self._refuse()
        limit = self._max_event_size
        events: list[Event] = []
        with self._lock:
            if self._failure:
                self._refuse()
            lines_in = self._lines
            # Where the whole chunk cannot reach the limit, no line of it needs to be checked.
            near = (
                limit is not None and self._data_size + len(lines_in.pending) + len(chunk) > limit
            )
            lines = lines_in.split(chunk)
            if self._on_comment is None:
                self._interpret(lines, events, limit if near else None)
            else:
                self._interpret_guarded(lines, events, limit if near else None)
            if self._folded or len(self._data) > _FOLD:
                self._fold()
            if near and self._data_size + len(lines_in.pending) > limit:  # type: ignore[operator]
                self._fail_size(events)
        return events

    def reset(self) -> None:
        """Begin a new stream: drop the buffers, forget a failure, accept a byte-order mark again.

        `last_event_id` and `retry` are kept: a client that reconnects needs both.

        Raises:
            RuntimeError: called from within `on_comment`.
        """
        if self._feeding:
            self._refuse()
        with self._lock:
            self._start()

    def _interpret(self, lines: list[bytes], events: list[Event], limit: int | None) -> None:
        """Follow the standard's steps for each line. A state machine: long, and better in one piece.

        The common data line is tested first, and `moved` lets a blank line after nothing but data
        skip the other fields: both are there for speed and change no result.
        """
        if self._bom and lines:
            self._bom = False
            if lines[0].startswith(_BOM):
                if limit is not None and self._data_size + len(lines[0]) > limit:
                    self._fail_size(events)
                lines[0] = lines[0][len(_BOM) :]
        data, size = self._data, self._data_size
        event, id, retry = "message", self._id, self._event_retry
        moved = True  # whether a field other than data may have come since the last blank line
        for line in lines:
            if limit is not None and size + len(line) > limit:
                self._fail_size(events)
            if line[:6] == b"data: ":
                data.append(line[6:])
                size += len(line) - 5
            elif not line:
                if moved:
                    event, id, retry = self._event or "message", self._id, self._event_retry
                    self._last_event_id = id
                if data:
                    text = data[0] if len(data) == 1 else b"\n".join(data)
                    events.append(_event(_decoded(text), event, id, retry))
                    data.clear()
                    size = 0
                if moved:
                    self._event, self._event_retry = "", None
                    event, retry = "message", None
                    moved = False
            elif line[0] == _COLON:
                if self._on_comment is not None:
                    self._on_comment(_decoded(line[2:] if line[1:2] == b" " else line[1:]))
            else:
                value = self._field(line)
                if value is None:
                    moved = True
                else:
                    data.append(value)
                    size += len(value) + 1
        self._data_size = size

    def _field(self, line: bytes) -> bytes | None:
        """Interpret a line that is no comment, not blank, and does not begin with "data: ".

        Returns:
            The value when the field is data, for the caller to add to the data buffer; otherwise None.
        """
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"event":
            self._event = _decoded(value)
        elif name == b"id":
            if b"\0" not in value:
                self._id = _decoded(value)
        elif name == b"retry":
            if value.isdigit():  # bytes: ASCII digits only, and at least one
                self._retry = self._event_retry = _milliseconds(value)
        elif name == b"data":
            return value
        return None

    def _fold(self) -> None:
        """Join the newest values of an event that has very many, so that its blank line has little left to join.

        Joining a million values at once takes 80 bytes of scratch memory for each, and most of the time
        goes into that memory.
        """
        data = self._data
        if not data:
            self._folded = 0
        elif len(data) - self._folded > _FOLD:
            data[self._folded :] = [b"\n".join(data[self._folded :])]
            self._folded += 1

    def _interpret_guarded(
        self, lines: list[bytes], events: list[Event], limit: int | None
    ) -> None:
        """Interpret lines while `on_comment` may run: refuse its calls to us, and remember if it raises."""
        self._feeding = True
        self._failure = "on_comment raised"
        try:
            self._interpret(lines, events, limit)
            self._failure = ""
        finally:
            self._feeding = False

    def _fail_size(self, events: list[Event]) -> NoReturn:
        assert self._max_event_size is not None
        self._failure = "size"
        self._feeding = False
        raise EventTooLarge(self._max_event_size, events)

    def _refuse(self) -> NoReturn:
        if self._feeding:
            raise RuntimeError("on_comment must not call the decoder that calls it")
        if self._failure == "size":
            assert self._max_event_size is not None
            raise EventTooLarge(self._max_event_size, [])
        raise RuntimeError("on_comment has raised in the middle of a chunk; reset() to go on")


def decode(stream: Buffer) -> list[Event]:
    """Decode a whole event stream that is in memory already. No event is too large.

    Raises:
        TypeError: `stream` is not bytes-like.
    """
    return Decoder(max_event_size=None).feed(stream)


_CHUNK = "chunk must be bytes-like"


def _limit(name: str, value: int | None) -> int | None:
    if value is None:
        return None
    value = _int(name, value)
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def _decoded(value: bytes) -> str:
    """Decode a value as UTF-8, with U+FFFD for each part that is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace")


def _milliseconds(digits: bytes) -> int:
    if len(digits) < 19:
        return int(digits)
    digits = digits.lstrip(b"0")  # int() refuses a few thousand digits
    return min(int(digits or b"0"), MAX_RETRY) if len(digits) <= 19 else MAX_RETRY
