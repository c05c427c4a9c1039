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
an object, None is ``null``, a model or a dataclass an object (docs/codec.md lists the forms).

Half of a surrogate pair cannot be written in UTF-8, and is refused. With ``surrogates="replace"`` each half becomes
U+FFFD in the data, as the Encoding standard has it, and the two halves of a pair that meet in one item become their
character. That is for tokens of a model that cuts within a character. Items are written one by one, so the halves of a
pair that is cut between two items become U+FFFD each.

Some clients take U+0085, U+2028 and U+2029 for line ends, and lose what follows. With ``line_separators="escape"`` they
are written as escapes in data that is JSON: with ``json=True``, or made by a JSON library. Other text would be changed.

A heartbeat is a comment and a blank line. Some clients make an empty event of the blank line once they have seen an id.
With ``heartbeat_form="line"`` a heartbeat is the comment's line alone, and so is the comment of ``opening``.

An iterable is also closed, on every way out: at its end, on an exception, when the consumer leaves early (``close()``,
``aclose()``, garbage collection) or is cancelled. Files are left open: they are yours.

`EventSourceResponse` and, with heartbeats, `aiter_blocks` iterate a sync iterable in a thread. Collections (a list, a
set, the view of a dict) cannot block and need none. The other async functions iterate a sync iterable in the event
loop's own thread; wrap one that blocks in `in_thread`.

`aiter_events`, `aiter_json` and, without heartbeats, `aiter_blocks` run on any event loop. Heartbeats,
`in_thread` and `EventSourceResponse` need asyncio.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from fastsse import _json
from fastsse._asyncio import require_asyncio
from fastsse._bridge import END, Steps
from fastsse._codec import DEFAULT_MAX_EVENT_SIZE, Decoder, Event
from fastsse._gate import outlast
from fastsse._items import (
    DEFAULT_HEARTBEAT,
    HEARTBEAT,
    Block,
    HeartbeatForm,
    Items,
    LineSeparators,
    Surrogates,
    Write,
    aclose,
    as_async,
    close,
    heartbeat_of,
    require_iterable,
    seconds,
    writer,
)
from fastsse._source import Alarm, close_source, start_source
from fastsse.errors import EventTooLarge

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

_DONE = "[DONE]"
# Only a spelling in double quotes is JSON: the string "DONE" may be a word of a model's.
_SPELLED = re.compile(
    r"""\[DONE\]|('?)(DONE|\[\s*DONE\s*\])\1\Z|"\[\s*DONE\s*\]"\Z""", re.IGNORECASE
)
_HEARTBEAT = re.compile("ping|heartbeat|keep[-_]?alive", re.IGNORECASE)  # types of events


# Coming in.


def iter_events(
    chunks: Iterable[Buffer],
    decoder: Decoder | None = None,
    *,
    last_event_id: str = "",
    max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE,
    on_comment: Callable[[str], object] | None = None,
) -> Generator[Event]:
    """Decode an event stream that comes in chunks. Yields each event as soon as its blank line is there.

    Args:
        chunks: an iterable of bytes-like objects, cut anywhere. Closed in the end.
        decoder: a decoder of yours, so that you can read its `last_event_id` and `retry` meanwhile. Its own options
            count then, and those given here do not.
        last_event_id, max_event_size, on_comment: the options of `Decoder`.

    Raises:
        EventTooLarge: an event is larger than `max_event_size`; the events before it were yielded.
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
        close(source)


def aiter_events(
    chunks: AsyncIterable[Buffer] | Iterable[Buffer],
    decoder: Decoder | None = None,
    *,
    last_event_id: str = "",
    max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE,
    on_comment: Callable[[str], object] | None = None,
) -> AsyncGenerator[Event]:
    """Decode an event stream like `iter_events`, from an async iterable of chunks, or a sync one."""
    require_iterable(chunks, "chunks", ("__aiter__", "__iter__"))
    if decoder is None:
        decoder = Decoder(
            last_event_id=last_event_id, max_event_size=max_event_size, on_comment=on_comment
        )
    return _aiter_events(chunks, decoder)


async def _aiter_events(
    chunks: AsyncIterable[Buffer] | Iterable[Buffer], decoder: Decoder
) -> AsyncGenerator[Event]:
    source = as_async(chunks)
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
        await aclose(source)


def iter_json(
    chunks: Iterable[Buffer],
    done: str | Iterable[str] | None = "[DONE]",
    *,
    max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE,
) -> Generator[Any]:
    """Parse the data of each event as JSON, until the data is `done`: the form in which LLM APIs stream.

    Heartbeats, blocks without data and events with blank data are passed over; so are events of the types
    ``ping``, ``heartbeat`` and ``keep-alive``, however these are spelled, whose data is not JSON. A stream that ends
    without `done` is no error, as in the standard; the objects themselves say whether they are all.

    Args:
        chunks: an iterable of bytes-like objects, cut anywhere. Closed in the end.
        done: the sentinel, several of them, or None when the stream has none. White space round it does not
            matter. ``"[DONE]"`` stands for the spellings that servers use: ``DONE``, ``[done]``, ``"[DONE]"``.
        max_event_size: the option of `Decoder`.

    Raises:
        ValueError: the data of an event is not JSON.
        EventTooLarge: an event is larger than `max_event_size`; the objects before it were yielded.
    """
    return _iter_json(iter_events(chunks, max_event_size=max_event_size), _ending(done))


def _iter_json(events: Generator[Event], ends: Callable[[str], bool]) -> Generator[Any]:
    try:
        for event in events:
            text = event.data.strip()
            if ends(text):
                return
            if text and not _is_heartbeat(event, text):
                yield _json.loads(text)
    finally:
        events.close()


def aiter_json(
    chunks: AsyncIterable[Buffer] | Iterable[Buffer],
    done: str | Iterable[str] | None = "[DONE]",
    *,
    max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE,
) -> AsyncGenerator[Any]:
    """Parse JSON from an event stream like `iter_json`, from an async iterable of chunks, or a sync one."""
    return _aiter_json(aiter_events(chunks, max_event_size=max_event_size), _ending(done))


async def _aiter_json(
    events: AsyncGenerator[Event], ends: Callable[[str], bool]
) -> AsyncGenerator[Any]:
    try:
        async for event in events:
            text = event.data.strip()
            if ends(text):
                return
            if text and not _is_heartbeat(event, text):
                yield _json.loads(text)
    finally:
        await events.aclose()


def _ending(done: str | Iterable[str] | None) -> Callable[[str], bool]:
    """Make the function that recognises the end by an event's data, without white space round it."""
    given = () if done is None else (done,) if isinstance(done, str) else tuple(done)
    for sentinel in given:
        if not isinstance(sentinel, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"done must be str, several of them or None, not {sentinel!r}")
    exact = frozenset(sentinel.strip() for sentinel in given) - {""}
    if _DONE in exact:
        return lambda text: text in exact or _is_done(text)
    return exact.__contains__


def _is_done(text: str) -> bool:
    """Return True for ``[DONE]`` in the spellings that servers use, or for text that begins with it."""
    return text[:1] != "{" and _SPELLED.match(text) is not None


def _is_heartbeat(event: Event, text: str) -> bool:
    """Return True when the event is a heartbeat by its type and its data is not JSON."""
    if _HEARTBEAT.fullmatch(event.event) is None:
        return False
    try:
        _json.loads(text)
    except ValueError:
        return True
    return False


# Going out.


def iter_blocks(
    items: Iterable[Any],
    *,
    json: bool = False,
    surrogates: Surrogates = "refuse",
    line_separators: LineSeparators = "keep",
    opening: bool = False,
) -> Generator[bytes]:
    """Write each item as one block. The top of this module says what an item may be.

    There are no heartbeats: nobody can send one while `items` blocks. `aiter_blocks` has them.

    Args:
        items: an iterable. Closed in the end.
        json, surrogates, line_separators: explained at the top of this module.
        opening: send a comment before the first item. Some servers (daphne) and proxies hold back the headers until
            there is a first byte, and Firefox does not say "open" before.

    Raises:
        InvalidField: a field cannot be written; see `encode`.
        TypeError: at once, when `items` cannot be iterated; later, for an item of no known kind.
    """
    require_iterable(items, "items", ("__iter__",))
    return _iter_blocks(
        items, writer(json, surrogates, line_separators), HEARTBEAT if opening else b""
    )


def _iter_blocks(items: Iterable[Any], write: Write, opening: bytes) -> Generator[bytes]:
    source = iter(items)
    try:
        if opening:
            yield opening
        for item in source:
            yield write(item)
    finally:
        close(source)


def aiter_blocks(
    items: Items,
    *,
    heartbeat: float | None = DEFAULT_HEARTBEAT,
    heartbeat_form: HeartbeatForm = "block",
    json: bool = False,
    surrogates: Surrogates = "refuse",
    line_separators: LineSeparators = "keep",
    opening: bool = False,
) -> AsyncGenerator[bytes]:
    """Write each item as one block, and a heartbeat whenever `heartbeat` seconds have passed without one.

    With heartbeats, `items` is iterated in one task of its own from beginning to end, one item at a
    time and only when the consumer asks: a heartbeat cancels nothing and delays no item. Wrap the
    result in `contextlib.aclosing` where the consumer may leave early.

    Args:
        items: an async iterable, or a sync one, which is iterated in a thread when there are heartbeats.
        heartbeat: seconds; None or 0 for none.
        heartbeat_form: ``"line"`` sends the comment without its blank line; explained at the top of this module.
        json, surrogates, line_separators: explained at the top of this module.
        opening: send a comment before the first item, for the reasons that `iter_blocks` gives. Django's streaming
            responses need it.

    Raises:
        InvalidField: a field cannot be written; see `encode`.
        TypeError: at once, when `items` cannot be iterated; later, for an item of no known kind.
        ValueError: at once, for a `heartbeat` that is no delay, or an option that is none of its words.
        RuntimeError: with heartbeats, where no loop of asyncio is running.
    """
    require_iterable(items, "items", ("__aiter__", "__iter__"))
    write = writer(json, surrogates, line_separators)
    interval = seconds("heartbeat", heartbeat)
    beat = heartbeat_of(heartbeat_form)
    first = beat if opening else b""
    if interval is None:
        return _aiter_blocks(items, write, first)
    return _aiter_blocks_with_heartbeats(items, write, first, interval, beat)


async def _aiter_blocks(items: Items, write: Write, opening: bytes) -> AsyncGenerator[bytes]:
    source = as_async(items)
    try:
        if opening:
            yield opening
        async for item in source:
            yield write(item)
    finally:
        await aclose(source)


async def _aiter_blocks_with_heartbeats(
    items: Items, write: Write, opening: bytes, interval: float, beat: bytes
) -> AsyncGenerator[bytes]:
    require_asyncio("aiter_blocks with heartbeats")
    alarm = Alarm(interval)
    source = start_source(items, write, limit=1, notify=alarm.ring)
    try:
        if opening:
            yield opening
        while True:
            block = source.take()
            while not block and not source.over:
                if not await alarm.wait():
                    yield beat
                block = source.take()
            if not block:
                break
            yield block
            source.resume()
    finally:
        alarm.cancel()
        await close_source(source)
        if source.error is not None:
            raise source.error


async def in_thread(items: Iterable[T]) -> AsyncGenerator[T]:
    """Iterate a sync iterable that blocks, each step in a thread, and only when the consumer asks for it.

    A step that has begun cannot be interrupted. A consumer that leaves meanwhile does so at once, and the
    iterator is closed in the thread when the step returns. The process does not wait for such a thread.
    At most 128 threads run at a time, those of responses included; a step beyond them waits for its turn.
    """
    require_asyncio("in_thread")
    steps = Steps(iter(items))
    try:
        while (item := await steps.next()) is not END:
            yield item
    finally:
        closing = steps.leave()
        if closing is not None:
            await outlast(closing)
            closing.result()
