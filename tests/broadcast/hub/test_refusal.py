"""Refusals: the words, the time to stay away, and the answer for each kind of client."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from fastsse import Decoder
from fastsse.broadcast import Settings
from fastsse.broadcast.hub.refusal import Refusal, least_seconds

EVENT_SOURCE = [(b"accept", b"text/event-stream"), (b"cache-control", b"no-cache")]


def scope(headers: list[tuple[bytes, bytes]], method: str = "GET") -> dict[str, Any]:
    return {"type": "http", "method": method, "headers": headers}


@pytest.mark.parametrize(
    ("least", "retry", "expected"), [(1, 0, 1), (1, 2000, 2), (5, 2000, 5), (5, 5001, 6)]
)
def test_nobody_comes_again_sooner_than_after_the_reconnection_time(
    least: int, retry: int, expected: int
) -> None:
    assert expected == least_seconds(least, Settings(retry=retry))


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("draining", "the server is stopping"),
        ("full", "all 7 streams are taken"),
        ("names", "the names that readers follow take all of their 9 bytes"),
    ],
)
def test_a_stream_is_refused_in_words_that_name_the_bound(reason: str, words: str) -> None:
    refusal = Refusal.of(reason, Settings(max_streams=7, max_followed=9))

    assert (reason, words, f"{words}; come again later") == (
        refusal.reason,
        refusal.words,
        refusal.detail,
    )


def test_clients_that_are_refused_together_come_again_at_different_times() -> None:
    refusal = Refusal("full", "all streams are taken", 5)

    times = {refusal.stay_away() for _ in range(100)}

    assert 5 <= min(times) < 6
    assert 9 < max(times) < 10
    assert {"5", "6", "7", "8", "9"} == {refusal.retry_after for _ in range(200)}


def test_an_event_source_gets_a_stream_that_tells_it_when_to_come_again() -> None:
    refusal = Refusal("full", "all streams are taken", 5)

    status, headers, body = refusal.answer(scope(EVENT_SOURCE), "retry")

    decoder = Decoder()
    assert [] == decoder.feed(body)
    assert 200 == status
    assert {
        b"content-type": b"text/event-stream; charset=utf-8",
        b"cache-control": b"no-store, no-transform",
        b"content-length": str(len(body)).encode(),
    } == dict(headers)
    assert body.startswith(b": full: all streams are taken\n")
    assert 5000 <= (decoder.retry or 0) < 10_000


@pytest.mark.parametrize(
    ("headers", "method", "turn_away", "kind"),
    [
        ([], "GET", "retry", b"application/problem+json"),
        (EVENT_SOURCE, "HEAD", "retry", b"application/problem+json"),
        (EVENT_SOURCE, "GET", "status", b"application/problem+json"),
        ([(b"accept", b"text/html")], "GET", "retry", b"application/json"),
    ],
)
def test_everybody_else_gets_a_problem(
    headers: list[tuple[bytes, bytes]], method: str, turn_away: str, kind: bytes
) -> None:
    refusal = Refusal("full", "all streams are taken", 5)

    status, found, body = refusal.answer(scope(headers, method), turn_away)

    assert 503 == status
    assert (kind, b"no-store") == (dict(found)[b"content-type"], dict(found)[b"cache-control"])
    assert 5 <= int(dict(found)[b"retry-after"]) < 10
    assert {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "all streams are taken; come again later",
    } == json.loads(body)


async def test_an_answer_is_sent_whole_with_more_headers() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Refusal("full", "no room", 5).tell(scope([]), send, "status", [(b"vary", b"Origin")])

    start, body = sent
    assert ("http.response.start", 503) == (start["type"], start["status"])
    assert (b"vary", b"Origin") in start["headers"]
    assert ("http.response.body", False) == (body["type"], body["more_body"])
    assert (b"content-length", str(len(body["body"])).encode()) in start["headers"]


def test_a_refusal_needs_no_framework() -> None:
    code = "import sys, fastsse.broadcast.hub.refusal; sys.exit('starlette' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)
