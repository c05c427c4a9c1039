"""A source in a thread: closing from another one, interruption, leaving and going on."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.misbehaving import Misbehaving, answer, head, send, silence, stream
from support.neighbours import need
from support.servers import environment

from fastsse.client import EventSource, StreamEnded

QUIET = [send(head() + b"id: 1\ndata: a\n\n"), silence()]
MORE = [stream(b"id: 2\ndata: b\n\n")]
END = [send(answer(204))]
ERROR = [send(head(404, {"Content-Length": "9"}, "text/plain") + b"why"), silence()]
SOON = 1.0  # s, within which something must happen that happens at once


@pytest.fixture(
    params=["stdlib", "httpx2", pytest.param("httpx", marks=pytest.mark.long), "requests"]
)
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Give a client object without certificates, which take a tenth of a second to load."""
    if request.param == "stdlib":
        yield "stdlib"
        return
    module: Any = need(request.param)
    kind = module.Session() if request.param == "requests" else module.Client(verify=False)
    with contextlib.closing(kind):
        yield kind


def source(url: str, client: Any, **options: Any) -> EventSource:
    return EventSource(url, client=client, **{"reconnection_time": 0.002, **options})


def gone(server: Misbehaving) -> None:
    """Wait until no connection is open."""
    until = time.monotonic() + 5
    while server.open_connections:
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.mark.parametrize(
    "script",
    [QUIET, [silence()], [send(head())], ERROR],
    ids=["stream", "head", "wait", "error"],
)
def test_close_by_another_thread_ends_the_iteration_at_once(script: Any, client: Any) -> None:
    with Misbehaving(script) as server:
        events = source(server.url, client, reconnection_time=60.0, idle_timeout=2.0)
        threading.Timer(0.05, events.close).start()

        begun = time.monotonic()
        list(events)

        assert time.monotonic() - begun < SOON
        assert "stopped" == events.state
        assert [] == list(events)
        gone(server)


def test_no_thread_stays(client: Any) -> None:
    before = set(threading.enumerate())
    with Misbehaving(QUIET) as server:
        with source(server.url, client) as events:
            next(events)
            mine = {it for it in threading.enumerate() if it.name == "fastsse-open"}
        gone(server)

    assert set() == {it for it in mine - before if it.is_alive()}


def test_leaving_the_block_closes_the_connection(client: Any) -> None:
    with Misbehaving(QUIET) as server:
        with source(server.url, client) as events:
            for _ in events:
                break
        gone(server)


def test_close_in_the_loop_ends_it(client: Any) -> None:
    with Misbehaving(QUIET) as server:
        with source(server.url, client) as events:
            for _ in events:
                events.close()
        gone(server)


def test_open_connects_and_shows_the_response(client: Any) -> None:
    with Misbehaving(QUIET) as server, source(server.url, client) as events:
        assert events.response is None

        response = events.open()

        assert (200, "open") == (response.status, events.state)
        assert response is events.response
        assert "a" == next(events).data


def test_open_where_there_is_no_stream(client: Any) -> None:
    with Misbehaving(END) as server, source(server.url, client) as events:
        with pytest.raises(StreamEnded):
            events.open()


def test_one_thread_at_a_time(client: Any) -> None:
    with Misbehaving(QUIET) as server, source(server.url, client) as events:
        next(events)
        thread = threading.Thread(target=list, args=(events,))
        thread.start()
        time.sleep(0.02)

        with pytest.raises(RuntimeError, match="another thread"):
            next(events)
        events.close()
        thread.join()


def test_an_error_of_a_comments_hook_comes_after_the_events_and_loses_none(client: Any) -> None:
    def refuse(text: str) -> None:
        raise LookupError(text)

    with Misbehaving([stream(b"data: a\n\n: bad\n\ndata: b\n\n")], END) as server:
        with source(server.url, client, on_comment=refuse) as events:
            assert ["a", "b"] == [next(events).data, next(events).data]
            with pytest.raises(LookupError, match="bad"):
                next(events)
            assert [] == list(events)
        assert 2 == len(server.requests)


def test_the_last_event_id_is_that_of_the_event_that_was_taken(client: Any) -> None:
    body = b"id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\n\n"
    with Misbehaving([stream(body)], END) as server:
        with source(server.url, client, last_event_id="0") as events:
            events.open()
            assert "0" == events.last_event_id
            seen = [events.last_event_id for _ in events]
            assert ["1", "3"] == seen


INTERRUPTED = """
import sys, signal
from fastsse.client import EventSource
print("ready", flush=True)
try:
    for event in EventSource(sys.argv[1], reconnection_time=60):
        print(event.data, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
@pytest.mark.parametrize(
    "script", [QUIET, [silence()], [send(answer(503))]], ids=["stream", "head", "wait"]
)
def test_ctrl_c_is_heard_at_once(script: Any) -> None:
    with Misbehaving(script) as server:
        command = [sys.executable, "-c", INTERRUPTED, server.url]
        with subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, text=True
        ) as process:
            until = time.monotonic() + 10
            while not server.requests:
                assert time.monotonic() < until
                time.sleep(0.005)
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)

            told, _ = process.communicate(timeout=5)

        assert told.endswith("interrupted\n")
