"""Iterables of chunks to events, and of items to blocks; each function has an async twin.

    chunks -> iter_events -> Event           coming in: whatever your HTTP client iterates
    chunks -> iter_json   -> parsed JSON     the same, for streams of an LLM
    items  -> iter_blocks -> bytes           going out: whatever your HTTP server iterates

An item becomes one block:

    Event                the event, as `Event.encode` writes it
    str, bytes-like      data; bytes are data too, so that no value can inject a field
    a mapping            the arguments of `encode`: data, event, id, retry, comment
    Block                a block that is written already, sent as it is: ``Block(encode(...))``
    anything else        refused, unless ``json=True``

With ``json=True`` everything but Event and Block is written as JSON: a str is then a JSON string, a dict
an object, None is ``null``.

What is iterated is also closed, on every way out: at the end, on an exception, when the consumer leaves
early (``close()``, ``aclose()``, garbage collection) or is cancelled. Files are left open: they are
yours. The async functions iterate sync iterables too, in the event loop's own thread; wrap one that
blocks in `in_thread`.

`aiter_events`, `aiter_json` and, without heartbeats, `aiter_blocks` run on any event loop. Heartbeats,
`in_thread` and `EventSourceResponse` need asyncio.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

from fastsse import _json
from fastsse._codec import (
    DEFAULT_MAX_EVENT_SIZE,
    Decoder,
    Event,
    encode,
    encode_comment,
    encode_json,
)
from fastsse.errors import EventTooLarge, InvalidField

if TYPE_CHECKING:
    from typing_extensions import Buffer  # of collections.abc since Python 3.12

__all__ = [
    "Block",
    "aiter_blocks",
    "aiter_events",
    "aiter_json",
    "in_thread",
    "iter_blocks",
    "iter_events",
    "iter_json",
]

T = TypeVar("T")

HEARTBEAT = encode_comment()
DEFAULT_HEARTBEAT = 15.0  # s; proxies close a silent connection after 29 to 60

_FIELDS = frozenset({"data", "event", "id", "retry", "comment"})
_KNOWN = "is no field: an item that is a mapping has data, event, id, retry and comment"
_END: Any = object()


class Block(bytes):
    """A block that is written already, blank line included: `iter_blocks` passes it on as it is."""

    __slots__ = ()


# Coming in.


def iter_events(
    chunks: Iterable[Buffer],
    decoder: Decoder | None = None,
    *,
    last_event_id: str = "",
    max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE,
    on_comment: Callable[[str], object] | None = None,
) -> Generator[Event]:
    """The events of an event stream that comes in chunks, each as soon as its blank line is there.

    Args:
        chunks: an iterable of bytes-like objects, cut anywhere. Closed in the end.
        decoder: yours, to read its `last_event_id` and `retry` meanwhile; the options are then its own.
        last_event_id, max_event_size, on_comment: as `Decoder`.

    Raises:
        EventTooLarge: after the events before it.
        TypeError: at once, for options that are wrong; later, for a chunk that is not bytes-like.
    """
    require_iterable(chunks, "chunks", ("__iter__",))
    if decoder is None:
        decoder = Decoder(
            last_event_id=last_event_id, max_event_size=max_event_size, on_comment=on_comment
        )
    return _iter_events(chunks, decoder)


def _iter_events(chunks: Iterable[Buffer], decoder: Decoder) -> Generator[Event]:
    source = iter(chunks)
    try:
        for chunk in source:
            try:
                events = decoder.feed(chunk)
            except EventTooLarge as error:
                yield from error.events
                raise
            yield from events
    finally:
        _close(source)


def aiter_events(
    chunks: AsyncIterable[Buffer] | Iterable[Buffer],
    decoder: Decoder | None = None,
    *,
    last_event_id: str = "",
    max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE,
    on_comment: Callable[[str], object] | None = None,
) -> AsyncGenerator[Event]:
    """`iter_events` for an async iterable of chunks."""
    require_iterable(chunks, "chunks", ("__aiter__", "__iter__"))
    if decoder is None:
        decoder = Decoder(
            last_event_id=last_event_id, max_event_size=max_event_size, on_comment=on_comment
        )
    return _aiter_events(chunks, decoder)


async def _aiter_events(
    chunks: AsyncIterable[Buffer] | Iterable[Buffer], decoder: Decoder
) -> AsyncGenerator[Event]:
    source = _aiter(chunks)
    try:
        async for chunk in source:
            try:
                events = decoder.feed(chunk)
            except EventTooLarge as error:
                for event in error.events:
                    yield event
                raise
            for event in events:
                yield event
    finally:
        await close(source)


def iter_json(
    chunks: Iterable[Buffer],
    done: str | None = "[DONE]",
    *,
    max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE,
) -> Generator[Any]:
    """The data of each event parsed as JSON, until the data is `done`: what LLM APIs stream.

    Heartbeats, blocks without data and events with blank data are passed over. A stream that ends
    without `done` is no error, as in the standard; the objects themselves say whether they are all.

    Args:
        chunks: as `iter_events`.
        done: the sentinel, or None when the stream has none. White space round it does not matter.
        max_event_size: as `Decoder`.

    Raises:
        ValueError: the data of an event is not JSON.
        EventTooLarge: as `iter_events`.
    """
    return _iter_json(iter_events(chunks, max_event_size=max_event_size), done)


def _iter_json(events: Generator[Event], done: str | None) -> Generator[Any]:
    try:
        for event in events:
            text = event.data.strip()
            if text == done:
                return
            if text:
                yield _json.loads(text)
    finally:
        events.close()


def aiter_json(
    chunks: AsyncIterable[Buffer] | Iterable[Buffer],
    done: str | None = "[DONE]",
    *,
    max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE,
) -> AsyncGenerator[Any]:
    """`iter_json` for an async iterable of chunks."""
    return _aiter_json(aiter_events(chunks, max_event_size=max_event_size), done)


async def _aiter_json(events: AsyncGenerator[Event], done: str | None) -> AsyncGenerator[Any]:
    try:
        async for event in events:
            text = event.data.strip()
            if text == done:
                return
            if text:
                yield _json.loads(text)
    finally:
        await events.aclose()


# Going out.


def iter_blocks(items: Iterable[Any], *, json: bool = False) -> Generator[bytes]:
    """Each item as one block; see the top of this module for what an item may be.

    There are no heartbeats: nobody can send one while `items` blocks. `aiter_blocks` has them.

    Raises:
        InvalidField: a field cannot be written; see `encode`.
        TypeError: at once, when `items` cannot be iterated; later, for an item of no known kind.
    """
    require_iterable(items, "items", ("__iter__",))
    return _iter_blocks(items, writer(json))


def _iter_blocks(items: Iterable[Any], write: Callable[[Any], bytes]) -> Generator[bytes]:
    source = iter(items)
    try:
        for item in source:
            yield write(item)
    finally:
        _close(source)


def aiter_blocks(
    items: AsyncIterable[Any] | Iterable[Any],
    *,
    heartbeat: float | None = DEFAULT_HEARTBEAT,
    json: bool = False,
) -> AsyncGenerator[bytes]:
    """Each item as one block, and a heartbeat whenever `heartbeat` seconds have passed without one.

    With heartbeats, `items` is iterated in one task of its own from beginning to end, one item at a
    time and only when the consumer asks: a heartbeat cancels nothing and delays no item. Wrap the
    result in `contextlib.aclosing` where the consumer may leave early.

    Args:
        items: an async iterable, or a sync one that does not block.
        heartbeat: seconds; None or 0 for none.
        json: see the top of this module.

    Raises:
        As `iter_blocks`; and what `items` raises.
    """
    require_iterable(items, "items", ("__aiter__", "__iter__"))
    write = writer(json)
    interval = seconds("heartbeat", heartbeat)
    if interval is None:
        return _aiter_blocks(items, write)
    return _aiter_blocks_with_heartbeats(items, write, interval)


async def _aiter_blocks(
    items: AsyncIterable[Any] | Iterable[Any], write: Callable[[Any], bytes]
) -> AsyncGenerator[bytes]:
    source = _aiter(items)
    try:
        async for item in source:
            yield write(item)
    finally:
        await close(source)


async def _aiter_blocks_with_heartbeats(
    items: AsyncIterable[Any] | Iterable[Any], write: Callable[[Any], bytes], interval: float
) -> AsyncGenerator[bytes]:
    alarm = _Alarm(interval)
    source = Source(items, write, 1, alarm.ring)
    try:
        while True:
            source.resume()
            block = source.take()
            while not block and not source.over:
                if not await alarm.wait():
                    yield HEARTBEAT
                block = source.take()
            if not block:
                break
            yield block
    finally:
        alarm.cancel()
        await source.close()
        if source.error is not None:
            raise source.error


class Source:
    """Items being iterated and written in a task of their own; the blocks wait here to be taken.

    One task from beginning to end, closing included: a generator may hold cancel scopes, timeouts and
    context variables across its items. It runs ahead of the taker by at most `limit` bytes, measured
    after the item that passes them, and then waits.

    Attributes:
        over: nothing will be added any more.
        error: what ended the items, or None when they came to their end or were cancelled by us.
    """

    __slots__ = (
        "_blocks",
        "_items",
        "_limit",
        "_notify",
        "_room",
        "_size",
        "_stopped",
        "_task",
        "error",
        "over",
    )

    def __init__(
        self,
        items: AsyncIterable[Any] | Iterable[Any],
        write: Callable[[Any], bytes],
        limit: int,
        notify: Callable[[], object],
    ) -> None:
        self.over = False
        self.error: BaseException | None = None
        self._blocks: list[bytes] = []
        self._size = 0  # bytes in _blocks
        self._limit = limit
        self._notify = notify  # called when there is something to take, and when over
        self._room: asyncio.Future[None] | None = None  # the task waits for a taker
        self._items = items
        self._stopped = False
        self._task = asyncio.get_running_loop().create_task(self._run(write))

    def resume(self) -> None:
        """Let the items go on when they wait for room."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def take(self) -> bytes:
        """The blocks that are ready, joined; empty when there is none."""
        blocks = self._blocks
        if not blocks:
            return b""
        self._blocks = []
        self._size = 0
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def stop(self) -> None:
        """Cancel the items where they are, once; what they have given stays to be taken."""
        if not self._stopped:
            self._stopped = True
            self._task.cancel()

    async def close(self, within: float | None = None) -> bool:
        """Stop, and wait until the items are closed. False when that takes longer than `within` s."""
        if not self._task.done():
            self.stop()
            await asyncio.wait([self._task], timeout=within)
        if not self._task.done():
            return False
        if not self.over:  # cancelled before it began
            self.over = True
            await close(self._items)
        return True

    async def _run(self, write: Callable[[Any], bytes]) -> None:
        try:
            source = _aiter(self._items)
            try:
                async for item in source:
                    if self._stopped:  # and they have swallowed the cancellation
                        break
                    self._add(write(item))
                    if self._size >= self._limit:
                        await self._wait()
            finally:
                await close(source)
        except asyncio.CancelledError as error:
            if not self._stopped:
                self.error = error
        except Exception as error:
            self.error = error
        finally:
            self.over = True
            self._notify()

    def _add(self, block: bytes) -> None:
        self._blocks.append(block)
        self._size += len(block)
        if len(self._blocks) == 1:
            self._notify()

    async def _wait(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        try:
            await self._room
        finally:
            self._room = None


class _Alarm:
    """What a consumer waits on: it is rung, or has been rung since, or `interval` s have passed.

    One timer for all the waits: it is set once and looks, when it goes off, how long the present wait
    has lasted. A timer for each wait would cost more than the wait.
    """

    __slots__ = ("_future", "_interval", "_loop", "_rung", "_since", "_timer")

    def __init__(self, interval: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval = interval  # s
        self._rung = False
        self._since = 0.0  # when the present wait began
        self._future: asyncio.Future[None] | None = None  # somebody waits
        self._timer: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        self._rung = True
        self._wake()

    async def wait(self) -> bool:
        """Whether it was rung; False when the time has passed."""
        if not self._rung:
            self._since = self._loop.time()
            self._future = self._loop.create_future()
            if self._timer is None:
                self._timer = self._loop.call_later(self._interval, self._look)
            try:
                await self._future
            finally:
                self._future = None
        rung, self._rung = self._rung, False
        return rung

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        left = self._since + self._interval - self._loop.time()
        if left <= 0:
            self._wake()
        elif self._future is not None:
            self._timer = self._loop.call_later(left, self._look)

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


async def in_thread(items: Iterable[T]) -> AsyncGenerator[T]:
    """Iterate a sync iterable that blocks, each step in a thread of the loop's default executor.

    A step that has begun cannot be interrupted: a consumer that leaves does so at once, and the
    iterator is closed in the thread when its step returns.
    """
    steps = _Steps(iter(items))
    try:
        while (item := await asyncio.to_thread(steps.next)) is not _END:
            yield item
    finally:
        steps.left = True
        if not steps.lock.locked():
            await asyncio.to_thread(steps.close)


class _Steps:
    """A sync iterator stepped by threads, one at a time; closed by whoever is the last to see it."""

    __slots__ = ("left", "lock", "source")

    def __init__(self, source: Iterator[Any]) -> None:
        self.source = source
        self.lock = threading.Lock()  # held while the iterator runs
        self.left = False  # the consumer has gone

    def next(self) -> Any:
        try:
            with self.lock:
                return _END if self.left else next(self.source, _END)
        finally:
            if self.left:
                self.close()

    def close(self) -> None:
        with self.lock:
            _close(self.source)


def writer(json: bool) -> Callable[[Any], bytes]:
    """The function that writes an item as a block."""
    return _write_json if json else _write


def _write(item: object) -> bytes:
    if isinstance(item, Block):
        return item
    if isinstance(item, (str, bytes, bytearray, memoryview)):
        return encode(cast("Any", item))
    if _is_event(item):
        return item.encode()
    if isinstance(item, Mapping):
        return _write_fields(cast("Any", item))
    raise TypeError(
        f"an item must be Event, str, bytes-like, a mapping of fields or Block, not"
        f" {type(item).__name__}; json=True writes any object as JSON"
    )


def _is_event(item: object) -> TypeGuard[Event]:
    """Of either twin: an event outlives the choice of the codec, pickled."""
    return getattr(type(item), "_is_fastsse_event", False) is True


def _write_json(item: object) -> bytes:
    if isinstance(item, Block):
        return item
    if _is_event(item):
        return item.encode()
    return encode_json(item)


def _write_fields(fields: Mapping[Any, Any]) -> bytes:
    if not _FIELDS.issuperset(fields):
        name = next(name for name in fields if name not in _FIELDS)
        raise InvalidField(str(name), fields[name], _KNOWN)
    return encode(
        fields.get("data"),
        event=fields.get("event"),
        id=fields.get("id"),
        retry=fields.get("retry"),
        comment=fields.get("comment"),
    )


def seconds(name: str, value: Any) -> float | None:
    """A delay in seconds, or None for "never", which 0 says too."""
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be seconds or None, not {type(value).__name__}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be seconds, 0 (off) or more, not {value!r}")
    return value or None


def require_iterable(items: object, name: str, methods: tuple[str, ...]) -> None:
    """Refuse what cannot be iterated, and what would be iterated by mistake: text, a mapping."""
    kind = type(items)
    if isinstance(items, (str, bytes, bytearray, memoryview, Mapping)):
        raise TypeError(
            f"{name} must be an iterable of them, not one {kind.__name__}: put it in a list"
        )
    if not any(hasattr(kind, method) for method in methods):
        wanted = "an iterable" if methods == ("__iter__",) else "an iterable or async iterable"
        raise TypeError(f"{name} must be {wanted}, not {kind.__name__}")


def _aiter(items: AsyncIterable[T] | Iterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        return aiter(items)
    return _inline(items)


async def _inline(items: Iterable[T]) -> AsyncGenerator[T]:
    source = iter(items)
    try:
        for item in source:
            yield item
    finally:
        _close(source)


def _close(source: object) -> None:
    close = getattr(source, "close", None)
    if close is not None and not isinstance(source, io.IOBase):
        close()


async def close(source: object) -> None:
    """Close items, or an iterator of them, of either kind."""
    aclose = getattr(source, "aclose", None)
    if aclose is None:
        _close(source)
    else:
        await aclose()
