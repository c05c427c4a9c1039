"""`fastsse serve` as a process, and the commands beside it: sockets, heads, signals, parents, terminals."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.servers import (
    DEADLINE,
    Clients,
    Connection,
    Server,
    environment,
    free_port,
    run,
    serve,
    unchunk,
    wait_for,
)

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux's /proc")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
PLAIN = {"Content-Type": "text/plain"}
LARGE = b"x" * 1_000_000
HEAD = 390_000  # bytes: what granian takes by itself


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """Open raw connections, and close them in the end."""
    opened = Clients()
    yield opened
    await opened.close()


def worker_of(server: Server) -> int:
    """Find the worker, which the main process has started."""
    main = server.process.pid
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    assert 1 == len(children), children
    return int(children[0])


def descriptors(worker: int) -> int:
    return len(os.listdir(f"/proc/{worker}/fd"))


def resident(worker: int) -> int:
    """Count the bytes of memory that a process holds."""
    pages = Path(f"/proc/{worker}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def exists(process: int) -> bool:
    with contextlib.suppress(OSError):
        return b"State:\tZ" not in Path(f"/proc/{process}/status").read_bytes()
    return False


async def stall(clients: Clients, server: Server, count: int, topic: str = "a") -> list[Connection]:
    """Open streams of readers that read their opening and nothing after it."""
    streams = [await clients.follow(server, f"/events?topic={topic}") for _ in range(count)]
    for stream in streams:
        stream.writer.transport.pause_reading()  # type: ignore[attr-defined]
    return streams


def fill(server: Server, topic: str = "a", count: int = 1) -> int:
    """Publish until so many streams have more than granian and the kernel take; return how many events that took."""
    for published in range(1, 30):
        server.request("POST", f"/events?topic={topic}", LARGE, PLAIN)
        if server.health()["blocked"] >= count:
            return published
    raise AssertionError("no reader was blocked")


def assert_whole(body: bytes) -> None:
    """Read the rest of a stream after its first chunk: a last block, then the last chunk."""
    content, complete = unchunk(body)
    assert complete, body[-200:]
    assert content.endswith(b"\n\n"), body[-200:]
    assert b"shutdown" in content, body[-200:]


# Heads


def answer_to(server: Server, head: bytes) -> bytes:
    """Send a request's head and return the first line of the answer; nothing when the connection is cut."""
    with socket.create_connection((server.host, server.port), DEADLINE) as connection:
        with contextlib.suppress(
            OSError
        ):  # it may answer, and close, before it has read everything
            connection.sendall(head)
        got = b""
        with contextlib.suppress(OSError):
            while chunk := connection.recv(65536):
                got += chunk
    return got.partition(b"\r\n")[0]


HEADS = {
    "host": b"GET /health HTTP/1.1\r\nConnection: close\r\nHost: %b\r\n\r\n",
    "last-event-id": b"GET /events?topic=a HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: %b\r\n\r\n",
    "cookie": b"GET /events?topic=a HTTP/1.1\r\nHost: localhost\r\nCookie: %b\r\n\r\n",
    "content type": b"POST /events?topic=a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain;%b\r\n"
    b"Content-Length: 1\r\n\r\nx",
    "name": b"GET /health HTTP/1.1\r\nHost: localhost\r\nX%b: x\r\n\r\n",
    "target": b"GET /health?%b HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("where", HEADS)
def test_a_head_of_hundreds_of_kilobytes_is_refused(where: str, shared: Server) -> None:
    """From: review F4"""
    status = answer_to(
        shared, HEADS[where] % (b";" * HEAD if where == "content type" else b"a" * HEAD)
    )

    assert status[9:12] in (b"431", b"414"), status


def test_many_small_headers_that_are_large_together_are_refused(shared: Server) -> None:
    """From: review F4"""
    many = b"".join(b"X-%d: %b\r\n" % (n, b"a" * 4000) for n in range(80))

    status = answer_to(shared, b"GET /health HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % many)

    assert b"431" == status[9:12], status


@LINUX
def test_refused_heads_leave_nothing_behind(shared: Server) -> None:
    """From: review F4"""
    worker = worker_of(shared)
    for n in range(20):  # what the first few make grow for good
        answer_to(shared, HEADS["host"] % (b"%d" % n * (HEAD // len(b"%d" % n))))
    before = resident(worker)

    for n in range(300):
        answer_to(shared, HEADS["host"] % (b"%03d" % n * (HEAD // 3)))

    assert resident(worker) - before < 16 * 2**20


async def test_an_honest_head_of_the_largest_kind_is_taken(
    shared: Server, clients: Clients
) -> None:
    """A hundred topics of 256 bytes, and a cookie as large as browsers keep.

    From: review F4
    """
    topics = "&".join("topic=" + f"{n:03}".ljust(256, "x") for n in range(100))

    stream = await clients.follow(shared, f"/events?{topics}", f"Cookie: a={'c' * 4090}")

    assert 200 == stream.status


# Readers that take nothing


@LINUX
async def test_sockets_of_stalled_readers_are_gone_soon_after_their_streams(
    clients: Clients,
) -> None:
    """Readers that read, that pause for less than `lag_seconds` or that have nothing to read stay.

    From: review F3
    """
    kept = ("--history-bytes", str(2**25), "--lag-bytes", str(2**30))
    with serve("--lag-seconds", "1.5", *kept) as server:
        worker = worker_of(server)
        idle = await clients.follow(server, "/events?topic=idle")
        [pausing] = await stall(clients, server, 1, "pause")
        count = fill(server, "pause")
        pausing.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for event in await pausing.events(count):
            assert len(LARGE) == len(event.data)
        before = descriptors(worker)
        stalled = await stall(clients, server, 12)
        reading = await clients.follow(server, "/events?topic=a")
        following = asyncio.create_task(reading.events(1))
        count = await asyncio.to_thread(fill, server, "a", 12)
        start = time.monotonic()

        await asyncio.to_thread(wait_for, lambda: descriptors(worker) <= before + 1)

        assert time.monotonic() - start < 1.5 + 5
        # As slow, where the kernel was not first.
        assert 12 == sum(server.health()["ended"].values())
        await following
        await reading.events(count - 1)
        server.publish("idle", "still here")
        server.publish("pause", "still here")
        server.publish("a", "still here")
        for stream in (idle, pausing, reading):
            [event] = await stream.events(1)
            assert "still here" == event.data
        del stalled


@LINUX
async def test_a_lifetime_ends_the_sockets_of_stalled_readers_too(clients: Clients) -> None:
    """From: review F3"""
    with serve("--lag-seconds", "2", "--lag-bytes", str(2**30), "--lifetime", "1") as server:
        worker = worker_of(server)
        before = descriptors(worker)
        stalled = await stall(clients, server, 5)
        fill(server)

        await asyncio.to_thread(wait_for, lambda: descriptors(worker) <= before, 2 + 5)

        assert 0 == server.health()["streams"]
        del stalled


@LINUX
async def test_the_longest_lag_of_any_topic_is_what_the_kernel_waits_for(clients: Clients) -> None:
    """From: review F3"""
    with serve("--lag-seconds", "1", "--topics", "far/*:lag_seconds=40") as server:
        stream = await clients.follow(server, "/events?topic=a")
        here = stream.writer.get_extra_info("sockname")

        assert 43_000 == user_timeout(worker_of(server), here)


def user_timeout(worker: int, peer: tuple[str, int]) -> int:
    """Read TCP_USER_TIMEOUT, in milliseconds, of another process's connection to `peer`."""
    code = (
        "import ctypes, os, socket, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "worker, port = map(int, sys.argv[1:])\n"
        "pidfd = libc.syscall(434, worker, 0)\n"
        "for name in os.listdir(f'/proc/{worker}/fd'):\n"
        "    fd = libc.syscall(438, pidfd, int(name), 0)\n"
        "    if fd < 0: continue\n"
        "    try:\n"
        "        found = socket.socket(fileno=fd)\n"
        "        if found.getpeername()[1] == port:\n"
        "            print(found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))\n"
        "    except (OSError, IndexError): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(worker), str(peer[1])],
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    if not done.stdout:
        pytest.skip("this system shows nobody the sockets of others")
    return int(done.stdout)


# Places


@LINUX
@pytest.mark.parametrize("flags", [(), ("--max-streams", "50")], ids=["defaults", "few streams"])
async def test_a_probe_is_answered_whatever_else_is_open(
    flags: tuple[str, ...], clients: Clients
) -> None:
    """Silent connections and bodies without an end are no streams, and both take places.

    From: review F7
    """
    never = (
        b"POST /events?topic=a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    with serve(*flags) as server, contextlib.ExitStack() as opened:
        for sent in (b"", never):
            for _ in range(1100):
                silent = socket.create_connection((server.host, server.port), DEADLINE)
                opened.enter_context(silent)
                silent.sendall(sent)

        seconds: list[float] = []
        for _ in range(20):
            start = time.monotonic()
            assert 200 == server.request("GET", "/health").status
            seconds.append(time.monotonic() - start)

        assert min(seconds) < 0.1, seconds
        await clients.follow(server, "/events?topic=b")


def test_fewer_connections_than_streams_and_bodies_are_refused() -> None:
    """From: review F7"""
    done = run("serve", "--port", "0", "--max-streams", "50", "--connections", "60")

    assert 1 == done.returncode
    assert b"--connections 60: must be more than" in done.stderr


def test_connections_beyond_their_bound_wait() -> None:
    """From: review F7"""
    with (
        serve("--max-streams", "1", "--connections", "520") as server,
        contextlib.ExitStack() as opened,
    ):
        silent = [
            opened.enter_context(socket.create_connection((server.host, server.port)))
            for _ in range(520)
        ]
        connection = http.client.HTTPConnection(server.host, server.port, timeout=0.3)
        connection.request("GET", "/health")
        with pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()

        for one in silent:
            one.close()

        assert 200 == server.request("GET", "/health").status


# Names


def test_a_public_server_says_at_its_start_which_names_it_answers_to(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """From: review F14"""
    for flags, said in (((), True), (("--hosts", "hub.example"), False)):
        with serve("--host", "0.0.0.0", "--open", *flags) as server:
            own = Server(server.process, server.port)
            status = own.request("GET", "/", None, {"Host": "hub.example"}).status

        assert (421 if said else 200) == status
        assert said == ("--hosts hub.example" in capfd.readouterr().err)


@LINUX
async def test_connections_that_are_no_streams_show_in_the_metrics(clients: Clients) -> None:
    """From: review F3"""

    def shown(server: Server) -> dict[str, float]:
        lines = server.request("GET", "/metrics").body.decode().splitlines()
        return {
            name: float(value)
            for name, _, value in (line.partition(" ") for line in lines)
            if name.startswith(("process_open_fds", "process_max_fds"))
        }

    with serve("--max-streams", "5") as server:
        before = shown(server)["process_open_fds"]

        for _ in range(30):
            await (await clients.connect(server, "GET /health HTTP/1.1")).start()

        after = shown(server)
        assert 30 == after["process_open_fds"] - before
        assert after["process_max_fds"] > 4096


# The end


@POSIX
async def test_readers_that_do_not_read_do_not_delay_the_end(clients: Clients) -> None:
    """From: review F5"""
    count = 20
    seconds: list[float] = []
    while (
        min(seconds, default=9.0) >= 1.5 and len(seconds) < 3
    ):  # others may have the machine just then
        with serve("--history-events", "1", "--log-level", "info") as server:
            stalled = await stall(clients, server, count)
            fill(server, count=count)
            idle = await clients.connect(server, "GET /health HTTP/1.1")
            silent = socket.create_connection((server.host, server.port))
            silent.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
            readers = [await clients.follow(server, "/events?topic=b") for _ in range(40)]
            endings = [asyncio.create_task(reader.to_the_end()) for reader in readers]
            start = time.monotonic()

            server.signal(signal.SIGTERM)
            code = await asyncio.to_thread(server.wait)

            seconds.append(time.monotonic() - start)
            assert 0 == code
            for body in await asyncio.gather(*endings):
                assert_whole(body)
            silent.close()
            del stalled, idle
    assert min(seconds) < 2.5, seconds  # 1.2 where nobody else is; it would be killed after five


@POSIX
async def test_a_restart_is_not_delayed_by_readers_that_do_not_read(clients: Clients) -> None:
    """From: review F5"""
    with serve("--history-events", "1") as server:
        epoch = server.health()["epoch"]
        stalled = await stall(clients, server, 5)
        fill(server)
        start = time.monotonic()

        server.signal(signal.SIGHUP)

        await asyncio.to_thread(wait_for, lambda: epoch_of(server) not in (None, epoch))
        assert time.monotonic() - start < 4.0  # it would be killed after five
        del stalled


def epoch_of(server: Server) -> str | None:
    with contextlib.suppress(OSError):
        return str(server.health()["epoch"])
    return None


@POSIX
async def test_while_it_drains_whoever_asks_is_told(clients: Clients) -> None:
    """From: review F16"""
    with serve("--drain", "2") as server:
        streams = [await clients.follow(server, "/events?topic=a") for _ in range(20)]
        endings = [asyncio.create_task(stream.to_the_end()) for stream in streams]
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGINT, group=True)

        await asyncio.to_thread(wait_for, lambda: server.health()["status"] == "draining")

        health = server.request("GET", "/health")
        reader = server.request("GET", "/events?topic=a")
        publisher = server.request("POST", "/events?topic=a", b"x", PLAIN)
        assert 503 == health.status
        assert 503 == reader.status
        assert int(reader.headers["retry-after"]) >= 1
        assert 503 == publisher.status
        for reply in (
            health,
            reader,
            publisher,
        ):  # whoever pools connections must not come back by this one
            assert "close" == reply.headers["connection"]
        assert 0 == await asyncio.to_thread(server.wait)
        for body in await asyncio.gather(*endings):
            assert_whole(body)


@LINUX
async def test_a_worker_whose_main_process_is_killed_ends_its_streams_and_itself(
    clients: Clients,
) -> None:
    """From: review F20"""
    with serve() as server:
        worker = worker_of(server)
        streams = [await clients.follow(server, "/events?topic=a") for _ in range(20)]

        server.signal(signal.SIGKILL)

        for stream in streams:
            assert_whole(await stream.to_the_end())
        await asyncio.to_thread(wait_for, lambda: not exists(worker))
        with serve("--port", str(server.port)) as second:
            assert "ok" == second.health()["status"]


@LINUX
def test_a_main_process_whose_worker_is_killed_fails_and_leaves_the_port() -> None:
    """From: review F20"""
    with serve() as server:
        os.kill(worker_of(server), signal.SIGKILL)

        assert 1 == server.wait()
        with serve("--port", str(server.port)) as second:
            assert "ok" == second.health()["status"]


@LINUX
def test_of_two_servers_that_start_at_once_on_one_port_one_is_refused() -> None:
    """From: review F20"""
    port = free_port()
    command = [sys.executable, "-m", "fastsse", "serve", "--port", str(port)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        for _ in range(2)
    ]
    try:
        wait_for(lambda: any(process.poll() is not None for process in both))

        [refused] = [process for process in both if process.poll() is not None]
        [served] = [process for process in both if process is not refused]
        assert served.stdout is not None
        assert served.stdout.readline().startswith(b"fastsse: http://")
        assert served.poll() is None
        _, errors = refused.communicate(timeout=DEADLINE)
        assert (1, True) == (refused.returncode, b"is in use" in errors), errors
    finally:
        for process in both:
            process.terminate()
            process.communicate(timeout=DEADLINE)


# The log


def test_odd_forms_write_nothing_into_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    """From: review F21"""
    with serve() as server:
        for boundary in ("b", "b; charset=x", ""):
            kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
            for body in (
                b"--b\r\n\x00\x1b[31m: x\r\n\r\n",
                b"trash",
                b"--b\r\n",
                b"--b--\r\n\r\nx",
            ):
                assert 400 <= server.request("POST", "/events", body, kind).status < 500

    assert "" == capfd.readouterr().err


# Terminals

NASTY = "red \x1b[31m bell \x07 \x9b2J \u202eabc\u2066 ä\tt"


@contextmanager
def in_terminal(*command: str) -> Iterator[int]:
    """Run `fastsse` with a terminal for its output, and yield the descriptor of the other end."""
    pty = pytest.importorskip("pty")
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fastsse", *command],
        stdout=its,
        stderr=its,
        env=environment(PYTHONIOENCODING="utf-8", NO_COLOR="1"),  # what is seen is the sender's
    )
    os.close(its)
    try:
        yield ours
    finally:
        process.kill()
        process.wait(DEADLINE)
        os.close(ours)


def shown(terminal: int, end: bytes) -> bytes:
    """Read the terminal up to the line that has some bytes, whole."""
    got = b""
    while end not in got or not got.endswith(b"\n"):
        assert select.select([terminal], [], [], DEADLINE)[0], got
        got += os.read(terminal, 65536)
    return got


@POSIX
@pytest.mark.parametrize("form", ["data", "json"])
def test_a_terminal_is_shown_escapes_and_a_pipe_what_was_sent(form: str, shared: Server) -> None:
    """From: review F22"""
    topic = f"terminal-{form}"
    shared.publish(topic, NASTY, event="type\x1b[0m\x9b")
    shared.publish(topic, "end of it")
    command = ["subscribe", shared.url, topic, "--last-event-id", "earliest"]
    command += ["--json"] if form == "json" else []

    with in_terminal(*command) as terminal:
        on_screen = shown(terminal, b"end of it").decode()
    with subprocess.Popen(
        [sys.executable, "-m", "fastsse", *command], stdout=subprocess.PIPE, env=environment()
    ) as reader:
        assert reader.stdout is not None
        in_pipe = reader.stdout.readline().decode().removesuffix("\n")
        reader.kill()

    line = on_screen.partition("\r\n")[0]
    for obeyed in "\x1b\x07\x9b\u202e\u2066":
        assert obeyed not in line
    if form == "json":
        for text in (line, in_pipe):
            assert NASTY == json.loads(text)["data"]
            assert "type\x1b[0m\x9b" == json.loads(text)["event"]
    else:
        assert r"red \u001b[31m bell \u0007 \u009b2J \u202eabc\u2066 ä" in line
        assert NASTY == in_pipe


@POSIX
def test_what_a_server_answers_is_escaped_on_a_terminal_too() -> None:
    """The server may be another one: its problem's words and its ids are as foreign as data.

    From: review F22
    """
    detail = json.dumps({"detail": "\x1b]0;owned\x07 \x9b"}, ensure_ascii=False).encode()
    stream = b"Content-Type: text/event-stream\r\n\r\nid: \x1b[31mid\ndata: all\n\n"
    refusal = b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (len(detail), detail)
    answers = {
        "refused (400)": refusal,
        "--last-event-id": b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + stream,
    }
    for words, answer in answers.items():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with in_terminal("subscribe", url, "a", "--no-retry") as terminal:
                connection, _ = listener.accept()
                connection.recv(65536)
                connection.sendall(answer)
                connection.close()

                on_screen = shown(terminal, words.encode())

        assert b"\x1b" not in on_screen
        assert b"\\u001b" in on_screen


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """Run one server for the tests that leave it running."""
    with serve() as running:
        yield running
