"""One measurement: a task, a contender, the loop that is timed, and the answer that the contender must give.

Every decoder is fed the same chunks, and the data of every event is read once. Every encoder gets the same
fields, in strings that were never encoded before: CPython keeps the UTF-8 of a string once somebody has asked for
it, so the second pass over the same strings would be a gift. Preparations are not timed.

The clock is the CPU time of this thread, so that time taken by other processes is not counted.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from time import thread_time_ns
from typing import Any, NamedTuple, Protocol

from benchmarks import reference
from benchmarks.corpora import Corpus, Cut, Fields, Seen

Run = Callable[[], object]


class Task(NamedTuple):
    """One thing to measure: ``decode llm 64k``, ``encode small``, ``encode_many full`` ..."""

    verb: str  # decode, encode, encode_many, encode_json, split
    corpus: str
    chunking: str = ""  # for decode and split

    def __str__(self) -> str:
        return " ".join(filter(None, self))


class Cell(Protocol):
    """One contender at one task."""

    def sample(self, passes: int) -> float:
        """Return the nanoseconds of CPU time of one pass, as the mean of `passes` of them."""

    def right(self) -> bool:
        """Return True when the answer is what the standard says."""


@dataclass(slots=True)
class PythonCell:
    """A cell in this process.

    Attributes:
        prepare: makes what one pass needs, and returns the pass. Not timed.
        check: returns True when the contender's answer is right.
    """

    prepare: Callable[[], Run]
    check: Callable[[], bool]

    def sample(self, passes: int) -> float:
        spent = 0
        for _ in range(passes):
            run = self.prepare()
            begin = thread_time_ns()
            run()
            spent += thread_time_ns() - begin
        return spent / passes

    def right(self) -> bool:
        return self.check()


def settle() -> None:
    """Collect the garbage of earlier samples, so that the next one does not pay for it."""
    gc.collect()


# Decoders. A contender is one of three kinds.


class Pushed(NamedTuple):
    """A decoder with ``feed(chunk) -> events``; `make` makes one."""

    make: Callable[[], Any]


class Pulled(NamedTuple):
    """A decoder that draws chunks and yields events.

    Attributes:
        open: makes the iterable of events from chunks.
        kind: returns the type of an event.
        only: returns True for an event, False for anything else that the decoder yields.
        over: the exception at the end of the stream, of a decoder that would reconnect.
    """

    open: Callable[[Sequence[bytes]], Iterable[Any]]
    kind: Callable[[Any], str | None]
    only: type | None = None
    over: type[Exception] | tuple[()] = ()


class Awaited(NamedTuple):
    """An asynchronous decoder: `open`, in a running loop, gives the async iterable; the exception `over` ends it."""

    open: Callable[[Sequence[bytes]], Awaitable[Any]]
    kind: Callable[[Any], str | None]
    over: type[Exception]


def _push(feed: Callable[[bytes], Iterable[Any]], chunks: Sequence[bytes]) -> None:
    for chunk in chunks:
        for event in feed(chunk):
            _ = event.data


def _pull(events: Iterable[Any], over: type[Exception] | tuple[()]) -> None:
    try:
        for event in events:
            _ = event.data
    except over:
        return


def _pull_only(events: Iterable[Any], only: type[Any]) -> None:
    for event in events:
        if isinstance(event, only):
            _ = event.data


async def _await(events: Any, over: type[Exception]) -> None:
    try:
        async for event in events:
            _ = event.data
    except over:
        return


Answers = list[tuple[str, str]]  # data and type of each event


def decode_cell(contender: Pushed | Pulled | Awaited, cut: Cut) -> PythonCell:
    """Make the cell of `contender` decoding the chunks of `cut`."""
    prepare, answers = _DECODE[type(contender)]
    expected = [(seen.data, seen.event) for seen in cut.events]
    return PythonCell(
        prepare=lambda: prepare(contender, cut.chunks),
        check=lambda: answers(contender, cut.chunks) == expected,
    )


def _prepare_pushed(contender: Pushed, chunks: Sequence[bytes]) -> Run:
    feed = contender.make().feed
    return lambda: _push(feed, chunks)


def _answers_pushed(contender: Pushed, chunks: Sequence[bytes]) -> Answers:
    feed = contender.make().feed
    return [(event.data, event.event) for chunk in chunks for event in feed(chunk)]


def _prepare_pulled(contender: Pulled, chunks: Sequence[bytes]) -> Run:
    events, only, over = contender.open(chunks), contender.only, contender.over
    if only is None:
        return lambda: _pull(events, over)
    return lambda: _pull_only(events, only)


def _answers_pulled(contender: Pulled, chunks: Sequence[bytes]) -> Answers:
    answers: Answers = []
    try:
        for event in contender.open(chunks):
            if contender.only is None or isinstance(event, contender.only):
                answers.append((event.data, contender.kind(event) or "message"))
    except contender.over:
        pass
    return answers


_loop: list[asyncio.AbstractEventLoop] = []


def loop() -> asyncio.AbstractEventLoop:
    """Return the one event loop of this process, in which asynchronous contenders run."""
    if not _loop:
        _loop.append(asyncio.new_event_loop())
    return _loop[0]


def _prepare_awaited(contender: Awaited, chunks: Sequence[bytes]) -> Run:
    events = loop().run_until_complete(_opened(contender, chunks))
    return lambda: loop().run_until_complete(_await(events, contender.over))


async def _opened(contender: Awaited, chunks: Sequence[bytes]) -> Any:
    return await contender.open(chunks)


def _answers_awaited(contender: Awaited, chunks: Sequence[bytes]) -> Answers:
    answers: Answers = []

    async def collect() -> None:
        try:
            async for event in await contender.open(chunks):
                answers.append((event.data, contender.kind(event) or "message"))
        except contender.over:
            return

    loop().run_until_complete(collect())
    return answers


_DECODE: dict[type, tuple[Callable[..., Run], Callable[..., Answers]]] = {
    Pushed: (_prepare_pushed, _answers_pushed),
    Pulled: (_prepare_pulled, _answers_pulled),
    Awaited: (_prepare_awaited, _answers_awaited),
}


# Encoders. The fields that all blocks of a corpus have are its shape, which decides how the encoder is called.

Shape = tuple[str, ...]
DATA: Shape = ("data",)
EVENT: Shape = ("data", "event")
ID: Shape = ("data", "event", "id")
ALL: Shape = ("data", "event", "id", "retry")


def shape(fields: Sequence[Fields]) -> Shape:
    """Return the names of the fields that the first block has, and so every other block."""
    first = fields[0]
    return next(s for s in (ALL, ID, EVENT, DATA) if getattr(first, s[-1]) is not None)


class Encoding(NamedTuple):
    """An encoder: for a shape, a function called with data, and the other fields by keyword."""

    for_shape: Callable[[Shape], Callable[..., bytes]]


class AwaitedEncoding(NamedTuple):
    """An asynchronous encoder; `taken` returns what it has written since the last call."""

    for_shape: Callable[[Shape], Callable[..., Awaitable[object]]]
    taken: Callable[[], bytes]


def _write_data(encode: Callable[..., object], items: Sequence[Any]) -> None:
    for data in items:
        encode(data)


def _write_event(encode: Callable[..., object], items: Sequence[Any]) -> None:
    for data, event in items:
        encode(data, event=event)


def _write_id(encode: Callable[..., object], items: Sequence[Any]) -> None:
    for data, event, id in items:
        encode(data, event=event, id=id)


def _write_all(encode: Callable[..., object], items: Sequence[Any]) -> None:
    for data, event, id, retry in items:
        encode(data, event=event, id=id, retry=retry)


_WRITE: dict[Shape, Callable[[Callable[..., object], Sequence[Any]], None]] = {
    DATA: _write_data,
    EVENT: _write_event,
    ID: _write_id,
    ALL: _write_all,
}


async def _write_awaited(
    send: Callable[..., Awaitable[object]], names: Shape, fields: Sequence[Fields]
) -> None:
    if names == DATA:
        for item in fields:
            await send(item.data)
    elif names == EVENT:
        for item in fields:
            await send(item.data, event=item.event)
    elif names == ID:
        for item in fields:
            await send(item.data, event=item.event, id=item.id)
    else:
        for item in fields:
            await send(item.data, event=item.event, id=item.id, retry=item.retry)


def encode_cell(contender: Encoding | AwaitedEncoding, fields: Sequence[Fields]) -> PythonCell:
    """Make the cell of `contender` encoding `fields`, one call for each block."""
    names = shape(fields)
    if isinstance(contender, AwaitedEncoding):
        return _awaited_encode_cell(contender, names, fields)
    encode, write = contender.for_shape(names), _WRITE[names]

    def prepare() -> Run:
        fresh = [item.fresh() for item in fields]
        items: list[Any] = [tuple(item)[: len(names)] for item in fresh]
        if names == DATA:
            items = [item.data for item in fresh]
        return lambda: write(encode, items)

    def check() -> bool:
        others = names[1:]
        return all(
            _says(encode(item.data, **{name: getattr(item, name) for name in others}), item)
            for item in fields
        )

    return PythonCell(prepare, check)


def _awaited_encode_cell(
    contender: AwaitedEncoding, names: Shape, fields: Sequence[Fields]
) -> PythonCell:
    send = contender.for_shape(names)

    def prepare() -> Run:
        fresh = [item.fresh() for item in fields]
        contender.taken()
        return lambda: loop().run_until_complete(_write_awaited(send, names, fresh))

    def check() -> bool:
        contender.taken()
        for item in fields:
            loop().run_until_complete(_write_awaited(send, names, [item]))
            if not _says(contender.taken(), item):
                return False
        return True

    return PythonCell(prepare, check)


def _says(block: bytes, fields: Fields) -> bool:
    """Return True when a block says what was asked for, in any order and with any line ends."""
    seen = Seen(fields.data, fields.event or "message", fields.id or "", fields.retry)
    return block == fields.block() or reference.interpret(block) == [seen]


# Tasks that only fastsse and the floor can do.


def many_cell(
    encode_many: Callable[[Any], bytes], decode: Callable[[bytes], Any], source: Corpus
) -> PythonCell:
    """Make the cell that encodes all events of a corpus in one call."""
    stream = source.stream

    def prepare() -> Run:
        events = decode(stream)  # new strings, each time
        return lambda: encode_many(events)

    return PythonCell(prepare, lambda: encode_many(decode(stream)) == stream)


def json_cell(encode_json: Callable[[Any], bytes], source: Corpus) -> PythonCell:
    """Make the cell that writes the objects of a corpus as JSON, and as blocks."""
    texts = [item.data for item in source.fields if item.data[:1] == "{"]

    def prepare() -> Run:
        objects = [json.loads(text) for text in texts]
        return lambda: _write_data(encode_json, objects)

    def check() -> bool:
        return all(
            json.loads(reference.interpret(encode_json(json.loads(text)))[0].data)
            == json.loads(text)
            for text in texts[:200]
        )

    return PythonCell(prepare, check)


def split_cell(make: Callable[[], Any], cut: Cut) -> PythonCell:
    """Make the cell that splits a stream into its lines."""
    chunks = cut.chunks

    def prepare() -> Run:
        feed = make().feed

        def run() -> None:
            for chunk in chunks:
                for _ in feed(chunk):
                    pass

        return run

    def check() -> bool:
        feed = make().feed
        lines = [line for chunk in chunks for line in feed(chunk)]
        return lines == b"".join(chunks).splitlines()

    return PythonCell(prepare, check)


def blocks_cell(make: Callable[[], Any], cut: Cut) -> PythonCell:
    """Make the cell that relays a stream in whole blocks."""
    chunks = cut.chunks

    def prepare() -> Run:
        feed = make().feed_joined

        def run() -> None:
            for chunk in chunks:
                feed(chunk)

        return run

    def check() -> bool:
        feed = make().feed_joined
        return b"".join([feed(chunk) for chunk in chunks]) == b"".join(chunks)

    return PythonCell(prepare, check)


def rewrite_cell(make: Callable[[], Any], cut: Cut) -> PythonCell:
    """Make the cell that decodes a stream and writes each event again."""
    chunks = cut.chunks

    def prepare() -> Run:
        feed = make().feed

        def run() -> None:
            for chunk in chunks:
                for event in feed(chunk):
                    event.encode()

        return run

    def check() -> bool:
        feed = make().feed
        blocks = b"".join([event.encode() for chunk in chunks for event in feed(chunk)])
        return reference.interpret(blocks) == reference.interpret(b"".join(chunks))

    return PythonCell(prepare, check)
