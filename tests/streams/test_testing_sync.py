"""The client in memory for plain functions, the fixture of pytest, and both under the test plugins of others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.servers import DEADLINE, ROOT, environment

from fastsse import EventSourceResponse
from fastsse.testing import Ended
from fastsse.testing_sync import Client, SyncStream


class App:
    """An application with a life: it counts what happens to it."""

    def __init__(self) -> None:
        self.log: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.live(scope, receive, send)
        elif scope["path"] == "/fails":
            raise LookupError("of the application")
        elif scope["path"] == "/finite":
            await EventSourceResponse(["a", scope["state"]["name"]])(scope, receive, send)
        else:
            response = EventSourceResponse(self.numbers(), on_close=self.log.append)
            await response(scope, receive, send)

    async def live(self, scope: Any, receive: Any, send: Any) -> None:
        for name in ("startup", "shutdown"):
            assert f"lifespan.{name}" == (await receive())["type"]
            scope["state"]["name"] = "state"
            self.log.append(name)
            await send({"type": f"lifespan.{name}.complete"})

    async def numbers(self) -> AsyncIterator[str]:
        number = 0
        while True:
            yield str(number)
            number += 1
            await asyncio.sleep(0)


def test_an_endless_stream_is_read_and_left() -> None:
    app = App()

    with Client(app) as client, client.stream("/events") as stream:
        assert (200, False, True) == (stream.status, stream.complete, stream.running)
        assert "text/event-stream; charset=utf-8" == stream.headers["content-type"]
        assert (b"cache-control", b"no-store, no-transform") in stream.raw_headers
        assert ["0", "1", "2"] == [event.data for event in stream.events(3)]
        assert stream.block().startswith(b"data: ")
        assert stream.chunk()
        stream.disconnect()
        stream.ended()
        assert not stream.running

    assert ["startup", "disconnected", "shutdown"] == app.log


def test_the_end_of_the_block_is_a_disconnect() -> None:
    app = App()

    with Client(app) as client:
        with client.stream("/events") as stream:
            stream.events(1)
        assert ["startup", "disconnected"] == app.log


def test_a_client_that_stops_reading_blocks_the_application() -> None:
    with Client(App()) as client, client.stream("/events") as stream:
        stream.stall()
        stream.blocked()
        stream.resume()

        assert "100" == stream.events(101)[100].data


def test_a_finite_response_is_fetched_with_the_state_of_the_lifespan() -> None:
    with Client(App()) as client:
        answer = client.fetch("/finite")

        assert (200, b":\n\ndata: a\n\ndata: state\n\n") == (answer.status, answer.body)
        with client.stream("/finite") as stream:
            assert 2 == len(stream.events(2))
            assert b"" == stream.rest()
            assert (b"", True) == (stream.unread, stream.complete)
            with pytest.raises(Ended):
                stream.chunk()


def test_an_exception_before_the_start_is_raised_in_the_test() -> None:
    with Client(App()) as client:
        with pytest.raises(LookupError, match="of the application"):
            client.fetch("/fails")
        with pytest.raises(LookupError, match="of the application"):
            with client.stream("/fails", wait=False) as stream:
                stream.started()


def test_a_failure_of_the_block_goes_first() -> None:
    def fail(stream: SyncStream) -> None:
        stream.events(1)
        raise ZeroDivisionError

    with Client(App()) as client:
        with pytest.raises(ZeroDivisionError), client.stream("/events") as stream:
            fail(stream)


def test_a_response_is_an_application_without_a_lifespan() -> None:
    with Client(EventSourceResponse(["a"]), lifespan=False) as client:
        assert b":\n\ndata: a\n\n" == client.fetch().body


def test_a_startup_that_fails_is_raised_and_leaves_no_thread() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise LookupError("of the startup")

    before = threading.active_count()

    with pytest.raises(LookupError, match="of the startup"):
        with Client(app):
            pass

    assert before == threading.active_count()


def test_clients_know_nothing_of_each_other() -> None:
    before = threading.active_count()

    with Client(App()) as one, Client(App()) as other:
        with one.stream() as first, other.stream() as second, one.stream() as third:
            assert [["0"], ["0"], ["0"]] == [
                [event.data for event in stream.events(1)] for stream in (first, second, third)
            ]

    assert before == threading.active_count()


async def test_a_client_may_be_used_within_a_test_on_a_loop() -> None:
    with Client(App()) as client, client.stream() as stream:
        assert 1 == len(stream.events(1))


def test_a_deadline_fails_the_test_and_does_not_hang() -> None:
    async def silent() -> AsyncIterator[str]:
        await asyncio.Event().wait()
        yield "never"

    with Client(EventSourceResponse(silent(), retry=1), lifespan=False, deadline=0.05) as client:
        with client.stream() as stream:
            stream.block()
            with pytest.raises(AssertionError, match=r"no sign of .* within 0\.05 s"):
                stream.events(1)


def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        Client(App()).fetch()


STRANGERS = """
import asyncio

import pytest
from fastsse import EventSourceResponse
from fastsse.testing import open_stream


async def app(scope, receive, send):
    async def numbers():
        for number in range(1000):
            yield str(number)
            await asyncio.sleep(0)

    await EventSourceResponse(numbers())(scope, receive, send)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.parametrize("turn", [1, 2])
@MARK
async def test_async(turn):
    async with open_stream(app) as one, open_stream(app) as other:
        assert [["0", "1"], ["0", "1"]] == [
            [event.data for event in await stream.events(2)] for stream in (one, other)
        ]
        one.disconnect()
        await one.ended()


@pytest.mark.parametrize("turn", [1, 2])
def test_sync(turn, sse_client):
    client = sse_client(app, lifespan=False)
    with client.stream() as stream:
        assert ["0", "1"] == [event.data for event in stream.events(2)]


@pytest.mark.parametrize("turn", [1, 2])
@MARK
async def test_sync_within_async(turn, sse_client):
    with sse_client(app, lifespan=False).stream() as stream:
        assert ["0"] == [event.data for event in stream.events(1)]
"""

PLUGINS = [
    pytest.param("anyio", "no:asyncio", "", id="anyio"),
    pytest.param(
        "asyncio", "no:anyio", "asyncio_default_fixture_loop_scope = function", id="asyncio"
    ),
]


@pytest.mark.parametrize(("mark", "without", "setting"), PLUGINS)
def test_strangers_use_it_under_their_own_plugin(
    mark: str, without: str, setting: str, tmp_path: Path
) -> None:
    pytest.importorskip("anyio")
    text = STRANGERS.replace("MARK", f"pytest.mark.{mark}")
    (tmp_path / "test_strangers.py").write_text(text, "utf-8")
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{setting}", "utf-8")

    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "fastsse.pytest_plugin"),
            *("-p", without),
            *("-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)),
        ],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=DEADLINE * 3,
        check=False,
    )

    assert 0 == ran.returncode, ran.stdout + ran.stderr
    assert "6 passed" in ran.stdout


def test_nothing_is_loaded_into_the_tests_of_strangers() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")

    assert "pytest11" not in project
