"""Topics that end: their readers get everything, are told once, and are sent away for good when nothing is left."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from support.driver import Sends, fetch, open_stream, turns
from support.hubs import data, follow, opened, started
from support.stores import ArchivedStore, ScriptedStore

from fastsse import Event, InvalidField, decode, encode
from fastsse.broadcast import Entry, Hub, TopicEnded
from fastsse.broadcast.hub.delivery import PASS_SIZE


def end(topic: str = "run", reason: str = "finished") -> str:
    return json.dumps({"topic": topic, "reason": reason}, separators=(",", ":"))


async def told(hub: Hub, *topics: str, last: str | None = None, **options: Any) -> list[str] | int:
    """Read a stream to its end; return the data of its events, or the status when that is not 200."""
    async with follow(hub, *topics, last_event_id=last, **options) as stream:
        body = await stream.rest()
        return data(decode(body)) if stream.status == 200 else stream.status


# Readers that follow.


async def test_a_reader_gets_everything_then_the_end_and_the_end_of_the_body(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "run", sends=sends) as stream:
        await opened(stream)
        await hub.publish("run", "1")
        [event] = await stream.events(1)
        await hub.publish("run", "2")
        receipt = await hub.end("run")

        *events, last = decode(await stream.rest())

    assert ["1", "2"] == [event.data, *data(events)]
    assert Event(end(), event="end", id=receipt.id) == last
    assert {"finished": 1} == hub.stats.ended


async def test_a_reader_of_several_topics_hears_of_each_end_and_is_over_after_the_last(
    sends: Sends,
) -> None:
    async with started(sends) as hub, follow(hub, "a", "b", sends=sends) as stream:
        await opened(stream)
        await hub.end("a")
        await hub.publish("b", "1")
        events = await stream.events(2)
        assert stream.running
        await hub.end("b", reason="failed")

        events += decode(await stream.rest())

    assert [end("a"), "1", end("b", "failed")] == data(events)


async def test_ends_of_many_readers_take_their_turns() -> None:
    count = PASS_SIZE + 10
    async with started(max_streams=count) as hub:
        streams = [follow(hub, "run") for _ in range(count)]
        readers = [await stream.__aenter__() for stream in streams]
        await hub.end("run")

        for reader in readers:
            await reader.ended()

    assert {"finished": count} == hub.stats.ended


async def test_a_reader_that_is_blocked_gets_all_of_it_when_it_reads_again(sends: Sends) -> None:
    texts = [f"{n:02}" * 20_000 for n in range(20)]  # several joins
    async with (
        started(sends, history_bytes=2**22) as hub,
        follow(hub, "run", sends=sends) as stream,
    ):
        await opened(stream)
        stream.stall()
        for text in texts:
            await hub.publish("run", text)
        await hub.end("run")
        await turns()
        assert stream.running
        stream.resume()

        assert [*texts, end()] == data(decode(await stream.rest()))


@pytest.mark.parametrize("policy", ["skip", "latest"])
async def test_a_reader_that_is_skipped_ahead_gets_the_end_all_the_same(policy: str) -> None:
    knobs = {"slow_policy": policy, "lag_events": 1, "lag_seconds": 0.05}
    async with started(**knobs) as hub, follow(hub, "run") as stream:
        await opened(stream)
        stream.stall()
        for n in range(9):
            await hub.publish("run", str(n))
            await turns()
        await stream.blocked()
        await hub.end("run")
        await asyncio.sleep(0.3)
        stream.resume()

        *_, gap, last = [event.event for event in decode(await stream.rest())]

    assert ("gap", "end") == (gap, last)
    assert {"finished": 1} == hub.stats.ended


async def test_no_filter_hides_an_end() -> None:
    async with started() as hub:
        async with follow(hub, "run", filter=lambda _, __: False) as stream:
            await opened(stream)
            await hub.publish("run", "1")
            await hub.end("run")

            assert [end()] == data(decode(await stream.rest()))


async def test_an_end_has_its_label() -> None:
    async with started() as hub, follow(hub, "run", labels=True) as stream:
        await opened(stream)
        await hub.end("run")

        assert b': topics ["run"]\nid: ' in await stream.rest()


async def test_a_subscription_is_over_with_its_topics() -> None:
    async with started() as hub, hub.subscribe("run") as live:
        await hub.publish("run", "1")
        await hub.end("run")

        assert ["1", end()] == [event.data async for event in live]
        async with hub.subscribe("run", last_event_id="earliest") as late:
            assert ["1", end()] == [event.data async for event in late]
        async with hub.subscribe("run", last_event_id=late.last_event_id) as later:
            assert [] == [event.data async for event in later]
        assert 0 == hub.open_streams


async def test_a_subscription_that_waits_hears_of_the_end() -> None:
    async with started() as hub, hub.subscribe("run") as live:
        reading = asyncio.ensure_future(anext(live))
        await turns()
        await hub.end("run")

        assert end() == (await reading).data
        with pytest.raises(StopAsyncIteration):
            await anext(live)


# Readers that come afterwards.


async def test_who_comes_back_gets_what_it_missed_and_the_end(sends: Sends) -> None:
    async with started(sends) as hub:
        first = await hub.publish("run", "1")
        await hub.publish("run", "2")
        last = await hub.end("run")
        await hub.publish("other", "x")

        assert ["1", "2", end()] == await told(hub, "run", last="earliest", sends=sends)
        assert ["2", end()] == await told(hub, "run", last=first.id, sends=sends)
        assert [end()] == await told(hub, "run", sends=sends)
        assert 204 == await told(hub, "run", last=last.id, sends=sends)
        assert {"ended": 1} == hub.stats.refused


async def test_who_comes_back_with_the_id_of_another_log_gets_a_gap_and_the_rest() -> None:
    async with started() as hub:
        await hub.publish("run", "1")
        await hub.end("run")

        gap, *rest = await told(hub, "run", last="another-7")  # type: ignore[misc]

    assert "restart" == json.loads(gap)["reason"]
    assert ["1", end()] == rest


async def test_a_reader_of_an_ended_topic_and_a_live_one_goes_on() -> None:
    async with started() as hub:
        await hub.end("a")
        async with follow(hub, "a", "b") as stream:
            await opened(stream)
            await hub.publish("b", "1")
            assert ["1"] == data(await stream.events(1))
            await hub.end("b")

            assert [end("b")] == data(decode(await stream.rest()))


@pytest.mark.parametrize("last", [None, "", "earliest", "{first}", "another-1", "é"])
async def test_when_nothing_is_kept_any_more_a_reader_is_sent_away(last: str | None) -> None:
    async with started(history_events=0) as hub:
        first = await hub.publish("run", "1")
        await hub.end("run")
        await hub.publish("other", "x")

        given = last and last.replace("{first}", first.id)
        assert 204 == await told(hub, "run", last=given)


async def test_an_answer_of_204_has_no_body_and_is_not_stored() -> None:
    async with started() as hub:
        last = await hub.end("run")

        answer = await fetch(hub.response("run"), headers={"Last-Event-ID": last.id})

    assert (204, b"") == (answer.status, answer.body)
    assert "no-store" == answer.headers["cache-control"]


async def test_a_topic_that_makes_room_is_remembered() -> None:
    async with started(max_topics=1) as hub:
        first = await hub.publish("run", "1")
        await hub.end("run")
        await hub.publish("other", "x")

        assert 204 == await told(hub, "run", last=first.id)
        with pytest.raises(TopicEnded):
            await hub.publish("run", "2")


async def test_an_ended_topic_expires() -> None:
    async with started(keep_ended=0.05, heartbeat=0.1) as hub:
        await hub.publish("run", "1")
        await hub.publish("quiet", "x")
        receipt = await hub.publish("quiet", "y")
        await hub.end("run")
        assert ["1", end()] == await told(hub, "run", last="earliest")
        async with asyncio.timeout(5):
            while hub.history.topics > 1:
                await asyncio.sleep(0.02)

        assert 204 == await told(hub, "run", last="earliest")
        async with follow(hub, "never", last_event_id=receipt.id) as stream:
            await opened(stream)
            await hub.publish("never", "1")
            assert ["1"] == data(await stream.events(1)), "no gap where nothing was lost"


async def test_names_of_ended_topics_are_bounded_and_a_forgotten_one_is_new() -> None:
    async with started(max_topics=1, ended_bytes=1000) as hub:
        for n in range(20):
            await hub.end(f"run/{n}")

        assert not hub.ended("run/0")
        assert hub.ended("run/18")
        assert hub.history.ends.size <= 1000
        await hub.publish("run/0", "again")


# Publishers.


async def test_nothing_is_published_to_a_topic_that_has_ended() -> None:
    async with started() as hub:
        await hub.end("run")

        with pytest.raises(TopicEnded, match="'run': has ended: take another name"):
            await hub.publish(["other", "run"], "x")
        assert {"topic": 1} == hub.stats.events_refused
        assert 1 == hub.stats.published


async def test_to_end_twice_is_to_end_once(sends: Sends) -> None:
    async with started(sends) as hub, follow(hub, "run", sends=sends) as stream:
        await opened(stream)
        first, second = await asyncio.gather(hub.end("run"), hub.end("run", reason="failed"))

        assert first.id == second.id == (await hub.end("run")).id
        assert [end()] == data(decode(await stream.rest()))


async def test_only_the_hub_publishes_the_type_and_reasons_are_known() -> None:
    async with started() as hub:
        with pytest.raises(InvalidField, match="is reserved: it tells readers of the end"):
            await hub.publish("run", "x", event="end")
        with pytest.raises(InvalidField, match="must be one of finished, failed, "):
            await hub.end("run", reason="enough")
        assert not hub.ended("run")


# Stores.


async def test_an_end_in_flight_closes_the_topic_and_one_that_fails_opens_it_again() -> None:
    store = ScriptedStore()
    async with started(store=store) as hub:
        store.hold()  # the report comes later than the answer
        await hub.end("run")
        with pytest.raises(TopicEnded):
            await hub.publish("run", "x")
        store.release()

        store.stall()
        with pytest.raises(OSError, match="cannot be reached"):
            await hub.end("other")
        store.recover()
        await hub.publish("other", "x")


async def test_the_end_of_another_process_ends_the_streams_here(sends: Sends) -> None:
    store = ScriptedStore()
    async with started(sends, store) as hub, follow(hub, "run", sends=sends) as stream:
        await opened(stream)
        store.add("run", encode(end(), event="end"))
        store.add("run", encode(end(reason="failed"), event="end"))  # both have ended it

        assert [end()] == data(decode(await stream.rest()))
        assert 204 == await told(hub, "run", last=f"log-{store.head}")


async def test_an_event_after_the_end_opens_the_topic_again() -> None:
    store = ScriptedStore()
    async with started(store=store) as hub:
        first = await hub.publish("run", "1")
        await hub.end("run")
        store.add("run", b"data: late\n\n")

        assert not hub.ended("run")
        async with follow(hub, "run", last_event_id=first.id) as stream:
            await opened(stream)
            assert [end(), "late"] == data(await stream.events(2))
            await turns()
            assert stream.running
            await hub.end("run")
            assert [end()] == data(decode(await stream.rest()))


async def test_an_end_survives_a_restart_where_the_log_does() -> None:
    store = ScriptedStore()
    async with started(store=store) as hub:
        first = await hub.publish("run", "1")
        await hub.end("run")
    async with started(store=store) as hub:
        assert [end()] == await told(hub, "run", last=first.id)
        assert hub.ended("run")


async def test_a_renewed_log_has_no_end_of_the_old_one() -> None:
    store = ScriptedStore()
    async with started(store=store) as hub:
        last = await hub.end("run")
        store.renew()

        async with follow(hub, "run", last_event_id=last.id) as stream:
            assert ["gap"] == [event.event for event in await stream.events(1)]
            await hub.publish("run", "1")
            assert ["1"] == data(await stream.events(1))


async def test_a_lost_end_is_a_gap_and_no_end() -> None:
    store = ScriptedStore()
    async with started(store=store) as hub, follow(hub, "run") as stream:
        await opened(stream)
        await hub.publish("run", "1")
        store.hold()
        await hub.end("run")
        store.lose(store.head)
        store.release()

        assert ["message", "gap"] == [event.event for event in await stream.events(2)]
        await turns()
        assert stream.running
        await hub.publish("run", "2")


async def test_an_archive_gives_the_end_that_the_history_has_let_go(sends: Sends) -> None:
    store = ArchivedStore()
    store.add("run", b"data: 1\n\n")
    last = store.add("run", encode(end(), event="end"))
    for n in range(20):
        store.add("other", b"data: %d\n\n" % n)
    async with started(sends, store, history_total=2000, max_topics=1) as hub:
        assert ["1", end()] == await told(hub, "run", last="earliest", sends=sends)
        assert 204 == await told(hub, "run", last=f"log-{last}", sends=sends)


def test_an_entry_and_a_draft_know_that_they_end() -> None:
    assert Entry(1, ("a",), encode(end(), event="end")).ends
    assert not Entry(1, ("a",), encode("x", event="ending")).ends
    assert not Entry(1, ("a",), encode("event: end")).ends


async def test_a_subscription_reads_an_end_from_an_archive() -> None:
    store = ArchivedStore()
    store.add("run", b"data: 1\n\n")
    store.add("run", encode(end(), event="end"))
    for n in range(20):
        store.add("other", b"data: %d\n\n" % n)
    async with started(store=store, history_total=2000, max_topics=1) as hub:
        async with hub.subscribe("run", last_event_id="earliest") as events:
            assert ["1", end()] == [event.data async for event in events]


async def test_a_response_reads_where_its_reader_left_off_before_its_own_beginning() -> None:
    async with started() as hub:
        await hub.publish("run", "1")
        last = await hub.end("run")
        response = hub.response("run", last_event_id="earliest")
        async with open_stream(response) as stream:
            assert ["1", end()] == data(decode(await stream.rest()))

        answer = await fetch(
            hub.response("run", last_event_id="earliest"), headers={"Last-Event-ID": last.id}
        )
        assert 204 == answer.status
