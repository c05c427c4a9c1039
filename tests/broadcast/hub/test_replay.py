"""Readers that come back to a real server: what they get is exactly what they have missed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess

import pytest
from support.follower import follower
from support.servers import Clients, Server, free_port, serve

from fastsse import decode


async def test_a_reader_that_comes_back_gets_exactly_the_events_in_between(
    server: Server, clients: Clients, topic: str
) -> None:
    first = await clients.follow(server, f"/events?topic={topic}")
    server.publish(topic, "seen")
    [seen] = await first.events(1)
    await first.close()
    missed = [server.publish(topic, f"missed {n}") for n in range(3)]
    server.publish(f"{topic}-else", "of another topic")

    second = await clients.follow(server, f"/events?topic={topic}", f"Last-Event-ID: {seen.id}")
    live = server.publish(topic, "live")

    received = await second.events(4)
    assert [*missed, live] == [event.id for event in received]
    assert ["missed 0", "missed 1", "missed 2", "live"] == [event.data for event in received]


async def test_a_reader_that_was_cut_off_before_its_first_event_misses_nothing(
    server: Server, clients: Clients, topic: str
) -> None:
    first = await clients.follow(server, f"/events?topic={topic}")
    [line] = [line for line in first.opening.decode().split("\n") if line.startswith("id: ")]
    await first.close()
    missed = server.publish(topic, "missed")

    second = await clients.follow(server, f"/events?topic={topic}", f"Last-Event-ID: {line[4:]}")

    assert [missed] == [event.id for event in await second.events(1)]


async def test_a_reader_of_several_topics_comes_back_to_all_of_them(
    server: Server, clients: Clients, topic: str
) -> None:
    target = f"/events?topic={topic}-a&topic={topic}-b"
    first = await clients.follow(server, target)
    server.publish(f"{topic}-b", "seen")
    [seen] = await first.events(1)
    await first.close()
    for n in range(6):
        server.publish(f"{topic}-{'ab'[n % 2]}", str(n))

    second = await clients.follow(server, f"{target}&last_event_id={seen.id}")

    assert ["0", "1", "2", "3", "4", "5"] == [event.data for event in await second.events(6)]


async def test_earliest_is_all_that_is_kept(server: Server, clients: Clients, topic: str) -> None:
    for n in range(3):
        server.publish(topic, str(n))

    stream = await clients.follow(server, f"/events?topic={topic}&last_event_id=earliest")

    assert ["0", "1", "2"] == [event.data for event in await stream.events(3)]


async def test_an_id_from_before_a_restart_is_a_gap_and_then_what_is_kept(clients: Clients) -> None:
    with serve() as before:
        old = before.publish("news", "before")
    with serve() as after:
        kept = [after.publish("news", f"after {n}") for n in range(2)]

        stream = await clients.follow(after, "/events?topic=news", f"Last-Event-ID: {old}")
        live = after.publish("news", "live")

        [gap, *events] = await stream.events(4)
        news = json.loads(gap.data)
        assert "gap" == gap.event
        assert ("restart", old, ["news"]) == (news["reason"], news["from"], news["topics"])
        assert news["to"] == gap.id
        assert [*kept, live] == [event.id for event in events]


async def test_after_a_gap_the_next_reconnection_repeats_nothing(clients: Clients) -> None:
    with serve() as before:
        old = before.publish("news", "before")
    with serve() as after:
        first = await clients.follow(after, "/events?topic=news", f"Last-Event-ID: {old}")
        [gap] = await first.events(1)
        await first.close()
        live = after.publish("news", "live")

        second = await clients.follow(after, "/events?topic=news", f"Last-Event-ID: {gap.id}")

        [event] = await second.events(1)
        assert (live, "live") == (event.id, event.data)


async def test_history_that_was_let_go_is_a_gap(clients: Clients) -> None:
    with serve("--history-events", "2") as server:
        seen = server.publish("news", "0")
        ids = [server.publish("news", str(n)) for n in range(1, 5)]

        stream = await clients.follow(server, "/events?topic=news", f"Last-Event-ID: {seen}")

        [gap, *events] = await stream.events(3)
        assert ("gap", "trimmed") == (gap.event, json.loads(gap.data)["reason"])
        assert ids[2:] == [event.id for event in events]


def test_curl_sees_what_curl_publishes(server: Server, topic: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    reader = subprocess.Popen(
        ["curl", "-sN", f"{server.url}/events?topic={topic}"], stdout=subprocess.PIPE
    )
    try:
        assert reader.stdout is not None
        opening = [reader.stdout.readline() for _ in range(4)]
        assert [b": fastsse\n", b"\n"] == [opening[0], opening[3]]

        command = ["curl", "-s", "-d", f"topic={topic}", "-d", "data=hello", f"{server.url}/events"]
        answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

        block = b"".join(reader.stdout.readline() for _ in range(3))
        [event] = decode(block)
        assert ("hello", answer["id"]) == (event.data, event.id)
        assert 1 == answer["subscribers"]
    finally:
        reader.kill()
        reader.communicate()


@pytest.mark.node
def test_npms_eventsource_comes_back_after_a_restart_and_is_told_of_the_gap() -> None:
    port = str(free_port())
    flags = ("--port", port, "--retry", "50")
    with serve(*flags) as before:
        with follower(f"{before.url}/events?topic=news") as source:
            source.next("open")
            old = before.publish("news", "before")
            assert {"event": "message", "id": old, "data": "before"} == source.next("event")

            before.signal(signal.SIGTERM)
            before.wait()
            source.next("error")
            with serve(*flags) as after:
                kept = after.publish("news", "kept")
                source.next("open")

                gap = source.next("event")
                news = json.loads(gap["data"])
                assert ("gap", "restart", old) == (gap["event"], news["reason"], news["from"])
                assert {"event": "message", "id": kept, "data": "kept"} == source.next("event")
                live = after.publish("news", "live")
                assert {"event": "message", "id": live, "data": "live"} == source.next("event")


@pytest.mark.node
def test_npms_eventsource_gets_exactly_what_it_missed_when_its_stream_ends() -> None:
    flags = ("--lifetime", "0.3", "--retry", "300")
    with serve(*flags) as server, follower(f"{server.url}/events?topic=news") as source:
        source.next("open")
        seen = server.publish("news", "seen")
        assert seen == source.next("event")["id"]
        source.next("error")
        missed = [server.publish("news", str(n)) for n in range(3)]

        received = [source.next("event") for _ in missed]

        assert missed == [event["id"] for event in received]
        assert {"message"} == {event["event"] for event in received}
