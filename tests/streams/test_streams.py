"""Chunks to events and items to blocks, sync and async; every iterable is closed on every way out."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from types import MappingProxyType
from typing import Any

import pytest
from support.driver import turns

from fastsse import (
    Block,
    Decoder,
    Event,
    EventTooLarge,
    InvalidField,
    aiter_blocks,
    aiter_events,
    aiter_json,
    decode,
    encode,
    in_thread,
    iter_blocks,
    iter_events,
    iter_json,
)

HEARTBEAT = b":\n\n"
SOON = 0.01  # s between heartbeats in a test that waits for some
NEVER = 3600.0  # s


class Source:
    """Items or chunks that count how many of them were asked for, and how often they were closed."""

    def __init__(
        self, *items: Any, failure: Exception | None = None, endless: bool = False
    ) -> None:
        self.items = items
        self.failure = failure
        self.endless = endless
        self.asked = 0
        self.closed = 0
        self.cancelled = 0
        self.go_on = asyncio.Event()  # an endless source waits for this

    def __iter__(self) -> Iterator[Any]:
        return self._iterate()

    def _iterate(self) -> Iterator[Any]:
        try:
            for item in self.items:
                self.asked += 1
                yield item
            if self.failure:
                raise self.failure
        finally:
            self.closed += 1


class AsyncSource(Source):
    def __aiter__(self) -> AsyncIterator[Any]:
        return self._aiterate()

    async def _aiterate(self) -> AsyncIterator[Any]:
        try:
            for item in self.items:
                self.asked += 1
                yield item
            if self.endless:
                await self.go_on.wait()
                yield "the last"
            if self.failure:
                raise self.failure
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.closed += 1


async def collect(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


async def extend(found: list[Any], items: AsyncIterator[Any]) -> None:
    """Extend a list by items; those that come before an exception are kept."""
    async for item in items:
        found.append(item)  # noqa: PERF401 (a comprehension keeps nothing when it fails)


def kinds(cases: list[Any]) -> list[str]:
    return [f"{n}-{type(case[0]).__name__}" for n, case in enumerate(cases)]


def in_pieces(stream: bytes, size: int) -> list[bytes]:
    return [stream[i : i + size] for i in range(0, len(stream), size)]


STREAM = b"\xef\xbb\xbf: hi\r\nid: 1\rdata: a\r\n\r\ndata: \xe2\x82\xac\n\n\nid: 2\n\ndata: cut"


class TestEvents:
    @pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
    async def test_they_are_those_of_the_whole_stream_however_it_is_cut(self, size: int) -> None:
        chunks = in_pieces(STREAM, size)

        assert decode(STREAM) == list(iter_events(chunks))
        assert decode(STREAM) == await collect(aiter_events(AsyncSource(*chunks)))
        assert decode(STREAM) == await collect(aiter_events(chunks))

    async def test_an_event_is_there_before_the_next_chunk_is_asked_for(self) -> None:
        chunks = AsyncSource(b"data: a\n\nda", b"ta: b\n\n")

        assert Event("a") == next(iter_events(chunks))
        assert 1 == chunks.asked
        async with aclosing(aiter_events(chunks)) as events:
            assert Event("a") == await anext(events)
        assert 2 == chunks.asked

    async def test_a_decoder_of_ones_own_tells_where_the_stream_stands(self) -> None:
        decoder = Decoder(last_event_id="0")
        another = Decoder(last_event_id="0")

        assert [Event("a", id="0")] == list(
            iter_events([b"data: a\n\nid: 7\nretry: 5\n\n"], decoder)
        )
        assert [] == await collect(aiter_events([b"id: 7\nretry: 5\n\n"], another))

        assert ("7", 5) == (decoder.last_event_id, decoder.retry)
        assert ("7", 5) == (another.last_event_id, another.retry)

    async def test_the_decoders_options_are_passed_on(self) -> None:
        comments: list[str] = []
        options: dict[str, Any] = {"last_event_id": "9", "on_comment": comments.append}
        chunks = [b": x\ndata: a\n\n"]

        assert [Event("a", id="9")] == list(iter_events(chunks, **options))
        assert [Event("a", id="9")] == await collect(aiter_events(chunks, **options))
        assert ["x", "x"] == comments

    async def test_what_came_before_an_event_that_is_too_large_is_not_lost(self) -> None:
        chunks = [b"data: a\n\ndata: b\n\ndata: too long\n\n"]
        events: list[Event] = []
        async_events: list[Event] = []

        with pytest.raises(EventTooLarge):
            events.extend(iter_events(chunks, max_event_size=8))
        with pytest.raises(EventTooLarge):
            await extend(async_events, aiter_events(chunks, max_event_size=8))

        assert [Event("a"), Event("b")] == events
        assert [Event("a"), Event("b")] == async_events

    @pytest.mark.parametrize("iterate", [iter_events, aiter_events, iter_json, aiter_json])
    @pytest.mark.parametrize("chunks", [b"bytes", "text", bytearray(), None, 7])
    def test_what_is_no_iterable_of_chunks_is_refused_at_once(
        self, iterate: Callable[..., Any], chunks: Any
    ) -> None:
        with pytest.raises(TypeError, match="chunks must be"):
            iterate(chunks)

    @pytest.mark.parametrize("iterate", [iter_events, aiter_events])
    def test_wrong_options_are_refused_at_once(self, iterate: Callable[..., Any]) -> None:
        with pytest.raises(ValueError, match="max_event_size"):
            iterate([], max_event_size=0)

    def test_a_chunk_of_text_is_refused(self) -> None:
        with pytest.raises(TypeError, match="bytes-like"):
            list(iter_events(["data: a\n\n"]))  # type: ignore[list-item]


CHAT = b"".join(
    [
        b"\xef\xbb\xbf: OPENROUTER PROCESSING\n\n",
        b"retry: 3000\n\n",
        b"id: 1\n\n",
        b'data: {"n": 1}\n\n',
        b": ping\n\n",
        b"data:\n\n",
        b"data:  \r\n\r\n",
        b'event: delta\ndata: {"text":\ndata: "a\xe2\x80\xa8b"}\n\n',
        b"data: null\n\n",
        b"data: [DONE]\n\n",
        b"data: not JSON, and not read any more\n\n",
    ]
)
ANSWERS = [{"n": 1}, {"text": "a\u2028b"}, None]


class TestJSON:
    @pytest.mark.parametrize("size", [1, 7, 10_000])
    async def test_an_llms_stream_is_its_objects_up_to_the_sentinel(self, size: int) -> None:
        chunks = in_pieces(CHAT, size)

        assert ANSWERS == list(iter_json(chunks))
        assert ANSWERS == await collect(aiter_json(AsyncSource(*chunks)))

    async def test_the_sentinel_closes_the_source_without_reading_on(self) -> None:
        chunks = AsyncSource(b"data: 1\n\n", b"data: [DONE]\n\n", b"data: 2\n\n")
        again = AsyncSource(*chunks.items)

        assert [1] == list(iter_json(chunks))
        assert [1] == await collect(aiter_json(again))

        assert (2, 1) == (chunks.asked, chunks.closed)
        assert (2, 1) == (again.asked, again.closed)

    def test_white_space_round_the_sentinel_does_not_matter(self) -> None:
        assert [] == list(iter_json([b"data:  [DONE] \n\ndata: 1\n\n"]))

    async def test_the_sentinel_can_be_another_or_none(self) -> None:
        stream = [b'data: 1\n\ndata: "END"\n\ndata: 2\n\n']

        assert [1] == list(iter_json(stream, done='"END"'))
        assert [1, "END", 2] == list(iter_json(stream, done=None))
        assert [1, "END", 2] == await collect(aiter_json(stream, done=None))

    def test_a_stream_without_its_sentinel_just_ends(self) -> None:
        assert [1] == list(iter_json([b"data: 1\n\n"]))

    async def test_what_is_no_json_is_an_error_and_closes_the_source(self) -> None:
        chunks = AsyncSource(b"data: 1\n\ndata: {\n\n")
        again = AsyncSource(*chunks.items)

        with pytest.raises(ValueError, match="1"):
            list(iter_json(chunks))
        with pytest.raises(ValueError, match="1"):
            await collect(aiter_json(again))

        assert (1, 1) == (chunks.closed, again.closed)

    def test_an_event_that_is_too_large_is_an_error(self) -> None:
        with pytest.raises(EventTooLarge):
            list(iter_json([b"data: 123456789\n\n"], max_event_size=8))


ITEMS: list[tuple[Any, bytes]] = [
    ("a", b"data: a\n\n"),
    ("a\nevent: b", b"data: a\ndata: event: b\n\n"),
    ("", b"data: \n\n"),
    (b"a", b"data: a\n\n"),
    (b"data: a\n\n", b"data: data: a\ndata: \ndata: \n\n"),
    (bytearray(b"a"), b"data: a\n\n"),
    (memoryview(b"a"), b"data: a\n\n"),
    (Event("a", "b", "c", 5), b"id: c\nevent: b\nretry: 5\ndata: a\n\n"),
    ({"data": "a", "event": "b", "id": "c", "retry": 5}, b"id: c\nevent: b\nretry: 5\ndata: a\n\n"),
    ({"data": b"a", "id": None}, b"data: a\n\n"),
    ({"comment": "a"}, b": a\n\n"),
    ({"retry": 0}, b"retry: 0\n\n"),
    (MappingProxyType({"data": "a"}), b"data: a\n\n"),
    (Block(b": as it is\n\n"), b": as it is\n\n"),
    (Block(encode("a", event="b")), b"event: b\ndata: a\n\n"),
]
JSON_ITEMS: list[tuple[Any, bytes]] = [
    ("a", b'data: "a"\n\n'),
    ({"data": "a"}, b'data: {"data":"a"}\n\n'),
    ([1, None], b"data: [1,null]\n\n"),
    (None, b"data: null\n\n"),
    (1, b"data: 1\n\n"),
    (Event("a", "b"), b"event: b\ndata: a\n\n"),
    (Block(b": as it is\n\n"), b": as it is\n\n"),
]
REFUSED: list[tuple[Any, type[Exception], str]] = [
    (1, TypeError, "an item must be"),
    (None, TypeError, "json=True"),
    (["a"], TypeError, "not list"),
    ({"data": "a", "evnet": "b"}, InvalidField, "evnet 'b': is no field"),
    ({"data": "a", 1: "b"}, InvalidField, "1 'b': is no field"),
    ({}, InvalidField, "data"),
    ({"event": "a"}, InvalidField, "event"),
    ({"data": "a", "event": "b\ndata: c"}, InvalidField, "event"),
    ({"data": "a", "retry": "5"}, InvalidField, "retry"),
    (b"\xff", InvalidField, "UTF-8"),
]


class TestBlocks:
    @pytest.mark.parametrize(("item", "block"), ITEMS, ids=kinds(ITEMS))
    async def test_an_item_is_one_block(self, item: Any, block: bytes) -> None:
        assert [block] == list(iter_blocks([item]))
        assert [block] == await collect(aiter_blocks([item]))
        assert [block] == await collect(aiter_blocks(AsyncSource(item), heartbeat=None))

    @pytest.mark.parametrize(("item", "block"), JSON_ITEMS, ids=kinds(JSON_ITEMS))
    async def test_json_is_written_when_it_is_asked_for(self, item: Any, block: bytes) -> None:
        assert [block] == list(iter_blocks([item], json=True))
        assert [block] == await collect(aiter_blocks([item], json=True))

    @pytest.mark.parametrize(("item", "error", "words"), REFUSED, ids=kinds(REFUSED))
    async def test_an_item_that_is_none_of_these_is_refused_and_the_source_closed(
        self, item: Any, error: type[Exception], words: str
    ) -> None:
        for items in (source := Source("a", item, "b")), (asource := AsyncSource("a", item, "b")):
            blocks = iter_blocks(items)
            assert b"data: a\n\n" == next(blocks)
            with pytest.raises(error, match=words):
                next(blocks)
        with pytest.raises(error, match=words):
            await collect(aiter_blocks(again := AsyncSource("a", item)))

        assert (1, 1, 1) == (source.closed, asource.closed, again.closed)

    def test_a_mapping_is_not_changed(self) -> None:
        item = {"data": "a", "event": "b"}

        list(iter_blocks([item]))

        assert {"data": "a", "event": "b"} == item

    def test_a_block_is_bytes(self) -> None:
        assert b"x" == Block(b"x")
        assert isinstance(Block(b"x"), bytes)

    @pytest.mark.parametrize("iterate", [iter_blocks, aiter_blocks])
    @pytest.mark.parametrize("items", ["text", b"bytes", {"data": "a"}, None, 5])
    def test_what_would_be_iterated_by_mistake_is_refused_at_once(
        self, iterate: Callable[..., Any], items: Any
    ) -> None:
        with pytest.raises(TypeError, match="items must be"):
            iterate(items)

    def test_an_async_iterable_is_refused_by_the_sync_twin(self) -> None:
        async def items() -> AsyncIterator[str]:
            yield "a"

        with pytest.raises(TypeError, match="must be an iterable, not async_generator"):
            iter_blocks(items())  # type: ignore[arg-type]

    @pytest.mark.parametrize("heartbeat", [-1, float("nan"), float("inf")])
    def test_a_heartbeat_that_is_no_delay_is_refused_at_once(self, heartbeat: float) -> None:
        with pytest.raises(ValueError, match="heartbeat must be seconds"):
            aiter_blocks([], heartbeat=heartbeat)

    @pytest.mark.parametrize("heartbeat", ["15", True])
    def test_a_heartbeat_of_another_type_is_refused_at_once(self, heartbeat: Any) -> None:
        with pytest.raises(TypeError, match="heartbeat must be seconds or None"):
            aiter_blocks([], heartbeat=heartbeat)


SYNC: list[Callable[[Any], Iterator[Any]]] = [iter_events, iter_json, iter_blocks]
ASYNC: list[Any] = [
    pytest.param(aiter_events, id="events"),
    pytest.param(lambda source: aiter_json(source, done=None), id="json"),
    pytest.param(lambda source: aiter_blocks(source, heartbeat=NEVER), id="blocks"),
    pytest.param(lambda source: aiter_blocks(source, heartbeat=None), id="blocks-no-heartbeat"),
]
ONE, TWO = b"data: 1\n\n", b"data: 2\n\n"


class TestClosing:
    @pytest.mark.parametrize("iterate", SYNC)
    def test_at_the_end_on_failure_and_when_the_consumer_leaves(
        self, iterate: Callable[[Any], Iterator[Any]]
    ) -> None:
        failure = KeyError("of the source")
        at_end, failing, left = Source(ONE), Source(ONE, failure=failure), Source(ONE, TWO)

        list(iterate(at_end))
        with pytest.raises(KeyError) as caught:
            list(iterate(failing))
        for _ in iterate(left):
            break

        assert caught.value is failure
        assert (1, 1, 1) == (at_end.closed, failing.closed, left.closed)

    @pytest.mark.parametrize("iterate", ASYNC)
    @pytest.mark.parametrize("kind", [Source, AsyncSource])
    async def test_async_at_the_end_and_on_failure(
        self, iterate: Callable[[Any], AsyncIterator[Any]], kind: type[Source]
    ) -> None:
        failure = KeyError("of the source")
        at_end, failing = kind(ONE), kind(ONE, failure=failure)

        assert 1 == len(await collect(iterate(at_end)))
        with pytest.raises(KeyError) as caught:
            await collect(iterate(failing))

        assert caught.value is failure
        assert (1, 1) == (at_end.closed, failing.closed)

    @pytest.mark.parametrize("iterate", ASYNC)
    @pytest.mark.parametrize("kind", [Source, AsyncSource])
    async def test_async_when_the_consumer_leaves(
        self, iterate: Callable[[Any], Any], kind: type[Source]
    ) -> None:
        source = kind(ONE, TWO)

        async with aclosing(iterate(source)) as iterated:
            await anext(iterated)

        assert 1 == source.closed

    @pytest.mark.parametrize("iterate", ASYNC)
    async def test_async_when_the_consumer_just_breaks(self, iterate: Callable[[Any], Any]) -> None:
        source = AsyncSource(ONE, TWO)

        async for _ in iterate(source):
            break
        gc.collect()
        await turns()

        assert 1 == source.closed

    @pytest.mark.parametrize("iterate", ASYNC)
    async def test_async_when_the_consumer_is_cancelled_while_it_waits(
        self, iterate: Callable[[Any], Any]
    ) -> None:
        source = AsyncSource(ONE, endless=True)
        consumer = asyncio.create_task(collect(iterate(source)))
        await turns()

        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer

        assert (1, 1) == (source.closed, source.cancelled)

    @pytest.mark.parametrize("iterate", ASYNC)
    async def test_async_what_fails_while_it_is_closed_is_reported(
        self, iterate: Callable[[Any], Any]
    ) -> None:
        async def items() -> AsyncIterator[bytes]:
            try:
                yield ONE
                yield TWO
            finally:
                raise KeyError("while closing")

        iterated = iterate(items())
        await anext(iterated)

        with pytest.raises(KeyError, match="while closing"):
            await iterated.aclose()

    def test_a_file_is_left_open(self) -> None:
        file = io.BytesIO(b"data: a\n\ndata: b\n\n")

        with closing(iter_events(file)) as events:
            next(events)

        assert not file.closed


class TestHeartbeats:
    async def test_they_come_while_the_source_waits_and_cancel_nothing(self) -> None:
        source = AsyncSource("a", endless=True)
        blocks = aiter_blocks(source, heartbeat=SOON)

        seen = [await anext(blocks) for _ in range(4)]
        source.go_on.set()
        rest = [block for block in await collect(blocks) if block != HEARTBEAT]

        assert [b"data: a\n\n", HEARTBEAT, HEARTBEAT, HEARTBEAT] == seen
        assert [b"data: the last\n\n"] == rest
        assert (0, 1) == (source.cancelled, source.closed)

    async def test_they_are_counted_from_the_last_item(self) -> None:
        interval = 5 * SOON
        items: asyncio.Queue[str] = asyncio.Queue()

        async def source() -> AsyncIterator[str]:
            while True:
                yield await items.get()

        loop = asyncio.get_running_loop()
        async with aclosing(aiter_blocks(source(), heartbeat=interval)) as blocks:
            loop.call_later(interval / 2, items.put_nowait, "a")
            first = await anext(blocks)
            begun = loop.time()
            second = await anext(blocks)
            waited = loop.time() - begun

        assert (b"data: a\n\n", HEARTBEAT) == (first, second)
        assert waited > 0.9 * interval

    async def test_an_item_does_not_wait_for_one(self) -> None:
        source = AsyncSource(endless=True)
        blocks = aiter_blocks(source, heartbeat=NEVER)
        first = asyncio.ensure_future(anext(blocks))
        await turns()

        source.go_on.set()
        await turns()

        assert first.done()
        assert b"data: the last\n\n" == first.result()
        await blocks.aclose()

    async def test_none_comes_while_items_do(self) -> None:
        items = [str(n) for n in range(1000)]

        blocks = await collect(aiter_blocks(AsyncSource(*items), heartbeat=NEVER))

        assert [encode(item) for item in items] == blocks

    async def test_the_source_is_asked_only_when_the_consumer_asks(self) -> None:
        source = AsyncSource("a", "b", "c")
        blocks = aiter_blocks(source, heartbeat=NEVER)

        await anext(blocks)
        await turns()
        after_one = source.asked
        await anext(blocks)
        await turns()

        assert (1, 2) == (after_one, source.asked)
        await blocks.aclose()

    async def test_the_source_lives_in_one_task_from_beginning_to_end(self) -> None:
        variable = contextvars.ContextVar("variable", default=0)
        tasks: list[Any] = []

        async def items() -> AsyncIterator[str]:
            try:
                async with asyncio.timeout(NEVER):  # a cancel scope across the items
                    for _ in range(3):
                        tasks.append(asyncio.current_task())
                        variable.set(variable.get() + 1)
                        yield str(variable.get())
                        await asyncio.sleep(0)
            finally:
                tasks.append(asyncio.current_task())

        blocks = [block async for block in aiter_blocks(items(), heartbeat=NEVER)]

        assert [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"] == blocks
        assert 4 == len(tasks)
        assert 1 == len(set(tasks))
        assert asyncio.current_task() not in tasks

    async def test_a_source_that_is_cancelled_by_another_is_no_end(self) -> None:
        async def items() -> AsyncIterator[str]:
            yield "a"
            raise asyncio.CancelledError("by somebody else")

        blocks = aiter_blocks(items(), heartbeat=NEVER)
        await anext(blocks)

        with pytest.raises(asyncio.CancelledError, match="by somebody else"):
            await anext(blocks)

    async def test_a_source_that_refuses_to_be_cancelled_is_closed_at_its_next_item(self) -> None:
        steps: list[str] = []

        async def items() -> AsyncIterator[str]:
            try:
                yield "a"
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    steps.append("refused")
                yield "b"
                steps.append("never")
            finally:
                steps.append("closed")

        async with aclosing(aiter_blocks(items(), heartbeat=SOON)) as blocks:
            await anext(blocks)
            await anext(blocks)

        assert ["refused", "closed"] == steps


class Blocking:
    """A sync iterator whose steps block their thread until they are released."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.release = threading.Semaphore(0)
        self.closed = threading.Event()
        self.threads: set[int] = set()
        self.given = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        assert not self.closed.is_set()
        self.threads.add(threading.get_ident())
        self.entered.release()
        self.release.acquire()
        self.given += 1
        if self.given > 3:
            raise StopIteration
        return str(self.given)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed.set()


class TestInThread:
    async def test_the_loop_goes_on_while_a_step_blocks(self) -> None:
        source = Blocking()
        blocks = aiter_blocks(in_thread(source), heartbeat=SOON)

        first = [await anext(blocks) for _ in range(2)]
        for _ in range(4):
            source.release.release()
        rest = [block for block in await collect(blocks) if block != HEARTBEAT]

        assert [HEARTBEAT, HEARTBEAT] == first
        assert [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"] == rest
        assert source.closed.is_set()
        assert threading.get_ident() not in source.threads

    async def test_who_leaves_during_a_step_goes_at_once_and_the_source_is_closed_after(
        self,
    ) -> None:
        source = Blocking()
        items = in_thread(source)
        step = asyncio.ensure_future(anext(items))
        await asyncio.to_thread(source.entered.acquire)

        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        open_still = not source.closed.is_set()
        source.release.release()

        assert open_still
        assert await asyncio.to_thread(source.closed.wait, 5.0)

    async def test_who_leaves_between_steps_has_closed_the_source(self) -> None:
        source = Blocking()
        source.release.release()

        async with aclosing(in_thread(source)) as items:
            await anext(items)

        assert source.closed.is_set()
        assert threading.get_ident() not in source.threads

    async def test_what_the_source_raises_is_raised(self) -> None:
        source = Source("a", failure=KeyError("of the source"))

        with pytest.raises(KeyError, match="of the source"):
            await collect(in_thread(source))

        assert 1 == source.closed
