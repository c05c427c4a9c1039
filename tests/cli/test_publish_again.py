"""`fastsse publish` where connections break: everything is published once, or stderr says what nobody knows."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import Command, lines, subscriber
from support.cutting import Cut, Cutting
from support.misbehaving import Misbehaving, answer, reset, send
from support.neighbours import need
from support.servers import DEADLINE, Server, environment, free_port, run, serve, wait_for

from fastsse import decode
from fastsse.cli import exchange
from fastsse.cli.batches import MOST, batches

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals, no terminals")


@pytest.fixture(scope="module")
def hub() -> Iterator[Server]:
    """Run a broadcast that keeps all that the tests publish."""
    with serve("--history-events", "100000", "--history-bytes", "100000000") as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less before a request is sent again."""
    monkeypatch.setattr(exchange, "_PAUSE", 0.01)
    monkeypatch.setattr(exchange, "_LONGEST_PAUSE", 0.05)


def stream(*numbers: int) -> bytes:
    return b"".join(b"data: %d\n\n" % n for n in numbers)


def published(server: Server, topic: str) -> list[str]:
    """Return the data of all that a topic has had; the topic is ended for that."""
    server.request("DELETE", f"/events?topic={topic}")
    done = run("subscribe", server.url, topic, "--last-event-id", "earliest")
    assert (0, b"") == (done.returncode, done.stderr)
    return done.stdout.decode().splitlines()


def numbers(count: int) -> list[str]:
    return [str(n) for n in range(count)]


# Connections that break


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_through_a_connection_that_breaks_is_published_once(
    command: Command, hub: Server, topic: str, seed: int
) -> None:
    chance = random.Random(seed)
    cuts = [
        Cut(up=chance.choice([None, chance.randrange(40_000)]), down=chance.choice([0, chance.randrange(3000)]))
        for _ in range(30)
    ]  # fmt: skip
    with Cutting(hub.port, cuts) as proxy:
        done = command("publish", proxy.url, topic, "--stream", "--max-retries", "1000",
            given=stream(*range(9000)))  # fmt: skip

    assert 0 == done.code, done
    assert (9000, 2) == (json.loads(done.out)["count"], len(json.loads(done.out)["ids"]))
    assert proxy.cut >= 5
    assert numbers(9000) == published(hub, topic)


@POSIX
@pytest.mark.long
def test_a_hub_that_is_killed_over_a_log_that_lasts_has_each_event_once(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    port = free_port()
    flags = ("--port", str(port), "--store", f"sqlite:///{tmp_path / 'events.db'}")
    publisher = subprocess.Popen(
        [sys.executable, "-m", "fastsse", "publish", f"http://127.0.0.1:{port}", "t", "--stream"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    request.addfinalizer(publisher.kill)
    fed = threading.Event()
    more = threading.Event()

    def feed() -> None:
        assert publisher.stdin is not None
        with publisher.stdin as pipe:
            for n in range(600):
                pipe.write(b"data: %d\n\n" % n)
                pipe.flush()
                if n == 100:
                    fed.set()
                if n > 100:
                    more.wait(0.001)

    with serve(*flags) as server:
        feeder = threading.Thread(target=feed)
        feeder.start()
        wait_for(fed.is_set)
        with subscriber(server, "t", "--last-event-id", "earliest") as reader:
            assert numbers(50) == lines(reader, 50)
        server.signal(signal.SIGKILL, group=True)
        server.process.wait(DEADLINE)
    with serve(*flags) as server:
        more.set()
        feeder.join(DEADLINE)
        wait_for(lambda: publisher.poll() is not None, 3 * DEADLINE)
        out, errors = publisher.stdout, publisher.stderr
        assert out is not None
        assert errors is not None
        with out, errors:
            assert 600 == json.loads(out.read())["count"], errors.read()
        assert numbers(600) == published(server, "t")


@pytest.mark.parametrize("cut", [Cut(up=0), Cut(up=150), Cut(down=0), Cut(down=20)])
def test_one_event_is_published_once(command: Command, hub: Server, topic: str, cut: Cut) -> None:
    with Cutting(hub.port, [cut] * 3) as proxy:
        done = command("publish", proxy.url, topic, "hello", "--end")

    assert 0 == done.code, done
    assert "sends again" in done.err
    assert ["hello"] == published(hub, topic)
    assert 1 == len(json.loads(done.out)["ends"])


def test_events_without_an_answer_are_not_sent_twice_to_a_server_without_keys(
    command: Command,
) -> None:
    old = {"ids": ["e-1", "e-1000"], "count": MOST, "topics": ["t"], "subscribers": 0}
    well = [send(answer(200, {}, json.dumps(old).encode()))]
    with Misbehaving(well, [reset]) as server:
        done = command("publish", server.url, "t", "--stream", given=stream(*range(1500)))

    assert (1, "") == (done.code, done.out)
    assert 2 == len(server.requests)
    for words in ("knows no idempotency keys", "from event 1001", "1000 events stay published"):
        assert words in done.err


def test_a_server_that_is_gone_ends_the_command_after_some_retries(command: Command) -> None:
    with Misbehaving([reset]) as server:
        done = command("publish", server.url, "t", "hello", "--max-retries", "3")

    assert (1, "", 4) == (done.code, done.out, len(server.requests))
    assert "4 times in a row" in done.err
    assert 1 == len({one.headers["idempotency-key"] for one in server.requests})


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(command: Command, status: int) -> None:
    busy = [send(answer(status, {"Retry-After": "0"}, b'{"detail": "too much"}'))]
    well = [send(answer(200, {}, b'{"id": "e-1", "key": "k"}'))]
    with Misbehaving(busy, busy, well) as server:
        done = command("publish", server.url, "t", "hello")

    assert (0, {"id": "e-1", "key": "k"}) == (done.code, json.loads(done.out))
    assert f"refused ({status}): too much; sends again" in done.err
    assert {b"hello"} == {one.body for one in server.requests}


# Keys


def test_a_request_has_the_key_that_was_given(command: Command) -> None:
    with Misbehaving([send(answer(200, {}, b'{"id": "e-1", "key": "k"}'))]) as server:
        command("publish", server.url, "t", "x", "--key", 'a "b" \\c')
        command("publish", server.url, "t", "x")
        command("publish", server.url, "t", "x")

    keys = [one.headers["idempotency-key"] for one in server.requests]
    assert '"a \\"b\\" \\\\c"' == keys[0]
    assert 3 == len(set(keys))


def test_the_same_input_with_its_key_publishes_what_was_missing(
    command: Command, hub: Server, topic: str
) -> None:
    for count in (3, 3, 1200, 2500):
        done = command("publish", hub.url, topic, "--stream", "--key", topic, given=stream(*range(count)))  # fmt: skip
        assert count == json.loads(done.out)["count"]

    assert numbers(2500) == published(hub, topic)


def test_another_input_with_the_key_is_refused(command: Command, hub: Server, topic: str) -> None:
    command("publish", hub.url, topic, "--stream", "--key", topic, given=stream(*range(1500)))
    other = stream(*range(1200), 7)

    done = command("publish", hub.url, topic, "--stream", "--key", topic, given=other)

    assert 1 == done.code
    assert "refused (422)" in done.err
    assert "from event 1001, byte" in done.err


@pytest.mark.parametrize("key", ["", "é", "a\tb", "k" * 257])
def test_what_is_no_key_is_an_error_of_usage(command: Command, key: str) -> None:
    assert 2 == command("publish", "http://127.0.0.1:1", "t", "x", "--key", key).code


def test_the_key_of_a_stream_leaves_room_for_numbers(command: Command) -> None:
    done = command("publish", "http://127.0.0.1:1", "t", "--stream", "--key", "k" * 239)

    assert (1, True) == (done.code, "238" in done.err)


# Bodies of a stream

CHUNKS = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from(
            [b"data: a\n\n", b"data\n", b"\n", b"\r", b"\r\n", b": c\n\n", b"\xef\xbb\xbf", b"event: e\n", b"id: 1\n\n"]
        ),
    ),
    max_size=30,
)  # fmt: skip


@given(CHUNKS)
def test_the_bodies_have_the_events_of_the_input(pieces: list[bytes]) -> None:
    whole = [(event.event, event.data) for event in decode(b"".join(pieces))]

    made = list(batches(pieces))

    sent: list[tuple[str, str]] = []
    for batch in made:
        assert len(sent) + 1 == batch.first
        sent += [(event.event, event.data) for event in decode(batch.body)]
        assert len(sent) + 1 == batch.first + batch.events
    assert whole == sent
    assert made


def test_a_body_has_a_thousand_events_at_most() -> None:
    made = list(batches([stream(*range(2500))]))

    assert [(1, 1000), (1001, 1000), (2001, 500)] == [(one.first, one.events) for one in made]
    assert stream(*range(2500)) == b"".join(one.body for one in made)
    assert [0, len(made[0].body), len(made[0].body + made[1].body)] == [one.offset for one in made]


def test_a_fault_in_a_later_body_is_told_by_its_place_in_the_input(
    command: Command, hub: Server, topic: str
) -> None:
    given = stream(*range(1500)) + b"data: \xff\n\n"

    done = command("publish", hub.url, topic, "--stream", "--key", topic, given=given)

    assert (1, "") == (done.code, done.out)
    for words in ("refused (400)", "from event 1001, byte", f"goes on with --key {topic}"):
        assert words in done.err
    assert numbers(1500) == published(hub, topic)


@pytest.mark.parametrize(
    ("given", "count", "unfinished"),
    [(b"", 0, False), (b": c\n\n", 0, False), (b"data: x", 0, True), (b"data: 0\n\ndata: x\n", 1, True)],
)  # fmt: skip
def test_an_input_without_whole_events_is_answered(
    command: Command, hub: Server, topic: str, given: bytes, count: int, unfinished: bool
) -> None:
    done = command("publish", hub.url, topic, "--stream", given=given)

    found = json.loads(done.out)
    assert (0, count, unfinished) == (done.code, found["count"], found["unfinished"])


# Progress


@pytest.mark.parametrize(
    ("option", "told"), [(["--progress"], True), (["--no-progress"], False), ([], False)]
)
def test_progress_is_told_where_it_is_asked_for(
    command: Command, hub: Server, topic: str, option: list[str], told: bool
) -> None:
    done = command("publish", hub.url, topic, "--stream", *option, given=stream(*range(1500)))

    assert told is ("1,500 events, 0.0 MB" in done.err)
    assert 1500 == json.loads(done.out)["count"]


@POSIX
def test_a_terminal_sees_one_line_of_progress(hub: Server, topic: str) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fastsse", "publish", hub.url, topic, "--stream", "--progress"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, env=environment(),
    )  # fmt: skip
    os.close(theirs)
    out, _ = process.communicate(stream(*range(2500)), timeout=DEADLINE)
    text = b""
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            text += piece
    os.close(ours)

    assert 2500 == json.loads(out)["count"]
    assert 1 == text.count(b"\n")
    assert b"2,500 events" in text.rpartition(b"\r\x1b[K")[2]


# Interruptions


@POSIX
def test_an_interrupt_ends_a_stream_without_a_traceback(server: Server, topic: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "fastsse", "publish", server.url, topic, "--stream"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdin is not None
    with subscriber(server, topic, "--last-event-id", "earliest") as reader:
        process.stdin.write(b"data: 1\n\n")
        process.stdin.flush()
        assert ["1"] == lines(reader, 1)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=DEADLINE)

    assert (130, b"", b"") == (process.returncode, out, errors)


# Headers


def test_headers_and_the_token_are_sent_with_every_request(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTSSE_TOKEN", "secret")
    with Misbehaving([send(answer(200, {}, b'{"id": "e-1", "key": "k", "ends": []}'))]) as server:
        command("publish", server.url, "t", "x", "--end", "--header", "X-A: ä")
        command("publish", server.url, "t", "x", "--header", "authorization: Basic other")
        command("subscribe", server.url, "t", "--no-retry")
        command("tail", server.url, "--no-retry")

    sent = [(one.method, one.headers.get("authorization")) for one in server.requests]
    token = "Bearer secret"
    both = [("POST", token), ("DELETE", token)]
    assert [*both, ("POST", "Basic other"), ("GET", token), ("GET", None)] == sent
    assert ["ä", "ä"] == [one.headers.get("x-a") for one in server.requests[:2]]


@pytest.mark.parametrize("name", ["publish", "subscribe"])
@pytest.mark.parametrize("token", ["sec\nret", "sec\x1bret", "sec\udcffret"])
def test_a_token_that_cannot_be_sent_is_not_shown(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str, token: str
) -> None:
    monkeypatch.setenv("FASTSSE_TOKEN", token)

    done = command(name, "http://127.0.0.1:1", "t")

    assert (1, "") == (done.code, done.out)
    assert "Authorization" in done.err
    assert "sec" not in done.err


@pytest.mark.parametrize("header", ["Idempotency-Key: x", "content-type: text/html"])
def test_headers_of_the_command_cannot_be_given(command: Command, header: str) -> None:
    done = command("publish", "http://127.0.0.1:1", "t", "x", "--header", header)

    assert (1, True) == (done.code, "--header" in done.err)


def test_a_hub_with_access_control_takes_the_token(tmp_path: Path) -> None:
    need("jwt")
    from support.tokens import claims, key_flags, sign, write_keys

    token = sign(
        claims(aud=None, fastsse={"subscribe": ["t"], "publish": ["t", "u"], "end": ["t"]})
    )
    with serve(*key_flags(write_keys(tmp_path))) as server:
        refused = run("publish", server.url, "t", "x")
        done = run("publish", server.url, "t", "x", "--end", FASTSSE_TOKEN=token)
        open_still = run("publish", server.url, "u", "x", "--end", FASTSSE_TOKEN=token)
        seen = run("subscribe", server.url, "t", "--last-event-id", "earliest", FASTSSE_TOKEN=token)

    assert (1, True) == (refused.returncode, b"refused (401)" in refused.stderr)
    assert (0, b"") == (done.returncode, done.stderr)
    assert (1, b"") == (open_still.returncode, open_still.stdout)
    for words in (b"refused (403)", b"published", b"has not ended"):
        assert words in open_still.stderr
    assert (0, b"x\n", b"") == (seen.returncode, seen.stdout, seen.stderr)
