"""`fastsse serve` against real processes: what is refused, what is served."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from support.commands import Command
from support.servers import (
    DEADLINE,
    Clients,
    Server,
    environment,
    serve,
    serve_granian,
)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            return True
    except OSError:
        return False


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes(3) + b"\x04" + bytes(5)
HALF_HEAD = b"\x00\x00\x20\x01\x00" + b"\x00\x00\x00\x01" + b"\x82"
PINGED = 50  # s, of docs/operating.md


@pytest.mark.long
@pytest.mark.timeout(200)
def test_a_peer_of_http_2_that_answers_no_ping_is_let_go() -> None:
    with serve("--http", "auto", "--heartbeat", "0") as server, ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection((server.host, server.port), DEADLINE))
            for _ in range(3)
        ]
        for connection, sent in zip(
            silent, (PREFACE, PREFACE + SETTINGS, PREFACE + SETTINGS + HALF_HEAD), strict=True
        ):
            connection.sendall(sent)
        url = f"{server.url}/events?topic=a"
        reader = stack.enter_context(
            subprocess.Popen(
                ["curl", "-sN", "--http2-prior-knowledge", url], stdout=subprocess.PIPE
            )
        )
        stack.callback(reader.kill)
        assert reader.stdout is not None
        began = time.monotonic()

        for connection in silent:
            connection.settimeout(PINGED + 30)
            with suppress(ConnectionError):
                while connection.recv(4096):
                    pass

        assert time.monotonic() - began > 20
        server.publish("a", "still here")
        assert any(b"still here" in line for line in reader.stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ("--host", "0.0.0.0"),
            1,
            ["0.0.0.0", "other machines", "no access control", "--keys", "--open"],
        ),
        (("--host", "::"), 1, ["--open"]),
        (("--host", "192.0.2.1"), 1, ["--open"]),
        (("--host", "192.0.2.1", "--open"), 1, ["192.0.2.1", "no address of this machine"]),
        (("--host", "no such host"), 1, ["no such host", "address or a name"]),
        (("--keys", "secret:short"), 2, ["keys 'secret:…'", "at least 32 bytes"]),
        (("--keys", "/no/such/file"), 2, ["keys '/no/such/file'", "No such file"]),
        (("--anonymous-read", "a"), 2, ["anonymous_read", "set keys"]),
        (("--connections", "99"), 1, ["--connections 99", "must be more than", "10512"]),
        (("--workers", "2"), 1, ["2", "hub of its own", "--runtime-threads"]),
        (("--workers", "0"), 2, ["at least 1"]),
        (("--store", "mysql://u:secret@db"), 2, ["unknown scheme 'mysql'"]),
        (("--store", "memory:?x=1"), 2, ["option 'x' is unknown"]),
        (("--store-wait", "-1"), 2, ["store_wait", "0 to"]),
        (("--retain-events", "many"), 2, ["retain_events", "whole number"]),
        (("--port", "65536"), 2, ["65536", "0 to 65535"]),
        (("--port", "http"), 2, ["'http'"]),
        (("--runtime-threads", "0"), 2, ["at least 1"]),
        (("--heartbeat", "-1"), 2, ["heartbeat", "-1", "0 to"]),
        (("--max-streams", "many"), 2, ["max_streams 'many'", "must be a whole number"]),
        (("--retry", "1_0"), 2, ["retry '1_0'", "must be a whole number"]),
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
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from fastsse.cli.main import main; sys.exit(main())"

    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--port", "0"],
        capture_output=True,
        env=environment(),
        timeout=DEADLINE,
        check=False,
    )

    assert 1 == done.returncode
    assert b"pip install 'fastsse-core[server]'" in done.stderr


def test_it_says_where_it_is_once_it_answers(server: Server) -> None:
    assert 200 == server.request("GET", "/").status
    assert "ok" == server.health()["status"]


def test_the_garbage_collector_is_tuned_in_a_worker_and_by_no_import() -> None:
    script = (
        "import gc; usual = gc.get_threshold()\n"
        "from fastsse.broadcast import Settings; from fastsse.cli.granian import load\n"
        "import fastsse.broadcast.app as app; app.app\n"
        "assert (usual, 0) == (gc.get_threshold(), gc.get_freeze_count())\n"
        "load(Settings(), '127.0.0.1', 8000)\n"
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
    reply = server.request("GET", "/metrics", None, {"Host": "evil.example"})

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
