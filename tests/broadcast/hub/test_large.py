"""Events larger than one message: they leave in several, whole, whoever is slow, comes back or is ended meanwhile."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import pytest
from support import hubs
from support.driver import CHANNEL, Ended, Sends, turns
from support.hubs import data, follow, opened

from fastsse import decode
from fastsse.broadcast import Hub
from fastsse.broadcast.hub.joins import JOIN_SIZE
from fastsse.broadcast.web.metrics import Metrics

LARGE = 20 * JOIN_SIZE // 2 - 5000  # ten messages, the last of them not full


def started(sends: Sends = "granian", **knobs: Any) -> AbstractAsyncContextManager[Hub]:
    """Run a hub whose history has room for large events."""
    return hubs.started(sends, **{"history_bytes": 2**26, **knobs})


def text(name: str, size: int = LARGE) -> str:
    """Make a text that is nowhere like itself, so that a part that is lost, doubled or misplaced shows."""
    return (name + ":" + "".join(f"{n:07}" for n in range(size // 7)))[:size]


async def test_a_large_event_comes_whole_and_in_messages_that_are_not_large(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "a", sends=sends) as stream:
        await opened(stream)
        await turns()

        for name in ("1", "2"):
            await hub.publish("a", "before " + name)
            await hub.publish("a", text(name))
            await hub.publish("a", "after " + name)

        chunks: list[bytes] = []
        while b"after 2" not in (chunks[-1] if chunks else b""):
            chunks.append(await stream.chunk())
        expected = ["before 1", text("1"), "after 1", "before 2", text("2"), "after 2"]
        assert expected == data(decode(b"".join(chunks)))
        assert JOIN_SIZE == max(map(len, chunks))
        assert 6 == hub.stats.delivered
        assert sum(map(len, chunks)) == hub.stats.sent_bytes


async def test_who_reads_and_who_does_not_get_the_same(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "a", sends=sends) as quick:
        async with follow(hub, "a", sends=sends) as slow, follow(hub, "a", sends=sends) as slower:
            for stream in (quick, slow, slower):
                await opened(stream)
            slow.stall()
            slower.stall()

            names = [text(str(n), LARGE if n % 2 else 100) for n in range(6)]
            for name in names:
                await hub.publish("a", name)
                await turns(3)
            assert names == data(await quick.events(6))
            await slow.blocked()

            slow.resume()
            slower.resume()

            assert names == data(await slow.events(6))
            assert names == data(await slower.events(6))
            await hub.publish("a", "live again")
            for stream in (quick, slow, slower):
                assert ["live again"] == data(await stream.events(1))
            assert 3 * 7 == hub.stats.delivered


@pytest.mark.parametrize("room", [1, CHANNEL, 2 * CHANNEL + 1])
async def test_a_reader_that_stops_anywhere_in_a_block_gets_the_rest(
    sends: Sends, room: int
) -> None:
    """One message after another is let through: the block is left and taken up again at each of its parts."""
    async with started(sends) as hub, follow(hub, "a", sends=sends) as stream:
        await opened(stream)
        await turns()
        stream.stall()
        for n in range(room % 5):
            await hub.publish("a", f"small {n}")
            await turns()
        await hub.publish("a", text("large"))
        await hub.publish("a", "behind")
        await stream.blocked()
        for _ in range(room):
            stream.resume()
            stream.stall()
            await turns()

        stream.resume()

        expected = [*(f"small {n}" for n in range(room % 5)), text("large"), "behind"]
        assert expected == data(await stream.events(len(expected)))


async def test_what_pends_is_counted_in_bytes(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "a", sends=sends) as stream:
        await opened(stream)
        await turns()
        stream.stall()
        assert 0 == hub.pending_bytes

        await hub.publish("a", text("large"))
        await stream.blocked()

        assert JOIN_SIZE == hub.pending_bytes == hub.health()["pending_bytes"]
        assert f"fastsse_pending_bytes {float(JOIN_SIZE)}\n".encode() in Metrics(hub).text()
        stream.resume()
        await stream.events(1)
        await turns()
        assert 0 == hub.pending_bytes


async def test_a_reader_that_is_cut_in_a_block_gets_it_again_when_it_comes_back(
    sends: Sends,
) -> None:
    async with started(sends) as hub:
        async with follow(hub, "a", sends=sends) as stream:
            await opened(stream)
            [first] = [await hub.publish("a", "first")]
            await stream.events(1)
            stream.stall()
            await hub.publish("a", text("large"))
            await stream.blocked()
        await hub.publish("a", "behind")

        async with follow(hub, "a", sends=sends, last_event_id=first.id) as stream:
            assert [text("large"), "behind"] == data(await stream.events(2))


async def test_what_is_replayed_leaves_in_small_messages(sends: Sends) -> None:
    async with started(sends) as hub:
        for n in range(3):
            await hub.publish("a", text(str(n)))
            await hub.publish("a", str(n) * 30_000)

        async with follow(hub, "a", sends=sends, last_event_id="earliest") as stream:
            chunks: list[bytes] = []
            while len(decode(b"".join(chunks))) < 6:
                chunks.append(await stream.chunk())

        assert JOIN_SIZE >= max(map(len, chunks))
        expected = [each for n in range(3) for each in (text(str(n)), str(n) * 30_000)]
        assert expected == data(decode(b"".join(chunks)))


async def test_a_stream_that_shall_end_ends_after_the_block(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "a", sends=sends) as stream:
        await opened(stream)
        await turns()
        stream.stall()
        await hub.publish("a", text("large"))
        await hub.publish("a", "before the end")
        await stream.blocked()

        hub.drain()
        stream.resume()

        body = await stream.rest()
        assert [text("large"), "before the end"] == data(decode(body))
        assert b"\n\n: shutdown\nretry: " in body
        assert body.endswith(b"\n\n")
        assert stream.complete


async def test_a_stream_that_is_cut_in_a_block_has_no_last_words(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "a", sends=sends) as stream:
        await opened(stream)
        await turns()
        stream.stall()
        await hub.publish("a", text("large"))
        await stream.blocked()

        await hub.stop()
        stream.resume()
        with pytest.raises(Ended):
            await stream.events(1)

        assert not stream.complete
        assert b"shutdown" not in stream.unread
        assert [] == decode(stream.unread)


async def test_heartbeats_come_between_blocks(sends: Sends) -> None:
    async with started(sends, heartbeat=0.05) as hub, follow(hub, "a", sends=sends) as stream:
        await opened(stream)
        stream.stall()
        await hub.publish("a", text("large"))
        await stream.blocked()
        before = hub.stats.heartbeats
        async with follow(hub, "a") as other:  # by it one sees that a heartbeat was due
            await opened(other)
            assert b":\n\n" == await other.block()
        for _ in range(20):
            stream.resume()
            stream.stall()
            await turns(2)
        stream.resume()

        assert [text("large")] == data(await stream.events(1))
        assert b":\n\n" == await stream.block()
        assert hub.stats.heartbeats > before


@pytest.mark.parametrize("policy", ["skip", "latest", "end"])
async def test_a_reader_over_its_limits_in_a_block(sends: Sends, policy: str) -> None:
    """The block is finished, then it is skipped ahead; or it is cut."""
    knobs = {"slow_policy": policy, "lag_events": 3, "heartbeat": 0.1}
    async with started(sends, **knobs) as hub, follow(hub, "a", "b", sends=sends) as stream:
        await opened(stream)
        await turns()
        stream.stall()
        await hub.publish("a", text("large"))
        await stream.blocked()
        for n in range(8):
            await hub.publish("a", str(n))
        await hub.publish("b", text("b"))
        [slow] = hub.audiences.members()
        async with asyncio.timeout(20):
            while not (slow.skip_due or slow.ended):
                await asyncio.sleep(0.01)
        stream.resume()

        if policy == "end":
            with pytest.raises(Ended):
                await stream.events(1)
            assert [] == decode(stream.unread)
            return
        events = await stream.events(4 if policy == "latest" else 2)
        kinds = [event.data if event.event == "message" else event.event for event in events]
        left = ["7", text("b")] if policy == "latest" else []
        assert [text("large"), "gap", *left] == kinds
        await hub.publish("a", "on")
        assert ["on"] == data(await stream.events(1))


async def test_labels_of_many_long_topics_do_not_make_a_message_large(sends: Sends) -> None:
    """A label of a hundred topics of 256 bytes is larger than a message, and each of these small events has one."""
    names = [f"{n:03}" + "é" * 126 for n in range(100)]
    async with started(sends) as hub, follow(hub, *names, sends=sends, labels=True) as stream:
        await opened(stream)
        await turns()
        for n in range(5):
            await hub.publish(names, str(n))
        await hub.publish(names, text("large"))

        got: list[bytes] = []
        while len(decode(b"".join(got))) < 6:
            got.append(await stream.chunk())

        assert JOIN_SIZE >= max(map(len, got))
        assert 6 == b"".join(got).count(json.dumps(names, separators=(",", ":")).encode())
        assert [*map(str, range(5)), text("large")] == data(decode(b"".join(got)))


async def test_gaps_of_many_long_topics_do_not_make_a_message_large(sends: Sends) -> None:
    names = [f"{n:03}" + "é" * 126 for n in range(100)]
    async with (
        started(sends) as hub,
        follow(hub, *names, sends=sends, last_event_id="😀" * 400) as stream,
    ):
        got: list[bytes] = []
        while not b"".join(got).endswith(b"\n\n") or not decode(b"".join(got)):
            got.append(await stream.chunk())
        [gap] = decode(b"".join(got))

        assert JOIN_SIZE >= max(map(len, got))
        assert (names, "gap") == (gap.json()["topics"], gap.event)
        await hub.publish(names[0], text("large"))
        assert text("large") in data(await stream.events(1))


async def test_a_subscription_takes_large_events() -> None:
    async with started() as hub:
        async with hub.subscribe("a") as events:
            await hub.publish("a", text("large"))
            await hub.publish("a", "small")

            assert [text("large"), "small"] == [(await anext(events)).data for _ in range(2)]


async def test_small_events_do_not_wait_for_the_large_ones_of_others() -> None:
    """A large event copies much for each audience: the readers of a quiet topic would wait for all of it."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(started())
        others = [
            await stack.enter_async_context(follow(hub, "large", f"own {number}"))
            for number in range(30)
        ]
        quiet = await stack.enter_async_context(follow(hub, "small"))
        for stream in (*others, quiet):
            await opened(stream)
        await turns()

        await hub.publish("large", text("1"))
        await hub.publish("small", "at once")

        assert ["at once"] == data(await quiet.events(1))
        assert hub.stats.delivered < 10
        for stream in others:
            assert [text("1")] == data(await stream.events(1))


async def test_small_events_pass_a_large_one_on_its_way() -> None:
    """A large event of many readers takes many turns: another topic's event goes between two of them."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(started())
        crowd = [await stack.enter_async_context(follow(hub, "large")) for _ in range(40)]
        quiet = await stack.enter_async_context(follow(hub, "small"))
        for stream in (*crowd, quiet):
            await opened(stream)
        await turns()

        publishing = asyncio.create_task(hub.publish("large", text("1")))
        while not any(stream.unread for stream in crowd):
            await asyncio.sleep(0)
        await hub.publish("large", "2")
        await hub.publish("small", "at once")

        assert ["at once"] == data(await quiet.events(1))
        assert not all(stream.unread for stream in crowd)
        await publishing
        for stream in crowd:
            assert [text("1"), "2"] == data(await stream.events(2))


async def test_a_large_join_of_labels_passes_one_on_its_way() -> None:
    """A block that is just small enough is not with its label: two sweeps of several messages have then begun."""
    names = ["a", *(f"{number} ".ljust(100, "x") for number in range(20))]
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(started())
        crowd = [await stack.enter_async_context(follow(hub, "large")) for _ in range(40)]
        labelled = await stack.enter_async_context(follow(hub, *names, labels=True))
        for stream in (*crowd, labelled):
            await opened(stream)
        await turns()

        await hub.publish("large", text("1"))
        await hub.publish(names, text("2", JOIN_SIZE - 100))
        await hub.publish("a", "3")
        await hub.publish("large", "4")

        assert [text("2", JOIN_SIZE - 100), "3"] == data(await labelled.events(2))
        for stream in crowd:
            assert [text("1"), "4"] == data(await stream.events(2))


async def test_the_messages_of_a_large_event_are_one_for_all_readers() -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(started())
        streams = [await stack.enter_async_context(follow(hub, "a")) for _ in range(3)]
        for stream in streams:
            await opened(stream)
        await turns()
        await hub.publish("a", text("1"))

        first, *others = [[await stream.chunk() for _ in range(3)] for stream in streams]
        for chunks in others:
            assert [True] * 3 == [one is two for one, two in zip(first, chunks, strict=True)]


async def test_large_events_do_not_wait_for_ever_for_small_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastsse.broadcast.hub.delivery.PASS_SIZE", 1)  # one sweep in each turn
    names = [f"small {number}" for number in range(30)]
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(started())
        stream = await stack.enter_async_context(follow(hub, "large"))
        others = [await stack.enter_async_context(follow(hub, name)) for name in names]
        for each in (stream, *others):
            await opened(each)
        await turns()

        await hub.publish("large", text("1"))
        await hub.publish(names, "a sweep for each")
        begun = await stream.chunk()

        assert begun.startswith(b"id: ")
        assert hub.stats.delivered < 10
        for other in others:
            assert ["a sweep for each"] == data(await other.events(1))
