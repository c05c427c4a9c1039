"""The command line against real processes: what is served, what is refused, and publish and subscribe."""

from __future__ import annotations

import io
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from servers import (
    DEADLINE,
    Clients,
    Server,
    environment,
    run,
    serve,
    serve_granian,
    wait_for,
)

import fastsse
from fastsse import cli
from fastsse.broadcast import Settings


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command in this process: as `run`, and much faster."""

    def call(*arguments: str, given: bytes = b"") -> Done:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        try:
            code = cli.main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Done(code, *capsys.readouterr())

    return call


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            return True
    except OSError:
        return False


def test_it_says_its_version() -> None:
    done = run("--version")

    assert (0, f"fastsse {fastsse.__version__}\n") == (done.returncode, done.stdout.decode())


def test_without_a_command_it_says_what_there_is() -> None:
    done = run()

    assert 2 == done.returncode
    assert b"usage: fastsse" in done.stderr


def test_help_names_every_setting_with_its_variable() -> None:
    text = " ".join(run("serve", "--help", COLUMNS="200").stdout.decode().split())

    for knob in fields(Settings):
        assert f"--{knob.name.replace('_', '-')} " in text
        assert f"FASTSSE_{knob.name.upper()}" in text


# What serve refuses


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--host", "0.0.0.0"), 1, ["0.0.0.0", "other machines", "no access control", "--open"]),
        (("--host", "::"), 1, ["--open"]),
        (("--host", "192.0.2.1"), 1, ["--open"]),
        (("--host", "192.0.2.1", "--open"), 1, ["192.0.2.1", "no address of this machine"]),
        (("--host", "no such host"), 1, ["no such host", "address or a name"]),
        (("--workers", "2"), 1, ["2", "hub of its own", "--runtime-threads"]),
        (("--workers", "0"), 1, ["must be 1"]),
        (("--port", "65536"), 2, ["65536", "0 to 65535"]),
        (("--port", "http"), 2, ["'http'"]),
        (("--runtime-threads", "0"), 2, ["at least 1"]),
        (("--heartbeat", "-1"), 2, ["heartbeat", "-1", "0 to"]),
        (("--max-streams", "many"), 2, ["many"]),
        (("--slow-policy", "block"), 2, ["block", "end"]),
        (("--origins", "friend.example"), 2, ["origins", "friend.example", "scheme://host"]),
        (("--hosts", "http://hub"), 2, ["hosts", "http://hub"]),
        (("--topics", "a"), 2, ["topics 'a'", "PATTERN:KEY=VALUE"]),
        (("--topics", "a:lag_events=0"), 2, ["topics 'a'", "lag_events 0", "1 to"]),
        (("--no-such-knob", "1"), 2, ["--no-such-knob"]),
        (("--config", "/no/such/file"), 1, ["/no/such/file", "No such file"]),
    ],
)
def test_what_serve_refuses(
    command: Command, arguments: tuple[str, ...], code: int, words: list[str]
) -> None:
    done = command("serve", "--port", "0", *arguments)

    assert (code, "") == (done.code, done.out), done
    for word in words:
        assert word in done.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_stream = 5", ["max_stream", "unknown"]),
        ("max_streams = 'five'", ["max_streams", "five"]),
        ("max_streams = 0", ["max_streams", "0"]),
        ("max_streams", ["not TOML"]),
        ("[topics.a]\nretry = 1", ["topics 'a'", "retry", "cannot be set for topics"]),
        ("topics = 1", ["topics 1", "table"]),
    ],
)
def test_a_bad_config_file_is_refused(
    command: Command, text: str, words: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(text)

    done = command("serve", "--port", "0", "--config", str(file))

    assert 2 == done.code
    for word in words:
        assert word in done.err


def test_a_bad_variable_is_refused(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTSSE_HEARTBEAT", "often")

    done = command("serve", "--port", "0")

    assert (2, True) == (done.code, "heartbeat" in done.err), done


def test_a_port_in_use_is_refused(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        done = command("serve", "--port", port)

        assert 1 == done.code
        assert f"--port {port}: is in use on 127.0.0.1" in done.err


def test_a_second_server_does_not_share_the_port_of_the_first(
    command: Command, server: Server
) -> None:
    done = command("serve", "--port", str(server.port))

    assert (1, True) == (done.code, "is in use" in done.err), done


def test_without_its_extra_serve_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "granian.py").write_text("raise ImportError('gone', name='granian')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from fastsse.cli import main; sys.exit(main())"

    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--port", "0"],
        capture_output=True,
        env=environment(),
        timeout=DEADLINE,
        check=False,
    )

    assert 1 == done.returncode
    assert b"pip install 'fastsse-core[server]'" in done.stderr


# What serve serves


def test_it_says_where_it_is_once_it_answers(server: Server) -> None:
    assert 200 == server.request("GET", "/").status
    assert "ok" == server.health()["status"]


def test_the_garbage_collector_is_tuned_in_a_worker_and_by_no_import() -> None:
    script = (
        "import gc; usual = gc.get_threshold()\n"
        "from fastsse import cli; import fastsse.broadcast.app as app; app.app\n"
        "assert (usual, 0) == (gc.get_threshold(), gc.get_freeze_count())\n"
        "cli._load(cli.Settings(), '127.0.0.1', 8000)\n"
        "assert gc.get_threshold()[0] > usual[0] and gc.get_freeze_count() > 0\n"
    )

    process = subprocess.run([sys.executable, "-c", script], env=environment(), check=False)

    assert 0 == process.returncode


def test_a_name_of_the_loopback_is_bound_and_answered_to() -> None:
    with serve("--host", "localhost") as server:
        assert "127.0.0.1" == server.host
        assert 200 == server.request("GET", "/health", None, {"Host": "localhost"}).status


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv6_is_served() -> None:
    with serve("--host", "::1") as server:
        assert "::1" == server.host
        assert 200 == server.request("GET", "/health").status


def test_a_public_address_is_served_when_that_is_said() -> None:
    with serve("--host", "0.0.0.0", "--open") as server:
        assert 200 == server.request("GET", "/health", None, {"Host": "hub.example"}).status


def test_a_host_that_is_not_ours_is_refused(server: Server) -> None:
    reply = server.request("GET", "/health", None, {"Host": "evil.example"})

    assert (421, "host") == (reply.status, reply.json["field"])


def test_settings_reach_the_server_from_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text("max_event_size = 5\nmax_topic_length = 5\ntopics_per_publish = 1\n")
    flags = ("--config", str(file), "--max-event-size", "9")
    with serve(*flags, FASTSSE_MAX_TOPIC_LENGTH="7", FASTSSE_MAX_EVENT_SIZE="7") as server:
        kind = {"Content-Type": "text/plain"}

        def status(topics: str, size: int) -> int:
            return server.request("POST", f"/events?topic={topics}", b"x" * size, kind).status

        assert [200, 413] == [status("a", size) for size in (9, 10)]
        assert [200, 400] == [status("a" * length, 1) for length in (7, 8)]
        assert [400] == [status("a&topic=b", 1)]


@pytest.mark.parametrize("origin", ["file", "variable", "flags"])
async def test_topics_have_settings_of_their_own_from_everywhere(
    origin: str, clients: Clients, tmp_path: Path
) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(
        '[topics."prices/*"]\nhistory_events = 2\n[topics."prices/live"]\nhistory_events = 0\n'
    )
    texts = ["prices/*:history_events=2", "prices/live:history_events=0"]
    flags = [part for text in texts for part in ("--topics", text)]
    given = {"file": ["--config", str(file)], "variable": [], "flags": flags}[origin]
    env = {"FASTSSE_TOPICS": ";".join(texts)} if origin == "variable" else {}
    with serve(*given, **env) as server:
        for topic, kept in (("prices/a", 2), ("prices/live", 0), ("news", 5)):
            for number in range(5):
                server.publish(topic, str(number))

            stream = await clients.follow(server, f"/events?topic={topic}&last_event_id=earliest")
            server.publish(topic, "end")

            expected = [*map(str, range(5 - kept, 5)), "end"]
            assert expected == [event.data for event in await stream.events(kept + 1)]


async def test_a_stream_over_the_limit_is_told_to_come_later(clients: Clients) -> None:
    with serve("--max-streams", "2") as server:
        for _ in range(2):
            await clients.follow(server, "/events?topic=a")

        reply = server.request("GET", "/events?topic=a")

        assert 503 == reply.status
        assert int(reply.headers["retry-after"]) > 0
        assert 200 == server.request("GET", "/health").status


async def test_more_streams_than_granians_default_are_served_and_publishers_get_in(
    clients: Clients,
) -> None:
    with serve() as server:
        for _ in range(1100):  # granian alone stops at 1,024 connections
            await clients.follow(server, "/events?topic=a")

        server.publish("a", "x")

        assert 1100 == server.health()["streams"]


def test_http_2_is_served_when_that_is_said() -> None:
    version = subprocess.run(["curl", "--version"], capture_output=True, check=True).stdout
    if b"HTTP2" not in version:
        pytest.skip("needs a curl with HTTP/2")
    with serve("--http", "auto") as server:
        command = ["curl", "-s", "--http2-prior-knowledge", "-w", "%{http_version}"]

        done = subprocess.run([*command, f"{server.url}/health"], capture_output=True, check=True)

        assert done.stdout.endswith(b"}\n2")


async def test_granians_own_command_serves_the_app_too(clients: Clients) -> None:
    with serve_granian() as server:
        stream = await clients.follow(server, "/events?topic=news")
        id = server.publish("news", "hello")

        assert [id] == [event.id for event in await stream.events(1)]


@pytest.mark.parametrize("log_level", ["warning", "info"])
def test_the_address_is_all_that_stdout_gets(log_level: str) -> None:
    with serve("--log-level", log_level) as server:
        server.process.terminate()
        server.wait()

        assert server.process.stdout is not None
        assert b"" == server.process.stdout.read()


# publish


def test_publish_prints_the_answer(command: Command, server: Server, topic: str) -> None:
    done = command("publish", server.url, topic, "hello", "--event", "e", "--retry", "5")

    answer = json.loads(done.out)
    assert ([topic], 0) == (answer["topics"], answer["subscribers"])
    expected = {"id": answer["id"], "event": "e", "data": "hello", "retry": 5}
    assert [expected] == subscribed(server, topic, 1)


@pytest.mark.parametrize("data", [(), ("-",)], ids=["left out", "dash"])
def test_publish_reads_standard_input(
    command: Command, server: Server, topic: str, data: tuple[str, ...]
) -> None:
    command("publish", server.url, topic, *data, given="ä\nb".encode())

    assert ["ä\nb"] == [event["data"] for event in subscribed(server, topic, 1)]


def test_publish_takes_a_whole_stream(command: Command, server: Server, topic: str) -> None:
    body = b"data: 1\n\nevent: e\ndata: 2\n\n"

    done = command("publish", server.url, topic, "--stream", given=body)

    assert 2 == json.loads(done.out)["count"]
    events = [(event["event"], event["data"]) for event in subscribed(server, topic, 2)]
    assert [("message", "1"), ("e", "2")] == events


def test_a_piped_stream_is_published_event_by_event(server: Server, topic: str) -> None:
    command = [sys.executable, "-m", "fastsse", "publish", server.url, topic, "--stream"]
    with (
        subscriber(server, topic, "--last-event-id", "earliest") as reader,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
        ) as publisher,
    ):
        assert publisher.stdin is not None
        assert publisher.stdout is not None
        for n in range(3):
            publisher.stdin.write(f"data: {n}\n\n".encode())
            publisher.stdin.flush()

            assert [str(n)] == lines(reader, 1)
            assert publisher.poll() is None
        publisher.stdin.close()

        assert 3 == json.loads(publisher.stdout.read())["count"]


async def test_a_stream_that_comes_in_pieces_is_published_event_by_event(
    server: Server, clients: Clients, topic: str
) -> None:
    reader = await clients.follow(server, f"/events?topic={topic}")
    head = (
        f"POST /events?topic={topic} HTTP/1.1\r\n"
        "Content-Type: text/event-stream\r\n"
        "Transfer-Encoding: chunked"
    )
    publisher = await clients.connect(server, head)
    text = 'data: {"choices":[{"delta":{"content":"ä"}}]}\n\n'.encode()
    for n in range(5):
        for piece in (text[:7], text[7:44], text[44:]):  # one cut lies within the letter
            publisher.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        [event] = await reader.events(1)
        assert "ä" == event.json()["choices"][0]["delta"]["content"], n
    publisher.writer.write(b"0\r\n\r\n")

    await publisher.start()

    assert 200 == publisher.status


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        (("topic", "x", "--event", "gap"), b"", ["refused (400)", "gap", "reserved"]),
        (("topic", "x", "--event", "a\nb"), b"", ["refused (400)", "event"]),
        (("", "x"), b"", ["refused (400)", "topic"]),
        (("topic",), b"\xff", ["refused (400)", "data"]),
        (("topic", "--stream"), b"data: 1\n\ndata: \xff\n\n", ["1 before it stay published"]),
        (("topic", "x", "--stream"), b"", ["--stream", "standard input"]),
        (("topic", "--stream", "--event", "e"), b"", ["--stream"]),
    ],
)
def test_publish_says_why_it_was_refused(
    command: Command, server: Server, arguments: tuple[str, ...], given: bytes, words: list[str]
) -> None:
    done = command("publish", server.url, *arguments, given=given)

    assert (1, "") == (done.code, done.out), done
    for word in words:
        assert word in done.err


@pytest.mark.parametrize("size", [2_000_000, 20_000_000])
def test_publish_says_so_when_its_body_is_too_large_to_be_read(
    command: Command, server: Server, size: int
) -> None:
    done = command("publish", server.url, "topic", given=b"x" * size)

    assert (1, True) == (done.code, "refused (413)" in done.err), done


@pytest.mark.parametrize("name", ["publish", "subscribe"])
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", ["127.0.0.1:1", "refused"]),
        ("127.0.0.1:8000", ["must be http://HOST"]),
        ("http://", ["must be http://HOST"]),
        ("http://127.0.0.1:port", ["must be http://HOST"]),
        ("ftp://127.0.0.1", ["must be http://HOST"]),
    ],
)
def test_a_url_that_leads_nowhere_is_a_failure(
    command: Command, name: str, url: str, words: list[str]
) -> None:
    done = command(name, url, "topic")

    assert 1 == done.code
    for word in words:
        assert word in done.err


# subscribe


@contextmanager
def subscriber(server: Server, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "fastsse", "subscribe", server.url, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), bufsize=0
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines(process: subprocess.Popen[bytes], count: int) -> list[str]:
    found: list[str] = []
    deadline = time.monotonic() + DEADLINE
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(found) < count and selector.select(max(0.0, deadline - time.monotonic())):
            found.append(process.stdout.readline().decode().rstrip("\n"))
    return found


def subscribed(server: Server, topic: str, count: int) -> list[Any]:
    """The first events that are kept of a topic, as `subscribe --json` prints them."""
    with subscriber(server, topic, "--json", "--last-event-id", "earliest") as process:
        return [json.loads(line) for line in lines(process, count)]


def test_subscribe_prints_the_data_of_each_event_at_once(server: Server, topic: str) -> None:
    server.publish(topic, "zero")
    with subscriber(server, topic, f"{topic}-b", "--last-event-id", "earliest") as process:
        assert ["zero"] == lines(process, 1)
        server.publish(topic, "one")
        assert ["one"] == lines(process, 1)
        server.publish(f"{topic}-b", "two")
        assert ["two"] == lines(process, 1)


def test_subscribe_goes_on_behind_an_id(server: Server, topic: str) -> None:
    ids = [server.publish(topic, str(n)) for n in range(3)]

    with subscriber(server, topic, "--last-event-id", ids[0]) as process:
        assert ["1", "2"] == lines(process, 2)


def test_subscribe_tells_of_a_gap_beside_the_data(server: Server, topic: str) -> None:
    server.publish(topic, "kept")

    with subscriber(server, topic, "--last-event-id", "0-1") as process:
        assert ["kept"] == lines(process, 1)
        process.terminate()
        assert process.stderr is not None
        assert b"fastsse: gap: {" in process.stderr.read()


def test_subscribe_says_where_to_go_on_when_the_stream_ends() -> None:
    with serve() as server, subscriber(server, "news") as process:
        wait_for(lambda: server.health()["streams"] == 1)
        id = server.publish("news", "hello")
        assert ["hello"] == lines(process, 1)

        server.process.terminate()

        _, errors = process.communicate(timeout=DEADLINE)
        assert 1 == process.returncode
        assert f"--last-event-id {id}" in errors.decode()


def test_subscribe_says_why_it_was_refused(command: Command, server: Server) -> None:
    done = command("subscribe", server.url, "x" * 300)

    assert (1, True) == (done.code, "refused (400): topic" in done.err), done


def test_subscribe_stops_when_nobody_reads(server: Server, topic: str) -> None:
    server.publish(topic, "x")
    with subscriber(server, topic, "--last-event-id", "earliest") as process:
        assert ["x"] == lines(process, 1)
        assert process.stdout is not None
        process.stdout.close()
        server.publish(topic, "y")

        assert 1 == process.wait(DEADLINE)
        assert process.stderr is not None
        assert b"" == process.stderr.read()
