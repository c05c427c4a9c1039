"""`fastsse publish` against a real broadcast."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support.commands import Command, lines, subscribed, subscriber
from support.servers import (
    Clients,
    Server,
    environment,
    serve,
)


def test_publish_prints_the_answer(command: Command, server: Server, topic: str) -> None:
    done = command("publish", server.url, topic, "hello", "--event", "e")

    answer = json.loads(done.out)
    assert ([topic], 0) == (answer["topics"], answer["subscribers"])
    expected = {"id": answer["id"], "event": "e", "data": "hello", "retry": None}
    assert [expected] == subscribed(server, topic, 1)


@pytest.mark.parametrize(("allow", "retry"), [([], 403), (["--retry-from-publishers"], 5)])
def test_publish_sets_the_reconnection_time_where_the_server_allows_it(
    command: Command, allow: list[str], retry: int
) -> None:
    with serve(*allow) as server:
        done = command("publish", server.url, "a", "hello", "--retry", "5")

        if allow:
            assert [retry] == [event["retry"] for event in subscribed(server, "a", 1)]
        else:
            assert str(retry) in done.err


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
