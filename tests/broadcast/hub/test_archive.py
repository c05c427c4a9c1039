"""Readers that come back from before the history, over a store that is an archive."""

from __future__ import annotations

import asyncio
import statistics
import tracemalloc
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from support import hubs
from support.driver import Sends, Stream, turns
from support.stores import ArchivedStore

from fastsse import Event
from fastsse.broadcast import Hub
from fastsse.broadcast.hub.archive import PAGE
from fastsse.broadcast.hub.pace import Pace
from fastsse.broadcast.stores import Page


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of a few small entries."""
    monkeypatch.setattr("fastsse.broadcast.hub.archive.PAGE", 100)


def started(
    store: ArchivedStore, sends: Sends = "granian", **knobs: Any
) -> AbstractAsyncContextManager[Hub]:
    return hubs.started(sends, store, **{"history_events": 10, **knobs})


def follow(
    hub: Hub, *topics: str, sends: Sends = "granian", last: str | None = None, **options: Any
) -> AbstractAsyncContextManager[Stream]:
    return hubs.follow(hub, *topics, sends=sends, **{"last_event_id": last, **options})


def filled(count: int, *topics: str) -> ArchivedStore:
    """Fill an archive with numbered entries; each has the next of the topics."""
    store = ArchivedStore()
    topics = topics or ("a",)
    for n in range(1, count + 1):
        store.add(topics[n % len(topics)], f"data: {n}\n\n".encode())
    return store


def numbers(start: int, end: int) -> list[str]:
    return [str(n) for n in range(start, end + 1)]


def shown(events: list[Event]) -> list[str | tuple[str, str, str]]:
    """Return the data of events; of a gap where it begins, where it ends, and why."""
    gaps = [event.json() if event.event == "gap" else {} for event in events]
    return [
        (gap["from"], gap["to"], gap["reason"]) if gap else event.data
        for event, gap in zip(events, gaps, strict=True)
    ]


@pytest.mark.usefixtures("pages")
class TestSeam:
    """No event is lost and none comes twice where the archive ends and the history begins."""

    async def test_a_late_reader_gets_everything_and_then_is_live(self, sends: Sends) -> None:
        store = filled(500)
        async with (
            started(store, sends) as hub,
            follow(hub, "a", sends=sends, last="log-0") as late,
        ):
            events = await late.events(500)
            await hub.publish("a", "live")

            assert numbers(1, 500) == shown(events)
            assert [f"log-{n}" for n in range(1, 501)] == [event.id for event in events]
            assert ["live"] == shown(await late.events(1))
            assert not hub.stats.gaps

    @pytest.mark.parametrize("start", [488, 489, 490, 491, 499, 500])
    async def test_at_every_place_around_the_floor(self, sends: Sends, start: int) -> None:
        store = filled(500)
        async with started(store, sends) as hub:
            async with follow(hub, "a", sends=sends, last=f"log-{start}") as late:
                await hub.publish("a", "501")

                assert numbers(start + 1, 501) == shown(await late.events(501 - start))
        assert start >= 490 or "read" in store.calls

    async def test_events_that_are_published_and_trimmed_meanwhile_come_once(
        self, sends: Sends
    ) -> None:
        store = filled(100)
        store.reading = lambda after, _: [
            store.add("a", f"data: {store.head + 1}\n\n".encode())
            for _ in range(7 if after < 300 else 0)
        ]
        async with (
            started(store, sends) as hub,
            follow(hub, "a", sends=sends, last="log-0") as late,
        ):
            events = await late.events(300)
            events += await late.events(store.head - 300)
            await hub.publish("a", "live")

            assert [*numbers(1, store.head - 1), "live"] == shown([*events, *await late.events(1)])

    async def test_topics_with_different_floors_come_in_one_order(self, sends: Sends) -> None:
        store = ArchivedStore()
        for n in range(1, 401):
            topics = ("quiet",) if n % 50 == 0 else ("a", "b") if n % 3 == 0 else ("a",)
            store.add(topics, f"data: {n}\n\n".encode())
        async with started(store, sends) as hub:
            async with follow(hub, "a", "b", "quiet", sends=sends, last="log-20") as late:
                assert numbers(21, 400) == shown(await late.events(380))
            async with follow(hub, "quiet", sends=sends, last="log-20") as late:
                assert numbers(50, 400)[::50] == shown(await late.events(8))

    async def test_filters_and_labels_apply(self, sends: Sends) -> None:
        store = filled(300, "a", "b")
        async with started(store, sends) as hub:
            options = {"labels": True, "filter": lambda event, _: event.data.endswith("0")}
            async with follow(hub, "a", "b", sends=sends, last="log-0", **options) as late:
                await late.block()
                block = await late.block()
                events = await late.events(29)

        assert b': topics ["a"]\nid: log-10\ndata: 10\n\n' == block
        assert numbers(20, 300)[::10] == shown(events)

    async def test_pages_without_an_event_bring_the_reader_on(self, sends: Sends) -> None:
        store = filled(300)
        store.scan = 7
        store.add("rare", b"data: rare\n\n")
        for _ in range(100):
            store.add("a")
        async with started(store, sends, history_events=0) as hub:
            async with follow(hub, "rare", sends=sends, last="log-0") as late:
                await hub.publish("rare", "live")
                assert ["rare"] == shown(await late.events(1))
        assert 40 < store.calls["read"]

    async def test_a_stream_gets_heartbeats_while_no_page_has_an_event_for_it(
        self, sends: Sends
    ) -> None:
        class Slow(ArchivedStore):
            async def read(self, *given: Any) -> Any:
                await asyncio.sleep(0.01)
                return await super().read(*given)

        store = Slow()
        store.scan = 10
        for _ in range(200):
            store.add("a")
        store.add("rare", b"data: rare\n\n")
        async with started(store, sends, history_events=0, heartbeat=0.05) as hub:
            async with follow(hub, "rare", sends=sends, last="log-0") as late:
                await late.block()
                blocks = [await late.block() for _ in range(3)]

        assert b":\n\n" in blocks

    async def test_a_filter_that_raises_ends_the_stream_and_tells_no_gap(
        self, sends: Sends
    ) -> None:
        async with started(filled(100), sends) as hub:
            options = {"filter": lambda event, _: 1 / (int(event.data) - 20) < 2}
            async with follow(hub, "a", sends=sends, last="log-0", **options) as late:
                body = await late.rest()

        assert b"event: gap" not in body
        assert body.endswith(b": filter\n\n")
        assert 1 == hub.stats.ended["filter"]

    async def test_earliest_is_everything_that_the_log_holds(self, sends: Sends) -> None:
        store = filled(300)
        store.trim(100)
        async with started(store, sends) as hub:
            async with follow(hub, "a", sends=sends, last="earliest") as late:
                assert numbers(101, 300) == shown(await late.events(200))

    async def test_a_blocked_reader_that_falls_past_the_history_loses_nothing(
        self, sends: Sends
    ) -> None:
        store = ArchivedStore()
        async with (
            started(store, sends, lag_events=10**6) as hub,
            follow(hub, "a", sends=sends) as slow,
        ):
            await slow.block()
            slow.stall()
            for n in range(1, 101):
                await hub.publish("a", str(n))
                await asyncio.sleep(0)
            await slow.blocked()

            slow.resume()

            assert numbers(1, 100) == shown(await slow.events(100))
            assert not hub.stats.gaps


@pytest.mark.usefixtures("pages")
class TestTrimmed:
    async def test_what_is_gone_from_the_archive_is_a_gap_of_just_that(self, sends: Sends) -> None:
        store = filled(300)
        store.trim(100)
        async with started(store, sends) as hub:
            async with follow(hub, "a", sends=sends, last="log-20") as late:
                events = await late.events(201)

        assert [("log-20", "log-100", "trimmed"), *numbers(101, 300)] == shown(events)
        assert "log-100" == events[0].id

    async def test_trimming_under_a_reader_is_a_gap_of_just_that(self, sends: Sends) -> None:
        store = filled(300)
        store.reading = lambda after, _: store.trim(200) if after > 100 else None
        async with started(store, sends) as hub:
            async with follow(hub, "a", sends=sends, last="log-0") as late:
                events = shown(await late.events(200))
                gap = next(event for event in events if isinstance(event, tuple))
                place = events.index(gap)
                events += shown(await late.events(place + 101 - 200))

        assert 100 < place < 200
        assert (f"log-{place}", "log-200", "trimmed") == gap
        assert [*numbers(1, place), gap, *numbers(201, 300)] == events

    async def test_a_log_that_is_trimmed_further_than_the_history_loses_no_more_than_that(
        self, sends: Sends
    ) -> None:
        store = filled(300)
        async with started(store, sends) as hub:
            store.trim(295)
            async with follow(hub, "a", sends=sends, last="log-20") as late:
                events = shown(await late.events(11))

        assert [("log-20", "log-290", "trimmed"), *numbers(291, 300)] == events

    async def test_an_archive_fills_a_hole_of_the_history(self, sends: Sends) -> None:
        store = filled(3)
        async with started(store, sends) as hub, follow(hub, "a", sends=sends) as live:
            await live.block()
            store.hold()
            for n in range(4, 8):
                store.add("a", f"data: {n}\n\n".encode())
            store.skip(6)
            store.release()
            async with follow(hub, "a", sends=sends, last="log-1") as late:
                assert numbers(2, 7) == shown(await late.events(6))
            if sends in ("wrapped", "direct"):  # the stream's own task looks into the archive, too
                assert numbers(4, 7) == shown(await live.events(4))
            else:
                assert [("log-3", "log-6", "lost"), "7"] == shown(await live.events(2))


@pytest.mark.usefixtures("pages")
class TestSubscription:
    async def test_a_subscription_gets_everything_and_then_is_live(self) -> None:
        store = filled(500)
        async with started(store) as hub, hub.subscribe("a", last_event_id="log-0") as events:
            got = [await anext(events) for _ in range(500)]
            await hub.publish("a", "live")

            assert [*numbers(1, 500), "live"] == shown([*got, await anext(events)])
            assert "log-501" == events.last_event_id

    async def test_several_tasks_share_the_pages(self) -> None:
        async with started(filled(200)) as hub:
            async with hub.subscribe("a", last_event_id="log-0") as events:

                async def take() -> list[str]:
                    return [(await anext(events)).data for _ in range(50)]

                parts = await asyncio.gather(*[take() for _ in range(4)])

        assert sorted(numbers(1, 200)) == sorted(text for part in parts for text in part)

    async def test_a_failing_archive_is_the_consumers_error_and_can_be_tried_again(self) -> None:
        store = filled(50)
        async with started(store) as hub, hub.subscribe("a", last_event_id="log-0") as events:
            store.fails.add("read")
            with pytest.raises(OSError, match="read"):
                await anext(events)
            store.fails.clear()

            assert numbers(1, 50) == [(await anext(events)).data for _ in range(50)]


@pytest.mark.usefixtures("pages")
class TestFaults:
    async def test_a_failing_archive_ends_the_stream_whose_reader_comes_back_to_its_place(
        self, sends: Sends
    ) -> None:
        store = filled(100)
        store.reading = lambda after, _: store.fails.add("read") if after > 20 else None
        async with started(store, sends) as hub:
            async with follow(hub, "a", sends=sends, last="log-0") as late:
                body = await late.rest()
                complete = late.complete
            got = [line[6:] for line in body.decode().splitlines() if line.startswith("data: ")]
            store.fails.clear()
            store.reading = None
            async with follow(hub, "a", sends=sends, last=f"log-{got[-1]}") as again:
                rest = shown(await again.events(100 - len(got)))

            assert complete
            assert numbers(1, 100) == [*got, *rest]
            assert 1 == hub.stats.ended["archive"]

    async def test_a_page_that_ends_where_it_begins_ends_the_stream(self, sends: Sends) -> None:
        class Stuck(ArchivedStore):
            async def read(self, *given: Any) -> Any:
                page = await super().read(*given)
                return page._replace(end=given[1], entries=[])

        store = Stuck()
        for _ in range(50):
            store.add("a")
        async with started(store, sends) as hub:
            async with follow(hub, "a", sends=sends, last="log-0") as late:
                await late.ended()
            assert 1 == store.calls["read"]

    async def test_a_log_that_is_renewed_while_a_page_is_read_is_a_gap(self, sends: Sends) -> None:
        store = filled(100)
        store.reading = lambda after, _: store.renew(keep=50) if after > 20 else None
        async with started(store, sends) as hub:
            async with follow(hub, "a", sends=sends, last="log-0") as late:
                events = await late.events(1)
                while events[-1].event != "gap":
                    events += await late.events(1)
                await hub.publish("a", "new")
                events += await late.events(1)

        *got, gap, new = shown(events)
        assert numbers(1, len(got)) == got
        assert (f"log-{len(got)}", "log1-50", "restart") == gap
        assert "new" == new

    async def test_a_reader_in_an_earlier_log_gets_all_of_the_present_one(
        self, sends: Sends
    ) -> None:
        store = filled(3)
        async with started(store, sends, history_events=2) as hub:
            async with follow(hub, "a", sends=sends, last="log-0") as slow:
                await slow.events(3)
                slow.stall()
                for n in range(4, 30):
                    await hub.publish("a", str(n))
                    await asyncio.sleep(0)
                await slow.blocked()
                store.renew()
                for n in range(5):
                    store.add("a", f"data: new {n}\n\n".encode())

                slow.resume()

                events = await slow.events(1)
                while events[-1].data != "new 4":
                    events += await slow.events(1)
        *got, gap = shown(events[:-5])
        assert numbers(4, 3 + len(got)) == got
        assert (f"log-{3 + len(got)}", "log1-0", "restart") == gap
        assert [f"new {n}" for n in range(5)] == shown(events[-5:])

    async def test_a_page_of_a_log_that_was_not_reported_yet_is_dropped(self) -> None:
        store = filled(20)
        async with started(store) as hub:
            store.hold()
            store.renew()
            async with hub.subscribe("a", last_event_id="earliest") as events:
                with pytest.raises(OSError, match="log1"):
                    await anext(events)
                store.release()
                store.add("a", b"data: new\n\n")

                assert [("log-0", "log1-0", "restart"), "new"] == shown(
                    [await anext(events), await anext(events)]
                )

    async def test_a_subscription_that_ends_with_the_hub_names_what_it_did_not_get(self) -> None:
        store = filled(20)
        async with started(store) as hub:
            events = hub.subscribe("a", last_event_id="log-5")
        got = [event async for event in events]

        assert [("log-5", "log-10", "trimmed"), *numbers(11, 20)] == shown(got)


class TestBounds:
    async def test_no_page_is_read_ahead_of_a_reader_that_does_not_read(self, sends: Sends) -> None:
        store = filled(20_000)
        async with (
            started(store, sends) as hub,
            follow(hub, "a", sends=sends, last="log-0") as slow,
        ):
            await slow.block()
            slow.stall()
            await slow.blocked()
            await turns(50)
            reads = store.calls["read"]
            await turns(200)

            assert reads == store.calls["read"] < 20
            slow.resume()
            assert numbers(1, 20_000) == shown(await slow.events(20_000))

    @pytest.mark.usefixtures("pages")
    async def test_a_slow_store_is_not_taken_for_a_busy_loop(
        self, sends: Sends, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counted: list[float] = []
        rest_after = Pace.rest_after

        def count(pace: Pace, spent: float) -> float:
            counted.append(spent)
            return rest_after(pace, spent)

        class SlowStore(ArchivedStore):
            async def read(self, *where: Any) -> Page:
                await asyncio.sleep(0.05)
                return await super().read(*where)

        monkeypatch.setattr(Pace, "rest_after", count)
        store = SlowStore()
        for n in range(1, 201):
            store.add("a", b"data: %d\n\n" % n)
        async with started(store, sends) as hub:
            async with follow(hub, "a", sends=sends, last="log-0") as late:
                await late.events(200)

        assert len(counted) > 5
        assert statistics.median(counted) < 0.03

    async def test_memory_does_not_grow_with_how_late_a_reader_is(self) -> None:
        store = filled(30_000)
        async with started(store) as hub:
            async with hub.subscribe("a", last_event_id="log-0") as events:
                await anext(events)
                tracemalloc.start()
                try:
                    for n in range(2, 30_001):
                        assert str(n) == (await anext(events)).data
                    _, peak = tracemalloc.get_traced_memory()
                finally:
                    tracemalloc.stop()

        assert peak < 40 * PAGE
