"""The hub over all three kinds of `send`: granian's, a coroutine, and one that only its own task may call."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import pytest
from support.driver import Ended, Sends, Stream, turns
from support.hubs import data, follow, opened, started

from fastsse import Event, InvalidField, decode
from fastsse.broadcast import Hub
from fastsse.broadcast.hub import delivery, joins
from fastsse.broadcast.hub.history import History


async def test_a_published_event_reaches_every_follower_with_its_id(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "news", sends=sends) as a:
        async with follow(hub, "news", sends=sends) as b, follow(hub, "else", sends=sends) as c:
            await opened(a)
            await opened(c)

            receipt = await hub.publish("news", "hello", event="greeting", retry=5)

            assert (("news",), 2) == (receipt.topics, receipt.subscribers)
            expected = [Event("hello", "greeting", receipt.id, 5)]
            assert expected == await a.events(1)
            assert expected == [Event("hello", "greeting", receipt.id, 5)]
            assert data(expected) == data(await b.events(1))
            await turns()
            assert b"" == c.unread


async def test_the_response_is_an_event_stream_that_nobody_may_buffer(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "a", sends=sends) as stream:
        assert 200 == stream.status
        assert "text/event-stream; charset=utf-8" == stream.headers["content-type"]
        assert "no-store, no-transform" == stream.headers["cache-control"]
        assert "no" == stream.headers["x-accel-buffering"]
        assert "?1" == stream.headers["incremental"]
        assert "connection" not in stream.headers


async def test_the_opening_block_is_the_position_so_nothing_is_missed_before_the_first_event() -> (
    None
):
    async with started() as hub:
        await hub.publish("a", "before")
        async with follow(hub, "a") as stream:
            last = await opened(stream)
        await hub.publish("a", "while away")

        async with follow(hub, "a", last_event_id=last) as stream:
            await opened(stream)
            assert ["while away"] == data(await stream.events(1))


async def test_publishes_of_one_turn_leave_in_one_chunk(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "a", sends=sends) as stream:
        await opened(stream)

        for number in range(5):
            await hub.publish("a", str(number))

        chunk = await stream.chunk()
        assert 5 == chunk.count(b"\n\n")


async def test_an_event_of_two_followed_topics_comes_once(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "a", "b", sends=sends) as stream:
        await opened(stream)

        receipt = await hub.publish(["b", "a", "b"], "x")
        await hub.publish("b", "y")

        assert (("a", "b"), 1) == (receipt.topics, receipt.subscribers)
        assert ["x", "y"] == data(await stream.events(2))


async def test_labels_name_the_topics_that_this_stream_follows(sends: Sends) -> None:
    async with (
        started(sends) as hub,
        follow(hub, "a", "é", sends=sends, labels=True) as labelled,
        follow(hub, "a", "é", sends=sends) as plain,
    ):
        await opened(labelled)
        await opened(plain)

        await hub.publish(["a", "secret", "é"], "x")

        block = await labelled.block()
        assert b': topics ["a","\\u00e9"]\n' + await plain.block() == block


async def test_a_reader_that_comes_back_gets_exactly_what_it_missed(sends: Sends) -> None:
    async with started(sends) as hub:
        async with follow(hub, "a", "b", sends=sends) as stream:
            await hub.publish("a", "1")
            [event] = await stream.events(1)
        await hub.publish("b", "2")
        await hub.publish("c", "not followed")
        await hub.publish("a", "3")

        async with follow(hub, "a", "b", sends=sends, last_event_id=event.id) as stream:
            assert ["2", "3"] == data(await stream.events(2))
            await hub.publish("a", "4")
            assert ["4"] == data(await stream.events(1))


async def test_earliest_is_all_that_is_kept_without_a_gap() -> None:
    async with started(history_events=2) as hub:
        for number in range(5):
            await hub.publish("a", str(number))
        await hub.publish("b", "b")

        async with follow(hub, "a", "b", last_event_id="earliest") as stream:
            assert ["3", "4", "b"] == data(await stream.events(3))


@pytest.mark.parametrize(
    ("last_event_id", "reason"),
    [
        ("deadbeef-3", "restart"),
        ("{epoch}-99", "unknown"),
        ("{epoch}-٣", "unknown"),
        ("what?", "unknown"),
        ("{epoch}-1\n", "unknown"),
        ("x" * 5000, "unknown"),
    ],
)
async def test_an_id_that_is_not_of_this_log_is_a_gap_and_then_what_is_kept(
    last_event_id: str, reason: str
) -> None:
    async with started() as hub:
        epoch = (await hub.publish("a", "kept")).id.partition("-")[0]
        given = last_event_id.replace("{epoch}", epoch)

        async with follow(hub, "a", last_event_id=given) as stream:
            assert "" == await opened(stream)
            gap, kept = await stream.events(2)

        assert "gap" == gap.event
        expected = {"from": given[:256], "to": f"{epoch}-0", "reason": reason, "topics": ["a"]}
        assert expected == json.loads(gap.data)
        assert (f"{epoch}-0", "kept") == (gap.id, kept.data)


async def test_a_gap_is_told_once_when_the_reader_comes_back_from_it() -> None:
    async with started() as hub:
        await hub.publish("a", "1")
        async with follow(hub, "a", last_event_id="old-1") as stream:
            [gap] = await stream.events(1)

        async with follow(hub, "a", last_event_id=gap.id) as stream:
            assert ["1"] == data(await stream.events(1))


async def test_events_that_are_no_longer_kept_are_a_gap_at_their_place() -> None:
    async with started(history_events=2) as hub:
        ids = [(await hub.publish("a", str(number))).id for number in range(5)]
        async with follow(hub, "a", last_event_id=ids[0]) as stream:
            gap, *kept = await stream.events(3)

        assert {"from": ids[0], "to": ids[2], "reason": "trimmed", "topics": ["a"]} == gap.json()
        assert ids[2] == gap.id
        assert ["3", "4"] == data(kept)


@pytest.mark.parametrize("cut", [None, 1, 5, 20])
async def test_a_gap_after_many_joins_of_another_topic_is_told_before_them(
    cut: int | None,
) -> None:
    """The id of what is kept moves past what was lost: told late, or after a cut, it would never be told."""
    async with started(history_events=50, history_bytes=10**7) as hub:
        quick: list[int] = []
        for number in range(75):
            receipt = await hub.publish("quick", "q")
            quick.append(int(receipt.id.partition("-")[2]))
            if number < 30:
                await hub.publish("big", "x" * 5000)
        epoch = receipt.id.partition("-")[0]
        await hub.publish(["quick", "big"], "last")

        got: list[Event] = []
        last = f"{epoch}-0"
        for count in (cut, None):
            async with follow(hub, "big", "quick", last_event_id=last) as stream:
                events = await stream.events(count or 1)
                while count is None and events[-1].data != "last":
                    events += await stream.events(1)
            got += events
            last = got[-1].id
            if got[-1].data == "last":
                break

        ids = [int(event.id.partition("-")[2]) for event in got if event.event != "gap"]
        gaps = [event.json() for event in got if event.event == "gap"]
        told = [[int(gap[end].partition("-")[2]) for end in ("from", "to")] for gap in gaps]
        lost = [place for place in quick if place not in ids]
        assert 26 == len(lost)
        assert [] == [place for place in lost if not any(a < place <= b for a, b in told)]
        assert ids == sorted(set(ids))


async def test_the_gap_of_a_restart_reaches_to_the_floor_of_every_topic() -> None:
    async with started(history_events=1) as hub:
        await hub.publish("b", "kept")
        for number in range(3):
            await hub.publish("a", str(number))

        async with follow(hub, "a", "b", last_event_id="old-1") as stream:
            first, gap, *kept = await stream.events(4)

        epoch = gap.id.partition("-")[0]
        assert ("", f"{epoch}-0", ["b"]) == (first.id, first.json()["to"], first.json()["topics"])
        assert (f"{epoch}-0", f"{epoch}-3") == (gap.id, gap.json()["to"])
        assert ["kept", "2"] == data(kept)


async def test_a_blocked_reader_gets_everything_in_order_once_it_reads_again(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "a", sends=sends) as slow:
        async with follow(hub, "a", sends=sends) as quick:
            await opened(slow)
            slow.stall()
            numbers = [str(number) for number in range(200)]
            for number in numbers:
                await hub.publish("a", number)
                await asyncio.sleep(0)
            assert numbers == data(await quick.events(200))
            await slow.blocked()

            slow.resume()

            assert numbers == data(await slow.events(200))
            await hub.publish("a", "live again")
            assert ["live again"] == data(await slow.events(1))


async def test_a_pass_in_steps_reaches_everybody_once_whoever_comes_or_goes_meanwhile(
    sends: Sends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PASS_SIZE", 3)
    async with started(sends) as hub, AsyncExitStack() as stack:

        async def another() -> Stream:
            stream = await stack.enter_async_context(follow(hub, "a", sends=sends))
            await opened(stream)
            return stream

        stay, go = [await another() for _ in range(8)], [await another() for _ in range(6)]
        late: list[tuple[Stream, list[str]]] = []
        numbers = [str(number) for number in range(12)]
        for number in numbers:
            await hub.publish("a", number)
            await asyncio.sleep(0)  # the pass has begun
            if go:
                go.pop().disconnect()
                late.append((await another(), numbers[int(number) + 1 :]))

        for stream in stay:
            assert numbers == data(await stream.events(12))
        for stream, expected in late:
            assert expected == data(await stream.events(len(expected)))
        assert len(stay) + len(late) == hub.open_streams


async def test_what_a_blocked_reader_gets_comes_in_joins(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "a", sends=sends) as slow:
        await opened(slow)
        slow.stall()
        for number in range(500):
            await hub.publish("a", "x" * 1000 + str(number))
            await asyncio.sleep(0)
        await slow.blocked()

        slow.resume()

        events = await slow.events(500)
        assert [str(n) for n in range(500)] == [event.data[1000:] for event in events]
        assert hub.stats.sends < 50


async def test_a_reader_that_has_everything_costs_no_look_up_in_the_history(sends: Sends) -> None:
    looked = 0

    class Counted(History):
        def since(self, *arguments: Any) -> Any:
            nonlocal looked
            looked += 1
            return super().since(*arguments)

    async with started(sends) as hub:
        hub.history.__class__ = Counted
        await hub.publish("else", "x")
        async with follow(hub, "a", "b", sends=sends) as stream:
            await opened(stream)
            await turns()
            assert 0 == looked

            for number in range(20):
                await hub.publish("ab"[number % 2], str(number))
                await hub.publish("else", "x")
                assert [str(number)] == data(await stream.events(1))
                await turns()

            assert (20 if sends == "wrapped" else 0) == looked


async def test_a_blocked_reader_that_lost_events_is_told_exactly_which(sends: Sends) -> None:
    async with started(sends, history_events=3, lag_events=10**6) as hub:
        async with follow(hub, "a", sends=sends) as slow:
            await opened(slow)
            slow.stall()
            ids = []
            for number in range(100):
                ids.append((await hub.publish("a", str(number))).id)
                await asyncio.sleep(0)
            await slow.blocked()

            slow.resume()

            got = await slow.events(1)
            while got[-1].data != "99":
                got += await slow.events(1)
            [place] = [n for n, event in enumerate(got) if event.event == "gap"]
            gap = got[place].json()
            assert ("slow", ["a"]) == (gap["reason"], gap["topics"])
            lost = ids[ids.index(gap["from"]) + 1 : ids.index(gap["to"]) + 1]
            delivered = [event.id for event in got if event.event != "gap"]
            assert ids == delivered[:place] + lost + delivered[place:]


async def test_a_reader_over_its_limits_is_ended_and_frees_the_hub(sends: Sends) -> None:
    async with started(sends, lag_events=10, lag_seconds=5.0) as hub:
        async with follow(hub, "a", sends=sends) as slow:
            await opened(slow)
            slow.stall()
            for number in range(50):
                await hub.publish("a", str(number))
                await asyncio.sleep(0)

            await slow.ended()

        assert {"slow": 1} == dict(hub.stats.ended)
        assert 0 == hub.health()["streams"]


async def test_a_reader_blocked_for_too_long_is_ended(sends: Sends) -> None:
    async with started(sends, lag_seconds=0.05) as hub, follow(hub, "a", sends=sends) as slow:
        await opened(slow)
        slow.stall()
        for number in range(20):
            await hub.publish("a", str(number))
            await asyncio.sleep(0)

        await slow.ended()

        assert 1 == hub.stats.ended["slow"]
        assert not slow.complete


@pytest.mark.parametrize(("policy", "kept"), [("skip", []), ("latest", ["49"])])
async def test_a_reader_over_its_limits_is_skipped_ahead_with_a_gap(
    sends: Sends, policy: str, kept: list[str]
) -> None:
    knobs = {"lag_events": 10, "lag_seconds": 0.4, "slow_policy": policy}
    async with started(sends, **knobs) as hub, follow(hub, "a", sends=sends) as slow:
        await opened(slow)
        slow.stall()
        ids = []
        for number in range(50):
            ids.append((await hub.publish("a", str(number))).id)
            await asyncio.sleep(0)
        await slow.blocked()
        await asyncio.wait_for(_skipped(hub), 5)

        slow.resume()
        got = await slow.events(1)
        while got[-1].event != "gap":
            got += await slow.events(1)
        gap = got.pop()
        await hub.publish("a", "next")
        rest = data(await slow.events(len(kept) + 1))

        assert [*kept, "next"] == rest
        assert ids[-1 - len(kept)] == gap.json()["to"]
        assert gap.json()["from"] == got[-1].id


async def test_a_skipped_reader_whose_gap_waits_to_be_sent_is_not_skipped_again() -> None:
    knobs = {
        "lag_events": 10,
        "slow_policy": "skip",
        "topics": {"clock": {"slow_policy": "end", "lag_seconds": 0.05}},
    }
    metered = _Metered(2)  # the start and the opening block
    async with started(**knobs) as hub, follow(hub, "clock") as clock:
        await opened(clock)
        task = asyncio.create_task(hub.stream(metered.receive, metered.send, ["a"]))
        await turns()
        for number in range(50):
            await hub.publish("a", str(number))
            await turns(1)
        await asyncio.wait_for(_skipped(hub), 5)
        metered.room.release()  # for the pending event; the gap's send is pending then
        await turns()
        await hub.publish("a", "next")
        clock.stall()
        for _ in range(10):
            await hub.publish("clock", "tick")
            await turns(1)
        await clock.ended()  # so slow readers have been judged since

        metered.room.release()
        metered.room.release()
        await turns()

        events = decode(b"".join(metered.bodies))
        assert ["gap", "message"] == [event.event for event in events[-2:]]
        assert "next" == events[-1].data
        assert 1 == hub.stats.skipped
        metered.room.release()
        hub.drain()
        await task


class _Metered:
    """A connection whose sends wait until there is room for them."""

    def __init__(self, room: int) -> None:
        self.room = asyncio.Semaphore(room)
        self.bodies: list[bytes] = []

    async def receive(self) -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Any) -> None:
        await self.room.acquire()
        self.bodies.append(message.get("body", b""))


async def test_limits_and_policy_are_those_of_the_topics_that_a_stream_follows(
    sends: Sends,
) -> None:
    topics = {
        "prices/*": {"slow_policy": "skip", "lag_events": 5},
        "unused": {"lag_seconds": 0.05},  # for quick ticks
    }
    async with (
        started(sends, topics=topics) as hub,
        follow(hub, "prices/1", sends=sends) as prices,
        follow(hub, "orders", sends=sends) as orders,
        follow(hub, "orders", "prices/1", sends=sends) as both,
    ):
        for stream in (prices, orders, both):
            await opened(stream)
            stream.stall()
        for number in range(20):
            await hub.publish(["orders", "prices/1"], str(number))
            await asyncio.sleep(0)

        await asyncio.wait_for(_skipped(hub), 5)
        await both.ended()
        orders.resume()

        assert {"slow": 1} == dict(hub.stats.ended)
        assert list(map(str, range(20))) == data(await orders.events(20))


async def test_a_topic_without_history_is_delivered_and_not_replayed() -> None:
    topics = {"live/*": {"history_events": 0}}
    async with started(topics=topics) as hub:
        async with follow(hub, "live/1") as stream:
            place = await opened(stream)
            await hub.publish("live/1", "now")

            assert ["now"] == data(await stream.events(1))
        async with follow(hub, "live/1", last_event_id=place) as stream:
            await opened(stream)
            [gap] = await stream.events(1)

            assert ("gap", "trimmed") == (gap.event, gap.json()["reason"])
        assert hub.history.size < 1000  # the topic's own


@pytest.mark.parametrize("policy", ["skip", "latest"])
async def test_a_reader_blocked_by_heartbeats_alone_is_told_of_no_gap(
    sends: Sends, policy: str
) -> None:
    knobs = {"heartbeat": 0.05, "lag_seconds": 0.1, "slow_policy": policy}
    async with started(sends, **knobs) as hub, follow(hub, "a", sends=sends) as slow:
        await opened(slow)
        slow.stall()
        await slow.blocked()
        await hub.publish("else", "x")
        await asyncio.wait_for(_skipped(hub), 5)

        slow.resume()
        while any(s.skip_due for s in hub.audiences.members()):
            await asyncio.sleep(0)
        await hub.publish("a", "next")

        assert ["next"] == data(await slow.events(1))
        assert (0, {}) == (hub.stats.skipped, dict(hub.stats.gaps))


async def test_a_reader_that_the_latest_event_leaves_without_a_loss_is_told_of_no_gap(
    sends: Sends,
) -> None:
    knobs = {"heartbeat": 0.05, "lag_seconds": 0.1, "slow_policy": "latest"}
    async with started(sends, **knobs) as hub, follow(hub, "a", "b", sends=sends) as slow:
        await opened(slow)
        slow.stall()
        await slow.blocked()
        await hub.publish("a", "1")
        await hub.publish("b", "2")
        await asyncio.wait_for(_skipped(hub), 5)

        slow.resume()

        assert ["1", "2"] == data(await slow.events(2))
        assert {} == dict(hub.stats.gaps)


async def test_a_gap_before_each_latest_event_names_no_event_that_is_sent(sends: Sends) -> None:
    knobs = {
        "heartbeat": 0.05,
        "lag_seconds": 0.1,
        "slow_policy": "latest",
        "topics": {"c": {"history_events": 0}},
    }
    topics = "aabbabaac"  # the latest: of b the sixth, of a the eighth; none of c is kept
    async with started(sends, **knobs) as hub, follow(hub, "a", "b", "c", sends=sends) as slow:
        start = await opened(slow)
        slow.stall()
        await slow.blocked()
        ids = [(await hub.publish(topic, topic)).id for topic in topics]
        await asyncio.wait_for(_skipped(hub), 5)

        slow.resume()
        got = await slow.events(5)

        spans = [(e.json()["from"], e.json()["to"]) for e in got if e.event == "gap"]
        assert [ids[n] for n in (4, 5, 6, 7, 8)] == [event.id for event in got]
        assert [(start, ids[4]), (ids[5], ids[6]), (ids[7], ids[8])] == spans
        assert (1, {"slow": 3}) == (hub.stats.skipped, dict(hub.stats.gaps))


async def test_the_latest_event_that_a_filter_withholds_stays_withheld() -> None:
    knobs = {"heartbeat": 0.05, "lag_seconds": 0.1, "slow_policy": "latest"}

    def only_odd(event: Event, _: tuple[str, ...]) -> bool:
        return event.data in ("1", "3", "5")

    async with started(**knobs) as hub, follow(hub, "a", filter=only_odd) as slow:
        await opened(slow)
        slow.stall()
        await slow.blocked()
        for number in range(5):
            await hub.publish("a", str(number))
        await asyncio.wait_for(_skipped(hub), 5)

        slow.resume()

        assert ["gap"] == [event.event for event in await slow.events(1)]
        await hub.publish("a", "5")
        assert ["5"] == data(await slow.events(1))


async def _skipped(hub: Hub) -> None:
    while not any(s.skip_due for s in hub.audiences.members()):
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("last_event_id", [None, "earliest", "another-1"])
@pytest.mark.parametrize(
    ("heartbeat", "greeting"),
    [(15.0, ": fastsse heartbeat=15"), (0.25, ": fastsse heartbeat=0.25"), (0.0, ": fastsse")],
)
async def test_the_opening_block_tells_how_long_a_stream_may_be_quiet(
    heartbeat: float, greeting: str, last_event_id: str | None
) -> None:
    async with started(heartbeat=heartbeat) as hub:
        async with follow(hub, "news", last_event_id=last_event_id) as stream:
            assert greeting == (await stream.block()).decode().partition("\n")[0]


async def test_a_quiet_stream_gets_heartbeats_and_a_busy_one_does_not(sends: Sends) -> None:
    async with started(sends, heartbeat=0.2) as hub:
        async with (
            follow(hub, "quiet", sends=sends) as quiet,
            follow(hub, "b", sends=sends) as busy,
        ):
            await opened(quiet)
            await opened(busy)
            beaten = asyncio.ensure_future(quiet.block())
            while not beaten.done():
                await hub.publish("b", "x")
                await asyncio.sleep(0.01)

            assert b":\n\n" == beaten.result()
            assert b"\n:\n" not in busy.unread


async def test_a_stream_is_ended_at_the_end_of_its_lifetime(sends: Sends) -> None:
    async with started(sends, lifetime=0.1) as hub, follow(hub, "a", sends=sends) as stream:
        await opened(stream)

        assert b": lifetime\n\n" == await stream.rest()
        assert stream.complete
        assert {"lifetime": 1} == dict(hub.stats.ended)


async def test_draining_ends_every_stream_with_a_last_block_and_refuses_new_ones(
    sends: Sends,
) -> None:
    async with started(sends) as hub, follow(hub, "a", sends=sends) as one:
        async with follow(hub, "b", sends=sends) as two, follow(hub, "a", sends=sends) as stalled:
            await opened(one)
            await opened(two)
            stalled.stall()
            for number in range(20):
                await hub.publish("a", str(number))
                await asyncio.sleep(0)
            await stalled.blocked()

            hub.drain()

            assert (await two.rest()).startswith(b": shutdown\nretry: ")
            assert (await one.rest()).split(b"\n\n")[-2].startswith(b": shutdown\nretry: ")
            assert (one.complete, two.complete) == (True, True)
            await stalled.ended()
            assert "draining" == hub.health()["status"]
            with pytest.raises(RuntimeError):
                await hub.stream(None, None, ["a"])  # type: ignore[arg-type]


async def test_a_paced_drain_ends_streams_a_few_at_a_time(sends: Sends) -> None:
    async with started(sends, drain=0.2) as hub, AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(follow(hub, "a", sends=sends)) for _ in range(20)
        ]
        seen = set()

        hub.drain()
        while hub.open_streams:
            seen.add(hub.open_streams)
            await asyncio.sleep(0.005)

        assert len(seen) > 5
        assert [True] * 20 == [stream.complete for stream in streams]


async def test_a_client_that_goes_is_forgotten(sends: Sends) -> None:
    async with started(sends) as hub:
        async with follow(hub, "a", sends=sends) as stream:
            await opened(stream)
            assert 1 == hub.health()["streams"]
            stream.disconnect()
            await stream.ended()

            assert 0 == hub.health()["streams"]
            assert 0 == hub.health()["topics"]
            assert 0 == (await hub.publish("a", "x")).subscribers
        assert {"disconnected": 1} == dict(hub.stats.ended)


async def test_a_blocked_client_that_goes_is_forgotten(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "a", sends=sends) as stream:
        await opened(stream)
        stream.stall()
        for number in range(20):
            await hub.publish("a", str(number))
            await asyncio.sleep(0)
        await stream.blocked()
        blocked = hub.blocked

        stream.disconnect()
        await stream.ended()

        assert (1, 0) == (blocked, hub.blocked)
        assert 0 == hub.health()["streams"]


async def test_a_send_that_raises_ends_its_stream_and_no_other() -> None:
    async with started() as hub, follow(hub, "a") as good:
        await opened(good)
        broken = _Broken()
        bad = asyncio.ensure_future(hub.stream(broken.receive, broken.send, ["a"]))
        await turns()
        broken.raising = True

        await hub.publish("a", "x")

        await asyncio.wait_for(bad, 5)
        assert ["x"] == data(await good.events(1))
        assert {"disconnected": 1} == dict(hub.stats.ended)


class _Broken:
    """A connection whose `send` raises once its client has gone, as uvicorn's may."""

    raising = False

    async def receive(self) -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, _: object) -> None:
        if self.raising:
            raise OSError("gone")


@pytest.mark.parametrize(
    ("topics", "data", "fields", "field"),
    [
        ([], "x", {}, "topic"),
        ("", "x", {}, "topic"),
        ("a\nb", "x", {}, "topic"),
        ("a\0", "x", {}, "topic"),
        ("\ud800", "x", {}, "topic"),
        ("é" * 129, "x", {}, "topic"),
        ([f"t{n}" for n in range(101)], "x", {}, "topic"),
        ("a", None, {}, "data"),
        ("a", b"\xff", {}, "data"),
        ("a", "x" * (2**20 + 1), {}, "data"),
        ("a", "x", {"event": "gap"}, "event"),
        ("a", "x", {"event": "e\ndata: evil"}, "event"),
        ("a", "x", {"retry": -1}, "retry"),
    ],
)
async def test_what_cannot_be_published_is_refused_and_nothing_is(
    topics: Any, data: Any, fields: dict[str, Any], field: str
) -> None:
    async with started() as hub:
        with pytest.raises(InvalidField) as caught:
            await hub.publish(topics, data, **fields)

        assert field == caught.value.field
        assert 0 == hub.health()["head"]


async def test_a_full_hub_says_so() -> None:
    async with started(max_streams=1) as hub:
        assert not hub.full
        async with follow(hub, "a"):
            assert hub.full
        assert not hub.full


async def test_a_large_audience_is_swept_in_passes_that_let_the_loop_run() -> None:
    async with started() as hub:
        streams = [follow(hub, "a") for _ in range(4100)]
        opened_streams = [await stream.__aenter__() for stream in streams]
        await hub.publish("a", "x")
        seen = []
        for _ in range(4):
            await asyncio.sleep(0)
            seen.append(sum(b"data: x" in s.unread for s in opened_streams))

        assert seen == sorted(seen)
        assert 0 < seen[0] < seen[-1] == 4100
        for stream in streams:
            await stream.__aexit__(None, None, None)


@pytest.mark.parametrize("seed", range(8))
async def test_random_lives_lose_nothing_unannounced(
    sends: Sends, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joins, stalls, leaves and publishes by chance; every reader's record is checked against the log.

    Every fourth life has messages so small that each event takes several.
    """
    rng = random.Random(seed)
    if seed % 4 == 1:
        monkeypatch.setattr(joins, "JOIN_SIZE", 2 * seed + 9)
    knobs = {
        "history_events": 40,
        "lag_events": 30,
        "lag_seconds": 60.0,
        "slow_policy": rng.choice(["skip", "end"]),
    }
    async with started(sends, **knobs) as hub:
        log: dict[str, list[int]] = {"a": [], "b": []}
        readers = [_Reader(hub, sends, rng.choice([("a",), ("b",), ("a", "b")])) for _ in range(12)]
        for number in range(1, 400):
            names = rng.choice([["a"], ["b"], ["a", "b"]])
            await hub.publish(names, str(number))
            for name in names:
                log[name].append(number)
            if rng.random() < 0.5:
                await asyncio.sleep(0)
            await rng.choice(readers).step(rng)
        for reader in readers:
            await reader.settle()
        await hub.publish(["a", "b"], "last")

        for reader in readers:
            got = await reader.finish()
            assert got == sorted(set(got))
            wanted = sorted({n for topic in reader.topics for n in log[topic] if n > reader.begin})
            assert [n for n in wanted if n not in got and not reader.told(n)] == []
        assert 0 == hub.health()["streams"]


class _Reader:
    """A client that comes, stalls, goes, and keeps a record."""

    def __init__(self, hub: Hub, sends: Sends, topics: tuple[str, ...]) -> None:
        self.hub = hub
        self.sends = sends
        self.topics = topics
        self.begin = -1  # position at which it first came
        self.last = ""
        self.got: list[int] = []
        self.gaps: list[tuple[int, int]] = []
        self.context: AbstractAsyncContextManager[Stream] | None = None
        self.stream: Stream | None = None

    async def step(self, rng: random.Random) -> None:
        if self.stream is None:
            await self.come()
        elif rng.random() < 0.3:
            self.stream.stall()
        elif rng.random() < 0.3:
            self.stream.resume()
        elif rng.random() < 0.3:
            await self.go()

    async def come(self) -> None:
        if not self.last:  # it left before its opening block came, or was never here
            self.begin = int(str(self.hub.health()["head"]))
        self.context = follow(
            self.hub, *self.topics, sends=self.sends, last_event_id=self.last or None
        )
        self.stream = await self.context.__aenter__()

    async def go(self) -> None:
        assert self.stream is not None
        assert self.context is not None
        self.stream.disconnect()
        await self.stream.ended()
        self.read()
        await self.context.__aexit__(None, None, None)
        self.stream = None

    def read(self) -> None:
        assert self.stream is not None
        raw = self.stream.unread
        self.stream._rest = b""
        self.stream._chunks.clear()
        decoder = self.stream._decoder
        for event in decoder.feed(raw):
            if event.event == "gap":
                gap = event.json()
                self.gaps.append(tuple(int(gap[end].partition("-")[2]) for end in ("from", "to")))  # type: ignore[arg-type]
            elif event.data != "last":
                self.got.append(int(event.data))
        self.last = decoder.last_event_id or self.last

    def told(self, number: int) -> bool:
        return any(after < number <= to for after, to in self.gaps)

    async def settle(self) -> None:
        if self.stream is not None and not self.stream.running:
            await self.go()
        if self.stream is None:
            await self.come()
        assert self.stream is not None
        self.stream.resume()

    async def finish(self) -> list[int]:
        assert self.stream is not None
        # By a gap that reaches beyond the last event.
        skipped = f'-{self.hub.history.head}","reason"'.encode()
        async with asyncio.timeout(20):
            while not (b"data: last" in self.stream.unread or skipped in self.stream.unread):
                if not self.stream.running:  # it was ended as too slow
                    await self.go()
                    await self.come()
                await asyncio.sleep(0)
        await self.go()
        return self.got


def test_the_hub_starts_and_stops_twice_in_one_process_without_a_trace() -> None:
    async def live() -> int:
        async with started() as hub, follow(hub, "a") as stream:
            await opened(stream)
            await hub.publish("a", "x")
            await stream.events(1)
        await turns()
        return len(asyncio.all_tasks())

    assert [1, 1] == [asyncio.run(live()) for _ in range(2)]


async def test_a_finished_stream_says_so() -> None:
    async with started() as hub, follow(hub, "a") as stream:
        await opened(stream)
        hub.drain()
        await stream.rest()

        with pytest.raises(Ended):
            await stream.block()
