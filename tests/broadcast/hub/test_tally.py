"""The line that is logged for an ended stream: what it counts, what it costs, and that no name can forge it."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from contextlib import AsyncExitStack
from typing import Any

import pytest
from support.driver import Sends, Stream, open_stream, turns
from support.hubs import follow, started
from support.servers import Clients, serve, wait_for

from fastsse import Decoder
from fastsse.broadcast.app import create_app

LOGGER = "fastsse.broadcast.streams"
FIELD = re.compile(r' ([a-z_]+)=("(?:\\.|[^"\\])*"|[^ "=]+)')
LINE = re.compile(f"stream ended({FIELD.pattern})+")


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)


def fields(line: str) -> dict[str, Any]:
    """Read a line's fields; a value that is no JSON is text."""
    assert LINE.fullmatch(line), line
    found: dict[str, Any] = {}
    for name, value in FIELD.findall(line):
        assert name not in found, line
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


async def test_an_ended_stream_is_one_line_with_what_an_operator_asks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with started() as hub:
        async with follow(hub, "b", "a", remote=("::1", 4711)) as stream:
            id = (await hub.publish("a", "x")).id
            await stream.events(1)

        [line] = caplog.messages

    found = fields(line)
    assert 0 <= found.pop("seconds") < 60
    assert {
        "reason": "disconnected",
        "topics": "a,b",
        "id": id,
        "events": 1,
        "bytes": len(f"id: {id}\ndata: x\n\n"),
        "gaps": 0,
        "skips": 0,
        "remote": "[::1]:4711",
    } == found
    assert [(LOGGER, "INFO")] == [(r.name, r.levelname) for r in caplog.records]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sends", ["granian", "coroutine", "wrapped", "direct"])
async def test_events_bytes_gaps_and_skips_are_those_that_the_reader_got(
    sends: Sends, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Stalls and publishes by chance; every reader's record is checked against its line."""
    rng = random.Random(seed)
    knobs = {
        "history_events": 20,
        "lag_events": 15,
        "slow_policy": rng.choice(["skip", "latest"]),
        "topics": {"unused": {"lag_seconds": 0.05}},  # for quick ticks
    }
    async with started(sends, **knobs) as hub, AsyncExitStack() as stack:
        streams: list[Stream] = []
        for number in range(400):
            await hub.publish(rng.choice([["a"], ["b"], ["a", "b"]]), str(number))
            if rng.random() < 0.5:
                await turns(rng.randrange(4))
            if number % 40 == 0:
                options = {"labels": rng.random() < 0.5, "remote": (len(streams),)}
                topics = rng.choice([("a",), ("a", "b")])
                context = follow(hub, *topics, sends=sends, last_event_id="earliest", **options)
                streams.append(await stack.enter_async_context(context))
            stream = rng.choice(streams)
            stream.stall() if rng.random() < 0.4 else stream.resume()
            assert stream.running
        for stream in streams:
            stream.resume()
        async with asyncio.timeout(5):
            while hub.blocked or any(subscriber.skip_due for subscriber in hub.audiences.members()):
                await asyncio.sleep(0)
        await hub.publish(["a", "b"], "last")
        records = [await _record(stream) for stream in streams]
        for stream in streams:
            stream.disconnect()
            await stream.ended()

    lines = {found["remote"]: found for found in map(fields, caplog.messages)}
    got = [lines[str(number)] for number in range(len(streams))]
    assert records == [(line["events"], line["bytes"], line["gaps"]) for line in got]
    assert hub.stats.skipped == sum(line["skips"] for line in got)
    assert hub.stats.delivered == sum(line["events"] for line in got)


async def _record(stream: Stream) -> tuple[int, int, int]:
    """Events, bytes and gaps behind the opening block, up to the last event."""
    assert (await stream.block()).startswith(b": fastsse\n")
    body = b""
    while b"data: last\n" not in body:
        body += await stream.block()
    events = Decoder().feed(body)
    return len(events), len(body), sum(event.event == "gap" for event in events)


async def test_a_stream_that_ends_before_the_sweep_has_come_to_it_gets_the_event_before_its_last_block(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with started() as hub, AsyncExitStack() as stack:
        streams: list[Stream] = []
        for number in range(2100):
            context = follow(hub, "a", remote=(number,))
            streams.append(await stack.enter_async_context(context))
        await hub.publish("a", "x")
        await asyncio.sleep(0)  # one pass of the pump: 2,000 sends

        hub.drain()
        for stream in streams:
            await stream.ended()

    reached = [b"data: x" in stream.unread for stream in streams]
    assert 2100 == sum(reached)
    sent = {int(found["remote"]): found["events"] for found in map(fields, caplog.messages)}
    assert list(map(int, reached)) == [sent[number] for number in range(2100)]


@pytest.mark.parametrize("more", [0, 1])
async def test_what_came_from_the_history_and_is_still_pending_counts_once(
    more: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(coalesce=0.1) as hub, follow(hub, "a", remote=(1,)):
        await hub.publish("a", "x")
        async with follow(hub, "a", remote=(2,), last_event_id="earliest") as late:
            await late.events(1)
            for _ in range(more):
                await hub.publish("a", "y")
            await late.events(more)

        assert [1 + more] == [fields(line)["events"] for line in caplog.messages]


async def test_the_gap_of_an_opening_counts(caplog: pytest.LogCaptureFixture) -> None:
    async with started() as hub, follow(hub, "a", last_event_id="nobody's") as stream:
        await stream.events(1)
        stream.disconnect()
        await stream.ended()

    assert [1] == [fields(line)["gaps"] for line in caplog.messages]


async def test_the_reason_is_why_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    async with started() as hub, follow(hub, "a"):
        async with hub.subscribe("a"):
            pass
        hub.drain()

    assert ["closed", "shutdown"] == [fields(line)["reason"] for line in caplog.messages]


@pytest.mark.parametrize(
    "name", ['a" reason=forged', "a] reason=forged [", "a\\", "ä ", "a=b", "x" * 256, "\U0001f600"]
)
async def test_a_topic_cannot_forge_a_field(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with started() as hub, follow(hub, name, "b"):
        pass

    [line] = caplog.messages
    found = fields(line)
    assert "disconnected" == found["reason"]
    shown = name if len(name) <= 64 else name[:63] + "…"
    assert ",".join(sorted([shown, "b"])) == found["topics"]
    assert line.isascii()


async def test_a_remote_address_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    remote = ('1\nINFO "stream\x7f ended\u2028 ' + "9" * 100, 1)
    async with started() as hub, follow(hub, "a", remote=remote):
        pass

    [line] = caplog.messages
    assert line.isascii()
    assert line.isprintable()
    assert "disconnected" == fields(line)["reason"]


async def test_a_line_is_bounded_however_many_topics_there_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with started() as hub, follow(hub, *("\U0001f600" * 60 + str(n) for n in range(100))):
        pass

    [line] = caplog.messages
    assert 95 == fields(line)["more_topics"]
    assert len(line) < 5000


async def test_where_nobody_wants_the_line_no_account_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, LOGGER)
    async with started() as hub, follow(hub, "a"):
        [subscriber] = hub.audiences.members()
        assert subscriber.tally is None

        caplog.set_level(logging.INFO, LOGGER)

    [line] = caplog.messages
    assert ["id", "reason", "topics"] == sorted(fields(line))


async def test_the_app_and_a_response_of_the_hub_know_the_remote_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with started() as hub:
        for app in (create_app(hub=hub), hub.response("a")):
            headers = {"host": "localhost"}
            async with open_stream(app, "/events", {"topic": "a"}, headers) as stream:
                assert 200 == stream.status

    assert ["127.0.0.1:50000"] * 2 == [fields(line)["remote"] for line in caplog.messages]


async def test_the_server_writes_the_line_to_stderr_when_its_level_says_so(
    clients: Clients, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve("--log-level", "info") as server:
        stream = await clients.follow(server, "/events?topic=a&topic=b")
        port = stream.writer.get_extra_info("sockname")[1]
        server.publish("a", "x")
        await stream.events(1)
        await stream.close()
        wait_for(lambda: server.health()["streams"] == 0)

    [line] = [line for line in capsys.readouterr().err.splitlines() if "stream ended" in line]
    found = fields(line[line.index("stream ended") :])
    assert ("disconnected", "a,b", 1) == (found["reason"], found["topics"], found["events"])
    assert f"127.0.0.1:{port}" == found["remote"]
