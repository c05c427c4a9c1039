"""A hub over a store that trims, fails over, stalls, loses, repeats itself and is late."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from support import hubs
from support.driver import Sends, Stream, turns
from support.stores import ScriptedStore

from fastsse import Event, InvalidField
from fastsse.broadcast import Hub, KeyReused, Log, Settings, StoreUnusable

QUIET = {"heartbeat": 0.0, "lifetime": 0.0, "retry": 2000}


def started(
    store: ScriptedStore, sends: Sends = "granian", **knobs: Any
) -> AbstractAsyncContextManager[Hub]:
    return hubs.started(sends, store, **knobs)


def follow(
    hub: Hub, *topics: str, sends: Sends = "granian", last: str | None = None, **options: Any
) -> AbstractAsyncContextManager[Stream]:
    return hubs.follow(hub, *topics, sends=sends, **{"last_event_id": last, **options})


def shown(events: list[Event]) -> list[str | tuple[str, str, str]]:
    """Return the data of events; of a gap where it begins, where it ends, and why."""
    gaps = [event.json() if event.event == "gap" else {} for event in events]
    return [
        (gap["from"], gap["to"], gap["reason"]) if gap else event.data
        for event, gap in zip(events, gaps, strict=True)
    ]


def text(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


class TestEntries:
    async def test_the_entry_of_another_process_is_delivered(self, sends: Sends) -> None:
        store = ScriptedStore()
        async with started(store, sends) as hub, follow(hub, "a", sends=sends) as stream:
            await stream.block()

            store.add("a", text("from elsewhere"))
            receipt = await hub.publish("a", "from here")

            events = await stream.events(2)
            assert ["from elsewhere", "from here"] == shown(events)
            assert ["log-1", receipt.id] == [event.id for event in events]

    async def test_an_entry_that_is_reported_again_is_delivered_once(self, sends: Sends) -> None:
        store = ScriptedStore()
        async with started(store, sends) as hub, follow(hub, "a", sends=sends) as stream:
            await stream.block()
            for n in range(3):
                await hub.publish("a", str(n))

            store.repeat(3)
            await hub.publish("a", "3")
            store.repeat(1)

            assert ["0", "1", "2", "3"] == shown(await stream.events(4))
            await turns()
            assert b"" == stream.unread
            async with follow(hub, "a", sends=sends, last="log-0") as late:
                assert ["0", "1", "2", "3"] == shown(await late.events(4))

    async def test_an_entry_that_is_reported_later_than_its_append_returns_is_delivered_then(
        self, sends: Sends
    ) -> None:
        store = ScriptedStore()
        async with started(store, sends) as hub, follow(hub, "a", sends=sends) as stream:
            await stream.block()
            store.hold()

            ids = [(await hub.publish("a", str(n))).id for n in range(2)]
            await turns()
            before = stream.unread
            store.release()

            assert (b"", ids) == (before, [event.id for event in await stream.events(2)])

    async def test_an_append_that_returns_later_than_its_report_says_the_same_id(
        self, sends: Sends
    ) -> None:
        store = ScriptedStore()
        async with started(store, sends) as hub, follow(hub, "a", sends=sends) as stream:
            await stream.block()
            store.hold_appends()

            publishing = asyncio.create_task(hub.publish("a", "x"))
            [event] = await stream.events(1)
            waits = not publishing.done()
            store.release_appends()

            assert waits
            assert event.id == (await publishing).id


class TestTrimmed:
    """A log that does not begin at its first entry."""

    async def test_a_reader_from_before_the_log_is_told_exactly_what_is_gone(self) -> None:
        store = ScriptedStore()
        for n in range(1, 11):
            store.add("a", text(str(n)))
        store.trim(6)
        async with started(store) as hub:
            async with follow(hub, "a", last="log-2") as stream:
                assert [("log-2", "log-6", "trimmed"), "7", "8", "9", "10"] == shown(
                    await stream.events(5)
                )
            async with follow(hub, "a", last="log-6") as stream:
                assert ["7", "8", "9", "10"] == shown(await stream.events(4))

    async def test_a_start_reads_no_more_of_a_log_than_can_be_kept(self) -> None:
        store = ScriptedStore()
        for n in range(1, 1001):
            store.add("a", text(str(n)))
        async with started(store, history_total=50 * 166) as hub:
            kept = hub.history.most
            async with follow(hub, "a", last="log-2") as stream:
                [gap] = await stream.events(1)

        assert 50 == kept
        assert "log-2" == gap.json()["from"]
        assert 1000 - kept <= int(gap.json()["to"].removeprefix("log-")) < 1000

    async def test_a_log_without_an_entry_left_goes_on_after_its_head(self) -> None:
        store = ScriptedStore()
        for _ in range(3):
            store.add("a")
        store.trim(3)
        async with started(store) as hub, follow(hub, "a", last="log-1") as stream:
            receipt = await hub.publish("a", "x")

            assert [("log-1", "log-3", "trimmed"), "x"] == shown(await stream.events(2))
            assert ("log-4", 4) == (receipt.id, hub.health()["head"])

    async def test_the_same_log_resumes_exactly_when_the_hub_is_started_again(self) -> None:
        store = ScriptedStore()
        hub = Hub(Settings(**QUIET, history_events=100), store)
        async with hub:
            for n in range(3):
                await hub.publish("a", str(n))
        store.add("a", text("meanwhile"))
        async with hub, follow(hub, "a", last="log-1") as stream:
            assert ["1", "2", "meanwhile"] == shown(await stream.events(3))

    async def test_what_was_trimmed_between_two_starts_is_a_gap_in_its_place(self) -> None:
        store = ScriptedStore()
        hub = Hub(Settings(**QUIET), store)
        async with hub:
            for n in range(3):
                await hub.publish("a", str(n))
        for _ in range(4):
            store.add("a", text("unread"))
        store.trim(6)
        async with hub, follow(hub, "a", last="log-1") as stream:
            assert ["1", "2", ("log-3", "log-6", "lost"), "unread"] == shown(await stream.events(4))


class TestLost:
    """Entries that the store could not read any more."""

    async def test_a_live_reader_is_told_of_exactly_what_was_lost(self, sends: Sends) -> None:
        store = ScriptedStore()
        async with (
            started(store, sends) as hub,
            follow(hub, "a", "b", sends=sends) as stream,
            follow(hub, "c", sends=sends, labels=True) as other,
        ):
            await stream.block()
            await other.block()
            await hub.publish("a", "before")
            store.hold()
            for _ in range(3):
                store.add("a", text("unread"))
            store.lose(4)
            store.release()
            await hub.publish(("a", "c"), "after")

            events = await stream.events(3)
            assert ["before", ("log-1", "log-4", "lost"), "after"] == shown(events)
            assert ["log-1", "log-4", "log-5"] == [event.id for event in events]
            assert ["a", "b"] == events[1].json()["topics"]
            assert [("log-1", "log-4", "lost"), "after"] == shown(await other.events(2))
            assert hub.stats.gaps["lost"]

    async def test_a_gap_has_no_label(self) -> None:
        store = ScriptedStore()
        async with started(store) as hub, follow(hub, "a", labels=True) as stream:
            await stream.block()
            store.hold()
            store.add("a")
            store.lose(1)
            store.release()

            assert b": topics" not in await stream.block()

    async def test_a_reader_that_comes_back_gets_what_is_kept_and_the_gap_in_its_place(
        self, sends: Sends
    ) -> None:
        store = ScriptedStore()
        async with started(store, sends) as hub:
            for n in range(3):
                await hub.publish("a", str(n))
            store.hold()
            store.add("b")
            store.lose(4)
            store.release()
            await hub.publish("a", "after")

            async with follow(hub, "a", sends=sends, last="log-1") as stream:
                events = await stream.events(4)
            async with follow(hub, "a", sends=sends, last=events[1].id) as again:
                rest = await again.events(2)
            async with follow(hub, "a", sends=sends, last=events[2].id) as past:
                last = await past.events(1)

        assert ["1", "2", ("log-3", "log-4", "lost"), "after"] == shown(events)
        assert events[2:] == rest
        assert events[3:] == last

    async def test_a_blocked_reader_gets_its_events_before_and_after_the_gap(
        self, sends: Sends
    ) -> None:
        store = ScriptedStore()
        async with started(store, sends) as hub, follow(hub, "a", sends=sends) as slow:
            await slow.block()
            slow.stall()
            for n in range(20):
                await hub.publish("a", str(n))
                await asyncio.sleep(0)
            await slow.blocked()
            store.hold()
            store.add("a")
            store.lose(21)
            store.release()
            await hub.publish("a", "after")

            slow.resume()

            events = await slow.events(22)
            assert [*map(str, range(20)), ("log-20", "log-21", "lost"), "after"] == shown(events)
            await hub.publish("a", "live")
            assert ["live"] == shown(await slow.events(1))

    async def test_a_subscription_is_told_too(self) -> None:
        store = ScriptedStore()
        async with started(store) as hub, hub.subscribe("a") as events:
            await hub.publish("a", "before")
            store.hold()
            store.add("a")
            store.lose(2)
            store.release()
            await hub.publish("a", "after")

            got = [await anext(events) for _ in range(3)]

            assert ["before", ("log-1", "log-2", "lost"), "after"] == shown(got)
            assert "log-3" == events.last_event_id

    async def test_who_comes_after_a_loss_is_told_of_nothing(self, sends: Sends) -> None:
        store = ScriptedStore()
        async with started(store, sends) as hub:
            await hub.publish("a", "before")
            store.hold()
            store.add("a")
            store.lose(2)
            store.release()
            async with follow(hub, "a", sends=sends) as stream:
                assert b"id: log-2" in await stream.block()
                await hub.publish("a", "after")
                assert ["after"] == shown(await stream.events(1))


class TestRenewed:
    """A store whose engine has failed over to another log."""

    @pytest.mark.parametrize("keep", [0, 2])
    async def test_a_live_reader_is_told_and_goes_on_with_the_new_ids(
        self, sends: Sends, keep: int
    ) -> None:
        store = ScriptedStore()
        async with started(store, sends) as hub, follow(hub, "a", sends=sends) as stream:
            await stream.block()
            for n in range(5):
                await hub.publish("a", str(n))
            old = await stream.events(5)

            store.renew(keep=keep)
            ids = [(await hub.publish("a", f"new {n}")).id for n in range(2)]

            events = await stream.events(3)
            gap = ("log-5", f"log1-{keep}", "restart")
            assert [*map(str, range(5)), gap, "new 0", "new 1"] == shown([*old, *events])
            assert [f"log1-{keep}", *ids] == [event.id for event in events]
            assert [f"log1-{keep + 1}", f"log1-{keep + 2}"] == ids
            assert ["a"] == events[0].json()["topics"]

    async def test_the_history_is_forgotten(self, sends: Sends) -> None:
        store = ScriptedStore()
        async with started(store, sends) as hub:
            for n in range(5):
                await hub.publish("a", str(n))
            store.renew(keep=2)
            await hub.publish("a", "new")

            async with follow(hub, "a", sends=sends, last="log-1") as old:
                assert [("log-1", "log1-2", "restart"), "new"] == shown(await old.events(2))
            async with follow(hub, "a", sends=sends, last="log1-2") as resumed:
                assert ["new"] == shown(await resumed.events(1))
            async with follow(hub, "a", sends=sends, last="log1-1") as before:
                assert [("log1-1", "log1-2", "trimmed"), "new"] == shown(await before.events(2))
            async with follow(hub, "a", sends=sends, last="log1-9") as ahead:
                assert [("log1-9", "log1-2", "unknown"), "new"] == shown(await ahead.events(2))
            assert ("log1", 3) == (hub.health()["epoch"], hub.health()["head"])

    async def test_a_blocked_reader_is_told_from_where_it_stands(self, sends: Sends) -> None:
        store = ScriptedStore()
        async with started(store, sends) as hub, follow(hub, "a", sends=sends) as slow:
            await slow.block()
            slow.stall()
            for n in range(20):
                await hub.publish("a", str(n))
                await asyncio.sleep(0)
            await slow.blocked()

            store.renew()
            await hub.publish("a", "new")
            slow.resume()

            events = await slow.events(1)
            while events[-1].data != "new":
                events += await slow.events(1)
            *got, gap, new = shown(events)
            assert [str(n) for n in range(len(got))] == got
            assert (f"log-{len(got)}", "log1-0", "restart") == gap
            assert ("new", "log1-1") == (new, events[-1].id)

    async def test_logs_with_huge_numbers_may_be_renewed_again_and_again(self) -> None:
        store = ScriptedStore(first=2**61)
        async with started(store) as hub, follow(hub, "a") as stream:
            await stream.block()
            await hub.publish("a", "0")
            [last] = await stream.events(1)
            for n in range(1, 5):
                store.renew()
                store.restart_at(2**61)
                await hub.publish("a", str(n))

                events = await stream.events(2)
                assert [(last.id, f"log{n}-0", "restart"), str(n)] == shown(events)
                assert f"log{n}-{2**61}" == events[1].id
                last = events[1]

    async def test_entries_that_a_new_log_has_lost_at_once_are_all_named(
        self, sends: Sends
    ) -> None:
        store = ScriptedStore()
        async with started(store, sends) as hub, follow(hub, "a", sends=sends) as stream:
            await stream.block()
            await hub.publish("a", "old")
            old = await stream.events(1)
            store.renew()
            store.hold()
            for _ in range(5):
                store.add("a")
            store.lose(5)
            store.release()
            await hub.publish("a", "new")

            events = await stream.events(1)
            while events[-1].data != "new":
                events += await stream.events(1)

        *gaps, new = shown([*old, *events])[1:]
        assert "new" == new
        assert ("log-1", "log1-5") == (gaps[0][0], gaps[-1][1])
        assert [gap[0] for gap in gaps[1:]] == [gap[1] for gap in gaps[:-1]]

    async def test_a_subscription_is_told_too(self) -> None:
        store = ScriptedStore()
        async with started(store) as hub, hub.subscribe("a") as events:
            await hub.publish("a", "before")
            first = await anext(events)
            store.renew()
            await hub.publish("a", "after")

            got = [first, *[await anext(events) for _ in range(2)]]

            assert ["before", ("log-1", "log1-0", "restart"), "after"] == shown(got)
            assert "log1-1" == events.last_event_id


class TestStalled:
    async def test_streams_stay_and_the_health_says_so(self, sends: Sends) -> None:
        store = ScriptedStore()
        async with started(store, sends) as hub, follow(hub, "a", sends=sends) as stream:
            await stream.block()
            before = hub.health()["stalled"]

            store.stall()
            stalled = hub.health()["stalled"]
            with pytest.raises(OSError, match="reached"):
                await hub.publish("a", "x")
            store.add("a", text("meanwhile"))
            store.recover()

            assert ["meanwhile"] == shown(await stream.events(1))
            assert before is None
            assert isinstance(stalled, float)
            assert stalled >= 0.0
            assert hub.health()["stalled"] is None


class TestWaiting:
    async def test_a_start_waits_for_a_store_that_cannot_be_reached_yet(self) -> None:
        store = ScriptedStore()
        store.fails.add("open")
        asyncio.get_running_loop().call_later(0.15, store.fails.clear)

        async with started(store, store_wait=60.0) as hub:
            await hub.publish("a", "x")

        assert 1 < store.calls["open"]

    async def test_a_start_without_patience_fails_at_once(self) -> None:
        store = ScriptedStore()
        store.fails.add("open")

        with pytest.raises(OSError, match="open fails"):
            await Hub(Settings(), store).start()

        assert 1 == store.calls["open"]

    async def test_a_start_fails_when_its_patience_is_over_and_may_be_tried_again(self) -> None:
        store = ScriptedStore()
        store.fails.add("open")
        hub = Hub(Settings(store_wait=0.01), store)

        with pytest.raises(OSError, match="open fails"):
            await hub.start()
        store.fails.clear()
        await hub.start()

        assert hub.started
        await hub.stop()

    async def test_no_start_waits_for_what_waiting_does_not_mend(self) -> None:
        class Damaged(ScriptedStore):
            async def open(self) -> Log:
                self._called("open")
                raise StoreUnusable("damaged")

        store = Damaged()

        with pytest.raises(StoreUnusable, match="damaged"):
            await Hub(Settings(store_wait=60.0), store).start()

        assert 1 == store.calls["open"]


class TestKeys:
    async def test_a_key_publishes_its_event_once(self, sends: Sends) -> None:
        async with (
            started(ScriptedStore(), sends) as hub,
            follow(hub, "a", sends=sends) as stream,
        ):
            await stream.block()

            ids = [(await hub.publish("a", "x", key="k")).id for _ in range(3)]
            await hub.publish("a", "y")

            assert ["x", "y"] == shown(await stream.events(2))
            assert 1 == len(set(ids))

    async def test_a_key_of_another_event_is_refused(self) -> None:
        async with started(ScriptedStore()) as hub:
            await hub.publish("a", "x", key="k")

            with pytest.raises(KeyReused):
                await hub.publish("a", "y", key="k")

    @pytest.mark.parametrize("key", ["", "k" * 257, "é" * 129])
    async def test_a_key_has_its_bounds(self, key: str) -> None:
        async with Hub(Settings(**QUIET)) as hub:
            with pytest.raises(InvalidField, match=r"key.*1 to 256 bytes"):
                await hub.publish("a", "x", key=key)

            assert {"key": 1} == dict(hub.stats.events_refused)


class SharedStore(ScriptedStore):
    """A store whose log other processes append to, too."""

    shared = True


class TestReadersOfOtherProcesses:
    """A reader may come from a process that the store has told more than this one."""

    async def test_a_reader_that_is_ahead_waits_for_the_store(self, sends: Sends) -> None:
        store = SharedStore()
        async with started(store, sends) as hub:
            store.add("a", text("had"))
            store.hold()
            for n in range(3):
                store.add("a", text(str(n)))
            asyncio.get_running_loop().call_later(0.05, store.release)
            async with follow(hub, "a", sends=sends, last="log-3") as stream:
                assert b"id: log-3\n" in await stream.block()
                assert ["2"] == shown(await stream.events(1))

    async def test_a_reader_of_a_log_that_this_process_was_not_told_of_yet_waits(
        self, sends: Sends
    ) -> None:
        store = SharedStore()
        async with started(store, sends) as hub:
            store.add("a", text("old"))
            store.hold()
            epoch = store.renew()
            store.add("a", text("had"))
            store.add("a", text("new"))
            asyncio.get_running_loop().call_later(0.05, store.release)
            async with follow(hub, "a", sends=sends, last=f"{epoch}-1") as stream:
                assert f"id: {epoch}-1\n".encode() in await stream.block()
                assert ["new"] == shown(await stream.events(1))

    @pytest.mark.parametrize("last", ["log-9", "other-1"])
    async def test_nobody_waits_for_ever(
        self, sends: Sends, last: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fastsse.broadcast.hub.fanout._HEARING", 0.05)
        async with started(SharedStore(), sends) as hub:
            await hub.publish("a", "x")
            async with follow(hub, "a", sends=sends, last=last) as stream:
                gap, event = await stream.events(2)

                assert (last, "x") == (gap.json()["from"], event.data)

    @pytest.mark.parametrize("last", ["log-0", "log-1", "nonsense", "earliest"])
    async def test_a_place_that_is_known_or_no_place_waits_for_nothing(
        self, sends: Sends, last: str
    ) -> None:
        async with started(SharedStore(), sends) as hub:
            await hub.publish("a", "x")

            assert not hub._fanout.places.may_come(last)  # type: ignore[union-attr]

    async def test_a_reader_that_waits_while_the_hub_drains_is_sent_back(
        self, sends: Sends
    ) -> None:
        async with started(SharedStore(), sends) as hub:
            await hub.publish("a", "x")
            asyncio.get_running_loop().call_later(0.05, hub.drain)
            async with follow(hub, "a", sends=sends, last="log-9") as stream:
                assert b"retry: 2000\n\n" == await stream.block()
