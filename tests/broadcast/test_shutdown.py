"""SIGTERM and SIGINT against a real server with open streams: each ends whole, and the process is gone at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import pytest
from support.servers import (
    Clients,
    Connection,
    Server,
    serve_as,
    serve_granian,
    serve_uvicorn,
    unchunk,
    wait_for,
)

STREAMS = 1000
COMING_BACK = 500
AT_ONCE = 100  # connections that are opened at a time

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")

Serve = Callable[..., AbstractContextManager[Server]]


async def open_streams(
    clients: Clients, server: Server, count: int, target: str = "/events?topic=t{}"
) -> list[Connection]:
    streams: list[Connection] = []
    while len(streams) < count:
        batch = min(AT_ONCE, count - len(streams))
        streams += await asyncio.gather(
            *[clients.follow(server, target.format(n % 7)) for n in range(batch)]
        )
    return streams


async def gone(server: Server, signum: signal.Signals, *, group: bool = False) -> tuple[float, int]:
    """Send the signal; return the seconds until the process has ended, and its exit code."""
    start = time.perf_counter()
    server.signal(signum, group=group)
    code = await asyncio.to_thread(server.wait)
    return time.perf_counter() - start, code


def assert_whole(body: bytes) -> None:
    """Check the rest of a stream after its first chunk: a last block, then the last chunk."""
    content, complete = unchunk(body)
    assert complete, body
    assert content.endswith(b"\n\n"), body
    assert b"shutdown" in content, body


@pytest.fixture(autouse=True)
def _enough_files() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = STREAMS + 200
    if hard != resource.RLIM_INFINITY and hard < need:
        pytest.skip(f"needs {need} open files; ulimit -Hn says {hard}")
    if soft != resource.RLIM_INFINITY and soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


def answers(server: Server) -> bool:
    try:
        return bool(server.health()["status"] == "ok")
    except OSError:
        return False


@contextmanager
def serve_in_terminal(*before: str) -> Iterator[tuple[Server, int]]:
    """Run `fastsse serve` as a shell's child; its terminal ends when the descriptor that is given is closed."""
    import fcntl
    import pty
    import termios

    terminal, its_end = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(its_end, termios.TIOCSCTTY, 0)

    command = [*before, sys.executable, "-m", "fastsse", "serve"]
    try:
        with serve_as(command, stdin=its_end, preexec_fn=take_terminal) as server:
            os.close(its_end)
            yield server, terminal
    finally:
        with contextlib.suppress(OSError):
            os.close(terminal)


async def assert_gone_in_a_second(scenario: Callable[[], Awaitable[float]]) -> None:
    """Run a scenario up to five times, because other processes may have the machine just then."""
    seconds = [await scenario()]
    while min(seconds) >= 1.0 and len(seconds) < 5:
        seconds.append(await scenario())
    assert min(seconds) < 1.0, seconds


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
async def test_a_thousand_streams_end_whole_and_the_process_is_gone_in_a_second(
    loop_server: Serve, clients: Clients, signum: signal.Signals
) -> None:
    async def scenario() -> float:
        with loop_server() as server:
            streams = await open_streams(clients, server, STREAMS)
            assert server.health()["streams"] == STREAMS
            endings = [asyncio.create_task(stream.to_the_end()) for stream in streams]

            seconds, code = await gone(server, signum)

            for body in await asyncio.gather(*endings):
                assert_whole(body)
            assert 0 == code
            return seconds

    await assert_gone_in_a_second(scenario)


async def test_ctrl_c_reaches_every_process_and_ends_as_cleanly(
    loop_server: Serve, clients: Clients
) -> None:
    async def scenario() -> float:
        with loop_server() as server:
            streams = await open_streams(clients, server, 100)

            seconds, code = await gone(server, signal.SIGINT, group=True)

            for stream in streams:
                assert_whole(await stream.to_the_end())
            assert 0 == code
            return seconds

    await assert_gone_in_a_second(scenario)


async def test_ctrl_c_ends_granians_own_command_as_cleanly(clients: Clients) -> None:
    async def scenario() -> float:
        with serve_granian() as server:
            streams = await open_streams(clients, server, 100)

            seconds, code = await gone(server, signal.SIGINT, group=True)

            for stream in streams:
                assert_whole(await stream.to_the_end())
            assert 0 == code
            return seconds

    await assert_gone_in_a_second(scenario)


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.01])
async def test_a_second_signal_to_every_process_does_no_harm(
    loop_server: Serve, clients: Clients, pause: float
) -> None:
    async def scenario() -> float:
        with loop_server() as server:
            streams = await open_streams(clients, server, 100)
            server.signal(signal.SIGTERM, group=True)
            await asyncio.sleep(pause)  # waits for nothing: the two signals shall come this close

            seconds, _ = await gone(server, signal.SIGINT, group=True)

            for stream in streams:
                assert_whole(await stream.to_the_end())
            return seconds

    await assert_gone_in_a_second(scenario)


async def test_an_idle_server_is_gone_in_a_second(loop_server: Serve) -> None:
    async def scenario() -> float:
        with loop_server() as server:
            seconds, code = await gone(server, signal.SIGTERM)

            assert 0 == code
            return seconds

    await assert_gone_in_a_second(scenario)


async def test_connections_that_are_kept_alive_do_not_delay_the_end(
    loop_server: Serve, clients: Clients
) -> None:
    async def scenario() -> float:
        with loop_server() as server:
            idle = await clients.connect(server, "GET /health HTTP/1.1")
            await idle.start()

            seconds, _ = await gone(server, signal.SIGTERM)

            return seconds

    await assert_gone_in_a_second(scenario)


async def test_a_publisher_whose_stream_is_still_open_is_told_what_was_published(
    loop_server: Serve, clients: Clients
) -> None:
    head = (
        "POST /events?topic=a HTTP/1.1\r\n"
        "Content-Type: text/event-stream\r\n"
        "Transfer-Encoding: chunked"
    )

    async def scenario() -> float:
        with loop_server() as server:
            reader = await clients.follow(server, "/events?topic=a")
            publisher = await clients.connect(server, head, b"9\r\ndata: x\n\n\r\n")
            await reader.events(1)

            seconds, _ = await gone(server, signal.SIGTERM)

            answer = await publisher.to_the_end()
            assert answer.startswith(b"HTTP/1.1 503 "), answer
            problem: Any = json.loads(answer.partition(b"\r\n\r\n")[2])
            assert 1 == problem["count"]
            return seconds

    await assert_gone_in_a_second(scenario)


async def test_what_was_published_last_reaches_everybody_before_the_end(
    loop_server: Serve, clients: Clients
) -> None:
    with loop_server() as server:
        streams = await open_streams(clients, server, 70)
        for n in range(7):
            server.publish(f"t{n}", "last words")

        await gone(server, signal.SIGTERM)

        for stream in streams:
            body = await stream.to_the_end()
            assert b"data: last words\n\n" in body, body
            assert_whole(body)


async def test_a_paced_drain_ends_the_streams_one_after_the_other(
    loop_server: Serve, clients: Clients
) -> None:
    ended: list[float] = []

    async def ending(stream: Connection) -> None:
        *_, last = [chunk async for chunk in stream.chunks()]
        assert b"shutdown" in last
        ended.append(time.perf_counter())

    with loop_server("--drain", "1") as server:
        streams = await open_streams(clients, server, 100)
        endings = [asyncio.create_task(ending(stream)) for stream in streams]

        _, code = await gone(server, signal.SIGTERM)

        await asyncio.gather(*endings)
        assert 0 == code
        assert ended[-1] - ended[0] > 0.5


async def test_all_who_come_back_at_once_after_a_paced_drain_get_everything_or_are_told(
    loop_server: Serve, clients: Clients
) -> None:
    """The log was in the old process's memory: a gap says that it is gone, and then comes all that is kept."""
    with loop_server("--drain", "1") as server:
        streams = await open_streams(clients, server, COMING_BACK, "/events?topic=a")
        before = [server.publish("a", f"before {n}") for n in range(3)]
        endings = [asyncio.create_task(stream.to_the_end()) for stream in streams]
        _, code = await gone(server, signal.SIGTERM)
        bodies = await asyncio.gather(*endings)

    assert 0 == code
    told: list[int] = []
    for body in bodies:
        assert_whole(body)
        content, _ = unchunk(body)
        *events, last = content.decode().split("\n\n")[:-1]
        assert [*before] == [event.partition("\n")[0].removeprefix("id: ") for event in events]
        told.append(int(last.partition("retry: ")[2]))
    assert 2000 <= min(told) < 2500 < 3500 < max(told) <= 4000
    assert len(set(told)) > COMING_BACK // 2

    with loop_server("--port", str(server.port)) as server:
        after = [server.publish("a", f"after {n}") for n in range(3)]
        streams = await asyncio.gather(
            *[
                clients.follow(server, "/events?topic=a", f"Last-Event-ID: {before[-1]}")
                for _ in range(COMING_BACK)
            ]
        )
        after.append(server.publish("a", "live"))

        for stream in streams:
            gap, *events = await stream.events(5)
            assert ("gap", "restart") == (gap.event, gap.json()["reason"])
            assert before[-1] == gap.json()["from"]
            assert after == [event.id for event in events]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
async def test_under_uvicorn_streams_end_whole_too(
    signum: signal.Signals, clients: Clients
) -> None:
    pytest.importorskip("uvicorn")

    async def scenario() -> float:
        with serve_uvicorn() as server:
            streams = await open_streams(clients, server, STREAMS)
            endings = [asyncio.create_task(stream.to_the_end()) for stream in streams]

            seconds, _ = await gone(server, signum)

            for body in await asyncio.gather(*endings):
                assert_whole(body)
            return seconds

    await assert_gone_in_a_second(scenario)


async def test_the_worker_does_not_outlive_its_parent(loop_server: Serve) -> None:
    with loop_server() as server:
        await gone(server, signal.SIGTERM)

        with pytest.raises(ProcessLookupError):
            os.killpg(server.process.pid, 0)


async def test_sighup_restarts_the_worker_and_never_are_there_two(
    loop_server: Serve, clients: Clients
) -> None:
    with loop_server("--drain", "0.5") as server:
        epoch = server.health()["epoch"]
        last = server.publish("a", "of the old")
        streams = await open_streams(clients, server, 50)
        endings = [asyncio.create_task(stream.to_the_end()) for stream in streams]

        server.signal(signal.SIGHUP)

        seen: set[str] = set()
        while not all(ending.done() for ending in endings):
            with contextlib.suppress(OSError):
                seen.add((await asyncio.to_thread(server.health))["epoch"])
        assert seen <= {epoch}
        for ending in endings:
            assert_whole(ending.result())
        wait_for(lambda: answers(server))
        reader = await clients.follow(server, "/events?topic=a", f"Last-Event-ID: {last}")
        server.publish("a", "of the new")
        gap, event = await reader.events(2)
        assert (last, "restart") == (gap.json()["from"], gap.json()["reason"])
        assert "of the new" == event.data
        _, code = await gone(server, signal.SIGTERM)
        assert 0 == code


@pytest.mark.parametrize("pause", [0.0, 0.02, 0.04, 0.06])
async def test_a_stop_is_heard_by_a_worker_that_only_starts(
    loop_server: Serve, clients: Clients, pause: float
) -> None:
    with loop_server() as server:
        stream = await clients.follow(server, "/events?topic=a")
        server.signal(signal.SIGHUP)
        assert_whole(await stream.to_the_end())
        await asyncio.sleep(pause)  # waits for nothing: the new worker is as far as that

        seconds, code = await gone(server, signal.SIGTERM)

        assert 0 == code
        assert seconds < 4.0  # a worker that hangs is killed after five


async def test_a_terminal_that_is_closed_ends_it_as_cleanly(clients: Clients) -> None:
    with serve_in_terminal() as (server, terminal):
        stream = await clients.follow(server, "/events?topic=a")

        os.close(terminal)

        assert 0 == await asyncio.to_thread(server.wait)
        assert_whole(await stream.to_the_end())


async def test_sighup_in_a_terminal_that_is_open_restarts_the_worker() -> None:
    with serve_in_terminal() as (server, terminal):
        epoch = server.health()["epoch"]

        def is_another() -> bool:
            with suppress(OSError):  # the old worker may end between two questions
                return answers(server) and bool(server.health()["epoch"] != epoch)
            return False

        server.signal(signal.SIGHUP)

        wait_for(is_another)
        os.close(terminal)
        assert 0 == await asyncio.to_thread(server.wait)


async def test_under_nohup_a_hangup_is_nothing(clients: Clients) -> None:
    with serve_in_terminal("sh", "-c", "trap '' HUP; exec \"$@\"", "sh") as (server, terminal):
        stream = await clients.follow(server, "/events?topic=a")

        server.signal(signal.SIGHUP, group=True)
        os.close(terminal)

        server.publish("a", "x")
        assert ["x"] == [event.data for event in await stream.events(1)]
