"""A source: items that run by themselves, in a task or in a thread, while their blocks are taken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from fastsse import _bridge, _threads, in_thread
from fastsse._bridge import ThreadSource
from fastsse._items import writer
from fastsse._source import Alarm, Source, close_source, start_source

KINDS = pytest.mark.parametrize("kind", ["task", "thread"])
SOON = 0.02  # s
NEVER = 3600.0  # s


class Items:
    """Items of either kind, which count how many were asked for and how often they were closed."""

    def __init__(self, kind: str, *items: Any, endless: bool = False) -> None:
        self.kind = kind
        self.items = items
        self.endless = endless
        self.asked = 0
        self.closed = 0
        self.release = threading.Event()  # what an endless sync one blocks on

    def __call__(self) -> Any:
        return self._async() if self.kind == "task" else self._sync()

    def _sync(self) -> Iterator[Any]:
        try:
            for item in self.items:
                self.asked += 1
                if isinstance(item, Exception):
                    raise item
                yield item
            if self.endless:
                self.release.wait()
                yield "last"
        finally:
            self.closed += 1

    async def _async(self) -> AsyncIterator[Any]:
        try:
            for item in self.items:
                self.asked += 1
                if isinstance(item, Exception):
                    raise item
                yield item
            if self.endless:
                await asyncio.Event().wait()
        finally:
            self.closed += 1


class Taker:
    """Takes from a source whenever there is something, as far as a test asks for it."""

    def __init__(self, items: Any, limit: int = 1000) -> None:
        self.notified = asyncio.Event()
        self.calls = 0
        self.source = start_source(items, writer(json=False), limit=limit, notify=self.notify)

    def notify(self) -> None:
        self.calls += 1
        self.notified.set()

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not happened():
                await asyncio.sleep(0.001)

    async def all(self) -> bytes:
        """Take everything up to the end."""
        found = b""
        while not self.source.over:
            await self.notified.wait()
            self.notified.clear()
            found += self.source.take()
            self.source.resume()
        return found + self.source.take()


def test_a_collection_needs_no_thread_and_a_sync_iterator_gets_one() -> None:
    async def kinds() -> list[type]:
        takers = [Taker(items) for items in (["a"], {"a"}, {"a": 1}.values(), iter(["a"]))]
        for taker in takers:
            await taker.all()
        return [type(taker.source) for taker in takers]

    assert [Source, Source, Source, ThreadSource] == asyncio.run(kinds())


@KINDS
async def test_all_blocks_can_be_taken_and_the_items_are_closed(kind: str) -> None:
    items = Items(kind, "a", "b", "c")
    taker = Taker(items())

    found = await taker.all()
    await close_source(taker.source)

    assert b"data: a\n\ndata: b\n\ndata: c\n\n" == found
    assert (1, None, False) == (items.closed, taker.source.error, taker.source.left_behind)


@KINDS
async def test_blocks_that_are_ready_together_are_taken_together(kind: str) -> None:
    items = Items(kind, "a", "b", endless=True)
    taker = Taker(items())
    await taker.until(lambda: taker.source._size == 18)

    await asyncio.sleep(0)
    found = taker.source.take()

    assert (b"data: a\n\ndata: b\n\n", b"") == (found, taker.source.take())
    assert 1 == taker.calls
    items.release.set()
    await close_source(taker.source)


@KINDS
async def test_the_items_wait_when_they_are_ahead_by_the_limit(kind: str) -> None:
    items = Items(kind, *"abcdefgh")
    taker = Taker(items(), limit=10)
    asked: list[int] = []

    for number in (2, 4, 6):
        await taker.until(lambda number=number: items.asked >= number)  # type: ignore[misc]
        await asyncio.sleep(SOON)
        asked.append(items.asked)
        taker.source.take()
        taker.source.resume()

    assert [2, 4, 6] == asked
    await close_source(taker.source)


@KINDS
async def test_one_that_is_stopped_closes_its_items_and_keeps_its_blocks(kind: str) -> None:
    items = Items(kind, "a", "b", "c")
    taker = Taker(items(), limit=10)
    await taker.until(lambda: items.asked == 2)

    await close_source(taker.source)

    assert (2, 1, None) == (items.asked, items.closed, taker.source.error)
    assert b"data: a\n\ndata: b\n\n" == taker.source.take()


@KINDS
async def test_an_error_of_the_items_is_kept_after_the_blocks_before_it(kind: str) -> None:
    items = Items(kind, "a", OSError("broken"), "b")
    taker = Taker(items())

    found = await taker.all()

    assert (b"data: a\n\n", "broken") == (found, str(taker.source.error))
    assert 1 == items.closed


@KINDS
async def test_an_item_that_cannot_be_written_is_an_error(kind: str) -> None:
    taker = Taker(Items(kind, "a", 7)())

    assert b"data: a\n\n" == await taker.all()
    assert isinstance(taker.source.error, TypeError)


@KINDS
async def test_one_that_is_stopped_before_it_begins_closes_items_that_were_begun(kind: str) -> None:
    items = Items(kind, "a", "b")
    begun = items()
    if kind == "task":
        await anext(begun)
    else:
        next(begun)
    taker = Taker(begun)

    await close_source(taker.source)

    assert (1, True, None) == (items.closed, taker.source.over, taker.source.error)


async def test_items_that_are_being_closed_are_not_cancelled() -> None:
    closing, go_on = asyncio.Event(), asyncio.Event()
    closed: list[str] = []

    async def items() -> AsyncIterator[int]:
        try:
            yield 7  # which cannot be written, so they are closed
        finally:
            closing.set()
            await go_on.wait()
            closed.append("in peace")

    taker = Taker(items())
    await closing.wait()
    taker.source.stop()
    await asyncio.sleep(SOON)
    go_on.set()
    await close_source(taker.source)

    assert ["in peace"] == closed


async def test_a_thread_that_closes_its_items_is_waited_for() -> None:
    closing, go_on = threading.Event(), threading.Event()

    def items() -> Iterator[str]:
        try:
            yield "a"
        finally:
            closing.set()
            go_on.wait()

    taker = Taker(items(), limit=1)
    await taker.until(lambda: taker.source._size > 0)
    taker.source.stop()
    await taker.until(closing.is_set)
    taker.source.abandon()
    before = taker.source.closed.done()
    go_on.set()
    await close_source(taker.source)

    assert (False, False) == (before, taker.source.left_behind)


class TestWithoutAFreeThread:
    """All threads are taken by one iterator that blocks."""

    @pytest.fixture(autouse=True)
    async def taken(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Items]:
        monkeypatch.setattr(_threads, "MAX_THREADS", 1)
        monkeypatch.setattr(_bridge, "threads", _threads.Threads())
        blocking = Items("thread", endless=True)
        taker = Taker(blocking())
        yield blocking
        blocking.release.set()
        await close_source(taker.source)

    async def test_a_source_that_waits_for_one_is_closed_at_once(self) -> None:
        items = Items("thread", "a")
        begun = items()
        next(begun)
        taker = Taker(begun)

        await close_source(taker.source)

        assert (1, 1, False) == (items.asked, items.closed, taker.source.left_behind)

    async def test_a_step_that_waits_for_one_is_withdrawn(self, taken: Items) -> None:
        items = Items("thread", "a")
        consumer = asyncio.create_task(anext(in_thread(items())))
        await asyncio.sleep(SOON)

        consumer.cancel()
        await asyncio.sleep(0)
        taken.release.set()
        with pytest.raises(asyncio.CancelledError):
            await consumer
        await asyncio.sleep(SOON)

        assert 0 == items.asked


async def test_a_step_that_blocks_is_left_behind_and_closed_when_it_returns() -> None:
    items = Items("thread", "a", endless=True)
    taker = Taker(items())
    await taker.until(lambda: taker.source._size > 0)

    await close_source(taker.source)
    left = taker.source.left_behind, items.closed
    items.release.set()
    await taker.until(lambda: taker.source.over)

    assert (True, 0) == left
    assert (False, 1) == (taker.source.left_behind, items.closed)


class TestAlarm:
    async def test_a_ring_ends_the_wait(self) -> None:
        alarm = Alarm(NEVER)
        asyncio.get_running_loop().call_soon(alarm.ring)

        assert await alarm.wait()
        alarm.cancel()

    async def test_a_ring_before_the_wait_is_not_lost(self) -> None:
        alarm = Alarm(NEVER)
        alarm.ring()

        assert await alarm.wait()

    async def test_silence_for_the_interval_ends_it_too(self) -> None:
        alarm = Alarm(SOON)
        began = asyncio.get_running_loop().time()

        assert not await alarm.wait()
        assert SOON <= asyncio.get_running_loop().time() - began + 0.001

    async def test_the_interval_counts_from_the_beginning_of_each_wait(self) -> None:
        loop = asyncio.get_running_loop()
        alarm = Alarm(0.1)
        loop.call_later(0.06, alarm.ring)

        assert await alarm.wait()
        began = loop.time()
        assert not await alarm.wait()
        assert 0.099 <= loop.time() - began
