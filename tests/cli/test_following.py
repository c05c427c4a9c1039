"""`subscribe` and `tail` over all their connections: what comes back, what ends, in which form events are printed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from support.commands import Command, lines, subscriber
from support.misbehaving import Misbehaving, Step, answer, head, reset, send, silence, stream
from support.servers import DEADLINE, Server, environment, free_port, run, serve, wait_for

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals, no terminals")
QUICK = b"retry: 10\n\n"


# The hub goes and comes back


class Publishing:
    """Publishes numbers to a topic, for as long as its block runs; a refused one is left out.

    Attributes:
        ids: the number of each event that was acknowledged, by its id.
    """

    def __init__(self, port: int) -> None:
        self.ids: dict[str, str] = {}
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._publish)

    def __enter__(self) -> Publishing:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE)

    def more(self, count: int) -> None:
        """Wait until so many more events were acknowledged."""
        wanted = len(self.ids) + count
        wait_for(lambda: len(self.ids) >= wanted)

    def _publish(self) -> None:
        server = Server(None, self._port)  # type: ignore[arg-type]
        number = 0
        while not self._stop.wait(0.002):
            number += 1
            with contextlib.suppress(OSError, AssertionError, Exception):
                self.ids[server.publish("news", str(number))] = str(number)


def ended(process: subprocess.Popen[bytes]) -> tuple[list[Any], str]:
    """End a reader that prints JSON; return all that it still prints, and its stderr."""
    process.terminate()
    out, errors = process.communicate(timeout=DEADLINE)
    return [json.loads(line) for line in out.splitlines() if line.endswith(b"}")], errors.decode()


def check(acknowledged: dict[str, str], got: list[Any], errors: str) -> None:
    """Check that a reader has each event once, in order, or was told of the gap in which it is."""
    events = [event for event in got if event["event"] == "message"]
    ids = [event["id"] for event in events]
    numbers = [int(event["data"]) for event in events]
    assert len(ids) == len(set(ids))
    assert sorted(set(numbers)) == numbers
    told = [json.loads(data) for data in re.findall(r"^fastsse: gap: (.*)$", errors, re.MULTILINE)]
    assert [json.loads(event["data"]) for event in got if event["event"] == "gap"] == told
    last = max(ids, key=ids.index)
    missing = [id for id in acknowledged if id not in ids and int(acknowledged[id]) < numbers[-1]]
    assert not missing or told, (missing[:3], last)
    present = last.partition("-")[0]
    assert [] == [
        id for id in missing if id.startswith(present)
    ]  # of the new log nothing is missing


def restart_by_kill(server: Server) -> None:
    server.signal(signal.SIGKILL, group=True)
    server.process.wait(DEADLINE)


def restart_by_drain(server: Server) -> None:
    server.process.terminate()
    server.wait()


@POSIX
@pytest.mark.parametrize("end", [restart_by_kill, restart_by_drain], ids=["kill", "drain"])
def test_each_event_comes_once_or_a_gap_is_told_when_a_hub_restarts(
    end: Callable[[Server], None],
) -> None:
    port = free_port()
    flags = ("--port", str(port), "--retry", "50")
    with Publishing(port) as publishing:
        with serve(*flags) as server, subscriber(server, "news", "--json") as reader:
            publishing.more(20)
            first = [json.loads(line) for line in lines(reader, 10)]
            end(server)
            with serve(*flags):
                publishing.more(20)
                again = [json.loads(line) for line in lines(reader, 40)]
                rest, errors = ended(reader)

    got = first + again + rest
    check(publishing.ids, got, errors)
    assert 2 <= len({event["id"].partition("-")[0] for event in got})


@POSIX
def test_each_event_comes_once_or_a_gap_is_told_when_a_worker_is_restarted() -> None:
    port = free_port()
    with (
        Publishing(port) as publishing,
        serve("--port", str(port), "--retry", "50") as server,
        subscriber(server, "news", "--json") as reader,
    ):
        publishing.more(20)
        got = [json.loads(line) for line in lines(reader, 10)]
        server.signal(signal.SIGHUP)
        epoch = got[0]["id"].partition("-")[0]
        wait_for(lambda: any(not id.startswith(epoch) for id in list(publishing.ids)))
        publishing.more(20)
        while got[-1]["id"].startswith(epoch):
            got += [json.loads(line) for line in lines(reader, 1)]
        got += [json.loads(line) for line in lines(reader, 20)]
        rest, errors = ended(reader)

    check(publishing.ids, got + rest, errors)


# Ends


def test_no_content_ends_the_command_well(command: Command) -> None:
    with Misbehaving([stream(QUICK + b"id: 7\ndata: a\n\n")], [send(answer(204))]) as server:
        done = command("tail", server.url)

        assert (0, "a\n", "") == done
        assert "7" == server.requests[1].headers["last-event-id"]


@pytest.mark.parametrize("name", ["tail", "subscribe"])
def test_without_retries_the_end_of_the_stream_ends_the_command(
    command: Command, name: str
) -> None:
    with Misbehaving([stream(b"id: 7\ndata: a\n\n")]) as server:
        done = command(name, server.url, *(["topic"] if name == "subscribe" else []), "--no-retry")

        assert ((0 if name == "tail" else 1), "a\n") == (done.code, done.out)
        assert 1 == len(server.requests)
        assert ("--last-event-id 7" in done.err) is (name == "subscribe")


def test_a_limit_of_retries_ends_the_command(command: Command) -> None:
    with Misbehaving([stream(QUICK + b"id: 7\ndata: a\n\n")], [reset]) as server:
        done = command("tail", server.url, "--max-retries", "2")

        assert (1, "a\n") == (done.code, done.out)
        assert "came again 2 times in a row" in done.err
        assert "--last-event-id 7" in done.err


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([reset], ["127.0.0.1", "onnection"]),
        ([send(answer(503, {"Retry-After": "0"}, b"busy"))], ["503", "busy"]),
        ([send(answer(404, {}, b'{"detail": "no such stream"}'))], ["refused (404): no such"]),
        ([send(head(200, content_type="text/html") + b"<p>")], ["text/html"]),
    ],
    ids=["reset", "503", "404", "html"],
)
def test_an_error_before_the_first_stream_ends_the_command(
    command: Command, script: list[Step], words: list[str]
) -> None:
    with Misbehaving(script) as server:
        done = command("tail", server.url)

        assert (1, "") == (done.code, done.out)
        assert 1 == len(server.requests)
        for word in words:
            assert word in done.err


@pytest.mark.parametrize(
    "cut", [b"HTTP/1.1 200 OK\r\nContent-Ty", b"HTTP/1.1 200 OK\r\n", b"HTTP/1."]
)
def test_a_head_that_is_cut_off_is_a_broken_connection(command: Command, cut: bytes) -> None:
    well = stream(QUICK + b"data: a\n\n")
    with Misbehaving([well], [send(cut)], [well], [send(answer(204))]) as server:
        done = command("tail", server.url)

    assert (0, "a\na\n") == (done.code, done.out)
    assert 1 == done.err.count("comes again in")


def test_with_a_limit_the_first_stream_is_waited_for_too(command: Command) -> None:
    busy = [send(answer(503, {"Retry-After": "0"}))]
    with Misbehaving(busy, [stream(b"data: a\n\n")], [send(answer(204))]) as server:
        done = command("tail", server.url, "--max-retries", "5")

        assert (0, "a\n") == (done.code, done.out)
        assert "503" in done.err


def test_a_broken_connection_is_told_and_an_ended_stream_is_not(command: Command) -> None:
    well = stream(QUICK + b"data: a\n\n")
    with Misbehaving([well], [well, reset], [send(answer(503))], [send(answer(204))]) as server:
        done = command("tail", server.url)

    assert (0, "a\na\n") == (done.code, done.out)
    assert all("comes again in" in line for line in done.err.splitlines())
    assert "503" in done.err


def test_a_silent_connection_counts_as_lost(command: Command) -> None:
    with Misbehaving(
        [stream(QUICK + b"id: 1\ndata: a\n\n"), silence()], [send(answer(204))]
    ) as server:
        done = command("tail", server.url, "--idle-timeout", "0.2")

    assert (0, "a\n") == (done.code, done.out)
    assert "no byte came in time" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--idle-timeout", "nan"),
        ("--idle-timeout", "-1"),
        ("--max-retries", "x"),
        ("--max-retries", "1", "--no-retry"),
        ("--json", "--raw"),
        ("--header", "none"),
        ("--header", "a b: c"),
        ("--data", "@/nowhere/at/all"),
    ],
)
def test_options_that_are_not_allowed_are_an_error_of_usage(
    command: Command, arguments: tuple[str, ...]
) -> None:
    done = command("tail", "http://127.0.0.1:1/", *arguments)

    assert (2, "") == (done.code, done.out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--raw", "--only", "a"), "--only"),
        (("--header", "a: b\nc"), "control characters"),
        (("--last-event-id", "a\nb"), "control characters"),
        (("--method", "G E T"), "method"),
    ],
)
def test_options_that_do_not_work_are_a_failure(
    command: Command, arguments: tuple[str, ...], words: str
) -> None:
    done = command("tail", "http://127.0.0.1:1/", *arguments)

    assert (1, True) == (done.code, words in done.err), done


# The request


def test_the_request_is_as_it_was_asked_for(command: Command, tmp_path: Any) -> None:
    body = tmp_path / "body"
    body.write_bytes(b'{"a": "\xff"}')
    with Misbehaving([stream(b"data: a\n\n")]) as server:
        for more in (("--data", "text"), ("--data", f"@{body}"), ("--method", "PUT")):
            command("tail", server.url, "--no-retry", "--header", "X-A: 1", "--header", "x-b:2", *more)  # fmt: skip

        asked = server.requests
        assert [("POST", b"text"), ("POST", b'{"a": "\xff"}'), ("PUT", b"")] == [
            (one.method, one.body) for one in asked
        ]
        assert {("1", "2")} == {(one.headers["x-a"], one.headers["x-b"]) for one in asked}


def test_the_address_keeps_its_query(command: Command) -> None:
    with Misbehaving([stream(b"data: a\n\n")]) as server:
        command("tail", f"{server.url}?a=%C3%A4&b", "--no-retry")
        command("subscribe", f"{server.url}?a=1", "ä b", "--no-retry")

        assert ["/events?a=%C3%A4&b", "/events?a=1&topic=%C3%A4+b"] == [
            one.target for one in server.requests
        ]


# Forms

STREAM = (
    b"\xef\xbb\xbf: note\n\nevent: a\nid: 1\ndata: x\ndata: y\n\r\ndata: \xff\nunknown: 1\n\n"
    b"retry: 5\r\rdata: z\n\n"
)


def printed(command: Command, *arguments: str) -> str:
    with Misbehaving([stream(STREAM + b"data: cut")]) as server:
        done = command("tail", server.url, "--no-retry", *arguments)
    assert (0, "") == (done.code, done.err)
    return done.out


def test_the_data_is_printed(command: Command) -> None:
    assert "x\ny\n\ufffd\nz\n" == printed(command)


def test_events_are_printed_as_json(command: Command) -> None:
    events = [json.loads(line) for line in printed(command, "--json").splitlines()]

    assert [("1", "a", "x\ny", None), ("1", "message", "\ufffd", None), ("1", "message", "z", None)] == [
        tuple(event.values()) for event in events
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("only", "data"),
    [(["a"], "x\ny\n"), (["message"], "\ufffd\nz\n"), (["a", "message"], "x\ny\n\ufffd\nz\n"), (["b"], "")],
)  # fmt: skip
def test_some_types_are_printed_alone(command: Command, only: list[str], data: str) -> None:
    assert data == printed(command, *(word for name in only for word in ("--only", name)))


def test_the_bytes_of_the_stream_are_printed_without_what_is_cut_off() -> None:
    with Misbehaving(
        [stream(QUICK + STREAM + b"data: cut")], [stream(b"data: more\n\n")], [send(answer(204))]
    ) as server:
        done = run("tail", server.url, "--raw")

    assert (0, QUICK + STREAM + b"data: more\n\n") == (done.returncode, done.stdout)


def test_the_body_of_a_refusal_is_not_printed_as_a_stream() -> None:
    with Misbehaving([send(answer(404, {}, b"data: no\n\n"))]) as server:
        done = run("tail", server.url, "--raw")

    assert (1, b"") == (done.returncode, done.stdout)


def test_gaps_and_ends_are_told_beside_raw_bytes(server: Server, topic: str) -> None:
    server.publish(topic, "a")
    server.request("DELETE", f"/events?topic={topic}&reason=failed")

    done = run("subscribe", server.url, topic, "--raw", "--last-event-id", "0-1")

    assert 0 == done.returncode
    assert b"fastsse: gap: {" in done.stderr
    assert b"fastsse: end: {" in done.stderr
    assert b"event: end\n" in done.stdout


def test_only_leaves_gaps_and_ends_on_stderr(server: Server, topic: str) -> None:
    server.publish(topic, "a")
    server.publish(topic, "b", event="b")
    server.request("DELETE", f"/events?topic={topic}")

    done = run("subscribe", server.url, topic, "--only", "b", "--last-event-id", "0-1")

    assert (0, b"b\n") == (done.returncode, done.stdout)
    assert b"fastsse: gap: {" in done.stderr


# Terminals


@contextmanager
def terminal(*arguments: str, **env: str) -> Generator[int]:
    """Run the command on a pseudo-terminal; give the terminal's file."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fastsse", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**env), start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield ours
    finally:
        process.kill()
        process.wait(DEADLINE)
        os.close(ours)


def shown(file: int) -> str:
    """Read a terminal until its command ends."""
    text = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end open
        while piece := os.read(file, 65536):
            text += piece
    return text.decode().replace("\r\n", "\n")


COLOURED = stream(b"event: metric\ndata: \x1b[31mred\n\ndata: plain\n\n")


@POSIX
@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({"TERM": "xterm"}, "\x1b[36mmetric\x1b[0m  \\u001b[31mred\nplain\n"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "metric  \\u001b[31mred\nplain\n"),
        ({"TERM": "dumb"}, "metric  \\u001b[31mred\nplain\n"),
    ],
    ids=["colour", "NO_COLOR", "dumb"],
)
def test_a_terminal_gets_types_in_colour_and_no_control(env: dict[str, str], text: str) -> None:
    with (
        Misbehaving([COLOURED]) as server,
        terminal("tail", server.url, "--no-retry", **{"NO_COLOR": ""} | env) as file,
    ):
        assert text == shown(file)


@POSIX
def test_raw_bytes_cannot_control_a_terminal() -> None:
    with (
        Misbehaving([COLOURED]) as server,
        terminal("tail", server.url, "--no-retry", "--raw", TERM="xterm") as file,
    ):
        assert "event: metric\ndata: \\u001b[31mred\n\ndata: plain\n\n" == shown(file)


# Interruptions


@POSIX
@pytest.mark.parametrize("script", [[stream(b"data: a\n\n"), silence()], [stream(b"data: a\n\n")]])
def test_an_interrupt_ends_the_command_without_a_traceback(script: list[Step]) -> None:
    with Misbehaving(script, [silence()]) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "fastsse", "tail", server.url],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), bufsize=0,
        )  # fmt: skip
        assert ["a"] == lines(process, 1)
        if len(script) == 1:
            wait_for(lambda: not server.open_connections)  # the command waits to come again
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE)

    assert (130, b"") == (process.returncode, errors)
