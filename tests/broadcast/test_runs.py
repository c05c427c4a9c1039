"""Runs over real servers: a hundred readers see one answer, and a hub that is killed tells no false end."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.servers import (
    ROOT,
    Clients,
    Connection,
    Server,
    free_port,
    run,
    serve,
    serve_granian,
    serve_uvicorn,
)

from fastsse import Event

WORDS = [f"word{n} " for n in range(1, 201)]

# The example, with other settings: an answer takes about a second.
EXAMPLE = """
import run
from starlette.responses import JSONResponse
from starlette.routing import Route

run.PAUSE = 0.005
app = run.app
app.routes.append(Route("/health", lambda request: JSONResponse({})))
"""


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    made = Clients()
    yield made
    await made.close()


def texts(events: list[Event], type: str = "message") -> list[str]:
    return [event.data for event in events if event.event == type]


async def ask(server: Server, clients: Clients, path: str, last: str = "") -> Connection:
    """Send a request for a stream, and read the head of the answer."""
    more = f"\r\nLast-Event-ID: {last}" if last else ""
    connection = await clients.connect(server, f"GET {path} HTTP/1.1{more}")
    await connection.start()
    return connection


@pytest.mark.parametrize(
    "serve_by", [serve_granian, pytest.param(serve_uvicorn, marks=pytest.mark.long)]
)
async def test_a_hundred_readers_of_the_example_see_the_same_answer_and_its_end_once(
    serve_by: Any, clients: Clients, tmp_path: Path
) -> None:
    (tmp_path / "quick.py").write_text(EXAMPLE)
    path = os.pathsep.join(map(str, [ROOT, ROOT / "examples", tmp_path]))
    chance = random.Random(7)

    async def follow(server: Server) -> list[Event]:
        """Come at a random moment, leave at another, and come back until nothing is left."""
        await asyncio.sleep(chance.random())
        events: list[Event] = []
        while True:
            last = events[-1].id if events else ""
            connection = await ask(server, clients, "/answers/1/events", last)
            if connection.status == 204:
                return events
            assert connection.status == 200
            if chance.random() < 0.5:
                async with asyncio.timeout(60):
                    await connection.read_into(events)
            else:
                for _ in range(chance.randrange(50)):
                    events += await connection.events(1)
                    if events[-1].event == "end":
                        break
            await connection.close()

    with serve_by(app="quick:app", PYTHONPATH=path) as server:
        streams = await asyncio.gather(*(follow(server) for _ in range(100)))

    assert all(stream == streams[0] for stream in streams)
    assert WORDS == texts(streams[0])
    assert [{"topic": "answers/1", "reason": "finished"}] == [
        json.loads(text) for text in texts(streams[0], "end")
    ]


class TestAHubThatIsKilled:
    """The process is gone without a word: its readers hear of what they cannot get, and of no end."""

    async def test_over_a_log_in_memory_its_readers_are_told_of_a_gap(
        self, clients: Clients
    ) -> None:
        port = str(free_port())
        events: list[Event] = []
        with serve("--port", port) as server:
            first = await clients.follow(server, "/events?topic=run")
            for word in WORDS[:20]:
                server.publish("run", word)
            events += await first.events(20)
            server.signal(signal.SIGKILL, group=True)
            await first.read_into(events)

        with serve("--port", port) as server:
            last = f"Last-Event-ID: {events[-1].id}"
            second = await clients.follow(server, "/events?topic=run", last)
            [gap] = await second.events(1)
            server.publish("run", "again")
            [again] = await second.events(1)
            server.request("DELETE", "/events?topic=run")
            rest: list[Event] = []
            await second.read_into(rest)

        assert WORDS[:20] == texts(events), "no event beyond those, and no end"
        assert ("gap", "restart") == (gap.event, gap.json()["reason"])
        assert events[-1].id == gap.json()["from"]
        assert "again" == again.data
        assert ["end"] == [event.event for event in rest]

    async def test_over_a_log_that_lasts_its_readers_miss_nothing(
        self, clients: Clients, tmp_path: Path
    ) -> None:
        page = (ROOT / "docs" / "stores.md").read_text(encoding="utf-8")
        [store] = re.findall(r"```python\n(import json.*?)```", page, re.DOTALL)
        (tmp_path / "durable.py").write_text(
            f"{store}\n"
            "from fastsse.broadcast import Hub, Settings\n"
            "from fastsse.broadcast.app import create_app\n"
            f"app = create_app(hub=Hub(Settings.load(), TableStore({str(tmp_path / 'log.db')!r})))\n"
        )
        path = os.pathsep.join([str(ROOT), str(tmp_path)])
        events: list[Event] = []
        for part in (WORDS[:70], WORDS[70:140], WORDS[140:]):
            with serve_granian(app="durable:app", PYTHONPATH=path) as server:
                last = [f"Last-Event-ID: {events[-1].id}"] if events else []
                connection = await clients.follow(
                    server, "/events?topic=run&last_event_id=earliest", *last
                )
                for word in part:
                    server.publish("run", word)
                if part[-1] == WORDS[-1]:
                    server.request("DELETE", "/events?topic=run")
                else:
                    events += await connection.events(len(part) - 20)  # the rest is missed
                    server.signal(signal.SIGKILL, group=True)
                await connection.read_into(events)
        with serve_granian(app="durable:app", PYTHONPATH=path) as server:
            late: list[Event] = []
            everything = "/events?topic=run&last_event_id=earliest"
            reader = await clients.follow(server, everything)
            await reader.read_into(late)
            again = await ask(server, clients, "/events?topic=run", events[-1].id)

        assert WORDS == texts(events)
        assert events == late
        assert ["end"] == [event.event for event in events if event.event != "message"]
        assert 204 == again.status


def test_the_command_publishes_an_end_and_a_reader_exits_at_it() -> None:
    with serve() as server:
        published = run("publish", "--end", server.url, "run", "all of it")
        subscribed = run("subscribe", "--last-event-id", "earliest", server.url, "run")
        ends = json.loads(published.stdout)["ends"]
        late = run("subscribe", "--last-event-id", ends[0], server.url, "run")
        refused = run("publish", server.url, "run", "more")

        server.publish("other", "1")
        server.request("DELETE", "/events?topic=other&reason=failed")
        failed = run("subscribe", "--last-event-id", "earliest", server.url, "other")
        streamed = run(
            "publish", "--stream", "--end", server.url, "third", given=b"data: 1\n\ndata: 2\n\n"
        )
        both = run("subscribe", "--json", "--last-event-id", "earliest", server.url, "third")

    assert (0, b"all of it\n", b"") == (subscribed.returncode, subscribed.stdout, subscribed.stderr)
    assert (0, b"") == (late.returncode, late.stdout)
    assert 0 != refused.returncode
    assert b"refused (409): topic 'run': has ended" in refused.stderr
    assert (0, b"1\n") == (failed.returncode, failed.stdout)
    assert b'fastsse: end: {"topic":"other","reason":"failed"}' in failed.stderr
    assert 0 == streamed.returncode
    assert ["1", "2", '{"topic":"third","reason":"finished"}'] == [
        json.loads(line)["data"] for line in both.stdout.splitlines()
    ]


def test_a_reader_of_the_command_that_is_cut_off_after_an_end_has_failed() -> None:
    with serve("--lifetime", "1") as server:
        server.request("DELETE", "/events?topic=a")
        cut = run("subscribe", "--no-retry", "--last-event-id", "earliest", server.url, "a", "b")

    assert 0 != cut.returncode
    assert b"the stream ended" in cut.stderr
