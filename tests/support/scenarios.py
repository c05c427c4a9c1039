"""A table of servers that misbehave, and what a client must make of each.

A scenario is a list of scripts, one for each connection; after them the server answers 204, which ends the stream. Its
expectations are checked by `mistakes`, which lists what a client did wrong. The module knows what goes over the wire
and what a caller sees; it must not know how a client is made.
"""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from support.drivers import Outcome, Plan
from support.misbehaving import (
    Asked,
    Misbehaving,
    Script,
    answer,
    chunk,
    head,
    reset,
    send,
    silence,
    stream,
    trickle,
)

from fastsse import EventTooLarge
from fastsse.client import (
    BadContentType,
    BadRedirect,
    BadStatus,
    NetworkError,
    OutOfTime,
    TooManyRetries,
    WaitTooLong,
)

__all__ = ["OF_TRANSPORTS", "SCENARIOS", "Scenario", "mistakes"]

Check = Callable[[Outcome, list[Asked]], bool]
END: Script = [send(answer(204))]


@dataclass(frozen=True)
class Scenario:
    """One server, and what must come of it.

    Attributes:
        name: what the server does.
        scripts: one for each connection.
        events: id and data of each event that the caller gets.
        asked: ``Last-Event-ID`` of each request; None where it does not matter.
        errors: what the iteration raises, in order.
        told: what `on_error` is told; None where it does not matter, as where libraries see a fault differently.
        delays: what `on_retry` is told; None where it does not matter.
        options: of the source.
        resumes, leaves, stop_after: of the plan.
        check: looks at the rest.
        listening: False where the server refuses connections until the first `on_retry`.
        endless: True where the last script serves all later connections, too.
    """

    name: str
    scripts: Sequence[Script]
    events: Sequence[tuple[str, str]] = ()
    asked: Sequence[str | None] | None = None
    errors: Sequence[type[BaseException]] = ()
    told: Sequence[str] | None = None
    delays: Sequence[float] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    resumes: int = 0
    leaves: bool = False
    stop_after: int = 0
    check: Check | None = None
    listening: bool = True
    endless: bool = False
    # Libraries in which the scenario shows a fault of their own.
    without: frozenset[str] = frozenset()
    state: str = "stopped"


def mistakes(scenario: Scenario, play: Callable[[Plan], Outcome]) -> list[str]:
    """Play a scenario, and list what came out otherwise than it must."""
    scripts = [*scenario.scripts, *([] if scenario.endless else [END])]
    with Misbehaving(*scripts, listening=scenario.listening) as server:
        options = dict(scenario.options)
        for name in ("tokens", "bodies"):
            options.update(options.pop(name)() if name in options else {})
        if not scenario.listening:
            options["on_error"] = lambda _: server.listen() if not server.listening else None
        base = options.pop("base", "")
        url = (base or server.url).replace("PORT", str(server.port))
        plan = Plan(url, options, scenario.resumes, scenario.leaves, scenario.stop_after)
        outcome = play(plan)
        requests = list(server.requests)
    expected = {
        "events": list(scenario.events),
        "asked": scenario.asked and list(scenario.asked),
        "errors": [error.__name__ for error in scenario.errors],
        "told": scenario.told and list(scenario.told),
        "delays": scenario.delays and list(scenario.delays),
        "others": 0,
        "state": scenario.state if not scenario.errors else "failed",
    }
    found = {
        "events": outcome.events,
        "asked": [one.headers.get("last-event-id") for one in requests],
        "errors": [type(error).__name__ for error in outcome.errors],
        "told": outcome.told,
        "delays": outcome.delays,
        "others": max((one.others for one in requests), default=0),
        "state": outcome.state if scenario.resumes == 0 or not scenario.errors else "failed",
    }
    wrong = [
        f"{name}: {found[name]} instead of {value}"
        for name, value in expected.items()
        if value is not None and value != found[name]
    ]
    if scenario.check is not None and not scenario.check(outcome, requests):
        wrong.append(f"check: {outcome} of {requests}")
    if wrong and outcome.errors:
        wrong.append(f"raised: {outcome.errors!r}")
    return wrong


def body(data: bytes, **more: Any) -> dict[str, Any]:
    """Send one stream of these bytes, then the end."""
    return {"scripts": [[stream(data)]], **more}


def raw(*pieces: bytes) -> Script:
    """Send these bytes and close."""
    return [send(b"".join(pieces))]


CHUNKED = head(200, {"Transfer-Encoding": "chunked"})
A = [("", "a")]
AB = [("1", "a"), ("2", "b")]
FIRST = b"id: 1\ndata: a\n\n"
SECOND = [stream(b"id: 2\ndata: b\n\n")]
WELL = [stream(b"data: a\n\n")]


def length(count: int) -> bytes:
    """Write a head with a Content-Length."""
    return head(200, {"Content-Length": str(count), "Connection": "close"})


STREAMS = [
    Scenario("two events", **body(b"data: a\n\ndata: b\n\n", events=[("", "a"), ("", "b")])),
    Scenario("end in the middle of an event", **body(b"data: a\n\ndata: b\n", events=A)),
    Scenario("end in the middle of a line", **body(b"data: a\n\ndata: b", events=A)),
    Scenario("end in the middle of a character", **body(b"data: a\n\ndata: \xe2\x82", events=A)),
    Scenario(
        "an event cut off is not joined to the next connection",
        [[stream(b"id: 1\ndata: a\n\ndata: x\n")], [stream(b"data: b\n\n")]],
        [("1", "a"), ("1", "b")],
        [None, "1", "1"],
    ),
    Scenario(
        "an id of an event cut off does not count",
        [[stream(FIRST + b"id: 9\ndata: x")], SECOND],
        AB,
        [None, "1", "2"],
    ),
    Scenario(
        "an event type of an event cut off does not count",
        [[stream(b"event: x\ndata: 1\n")], WELL],
        A,
        check=lambda outcome, _: outcome.whole[0].event == "message",
    ),
    Scenario(
        "one byte at a time",
        [[send(head()), trickle("data: €\r\n\r\n".encode())]],
        [("", "€")],
    ),
    Scenario("bytes that are not UTF-8", **body(b"data: a\xffb\n\n", events=[("", "a\ufffdb")])),
    Scenario("a byte-order mark", **body(b"\xef\xbb\xbfdata: a\n\n", events=A)),
    Scenario(
        "a byte-order mark in pieces",
        [[send(head() + b"\xef"), trickle(b"\xbb\xbfdata: a\n\n", 0.001)]],
        A,
    ),
    Scenario(
        "a byte-order mark on each connection",
        [[stream(b"\xef\xbb\xbf" + FIRST)], [stream(b"\xef\xbb\xbfid: 2\ndata: b\n\n")]],
        AB,
    ),
    Scenario("line ends of CR", **body(b"data: a\rdata: b\r\r", events=[("", "a\nb")])),
    Scenario("line ends of CRLF", **body(b"data: a\r\n\r\n", events=A)),
    Scenario(
        "a CRLF cut between connections",
        [[stream(b"data: a\r\n\r")], [stream(b"\ndata: b\n\n")]],
        [("", "a"), ("", "b")],
    ),
    Scenario(
        "comments",
        **body(
            b": one\n\ndata: a\n\n:two\n",
            events=A,
            check=lambda outcome, _: outcome.comments == ["one", "two"],
        ),
    ),
    Scenario("an id without data", [[stream(b"id: 7\n\n")], WELL], [("7", "a")], [None, "7", "7"]),
    Scenario(
        "an id with a NUL",
        [[stream(b"id: 1\n\nid: 2\x003\ndata: a\n\n")]],
        [("1", "a")],
        [None, "1"],
    ),
    Scenario(
        "an empty id",
        [[stream(FIRST)], [stream(b"id\ndata: b\n\n")]],
        [("1", "a"), ("", "b")],
        [None, "1", None],
    ),
    Scenario(
        "an id beyond ASCII",
        [[stream("id: ünï€\ndata: a\n\n".encode())]],
        [("ünï€", "a")],
        [None, "ünï€"],
    ),
    Scenario(
        "an id with spaces round it",
        [[stream(b"id:   x  \ndata: a\n\n")]],
        [("  x  ", "a")],
        [None, "x"],
    ),
    Scenario(
        "an id that no header can have",
        [[stream(b"id: a\x01b\ndata: a\n\n")], WELL],
        [("a\x01b", "a"), ("a\x01b", "a")],
        [None, None, None],
    ),
    Scenario(
        "an id of 3,000 characters",
        [[stream(b"id: " + b"x" * 3000 + b"\ndata: a\n\n")]],
        [("x" * 3000, "a")],
        [None, "x" * 3000],
    ),
    Scenario("a reconnection time", **body(b"retry: 7\ndata: a\n\n", events=A, delays=[0.007])),
    Scenario(
        "a reconnection time that stays",
        [[stream(b"retry: 4\ndata: a\n\n")], WELL, WELL],
        [*A, *A, *A],
        delays=[0.004, 0.004, 0.004],
    ),
    Scenario(
        "the last of two reconnection times",
        **body(b"retry: 9\n\nretry: 3\ndata: a\n\n", events=A, delays=[0.003]),
    ),
    Scenario(
        "a reconnection time in a block cut off",
        [[stream(b"data: a\n\nretry: 3\n")]],
        A,
        delays=[0.003],
    ),
    Scenario("a reconnection time of 0", **body(b"retry: 0\ndata: a\n\n", events=A, delays=[0.0])),
    *[
        Scenario(
            f"a reconnection time that is none: {value!r}",
            **body(b"retry: " + value + b"\ndata: a\n\n", events=A, delays=[0.002]),
        )
        for value in (b"", b"abc", b"1e3", b"-5", b"+5", b"1_0", b"1.5", "٣".encode())
    ],
    Scenario(
        "a reconnection time over max_wait",
        [[stream(b"retry: 3600001\ndata: a\n\n")]],
        A,
        errors=[WaitTooLong],
        check=lambda outcome, _: outcome.errors[0].asked == 3600.001,
    ),
    Scenario(
        "a reconnection time of 30 digits",
        [[stream(b"retry: " + b"9" * 30 + b"\ndata: a\n\n")]],
        A,
        errors=[WaitTooLong],
    ),
    Scenario(
        "a reconnection time over max_delay",
        [[stream(b"retry: 20\ndata: a\n\n")]],
        A,
        delays=[0.02],
    ),
    Scenario(
        "a line separator", **body("data: a\u2028b\x85\n\n".encode(), events=[("", "a\u2028b\x85")])
    ),
    Scenario(
        "data of 200 KiB", **body(b"data: " + b"x" * 204800 + b"\n\n", events=[("", "x" * 204800)])
    ),
    Scenario(
        "many events in one piece",
        **body(
            b"".join(b"data: %d\n\n" % n for n in range(500)),
            events=[("", str(n)) for n in range(500)],
        ),
    ),
    Scenario(
        "an event over the limit",
        [[stream(FIRST + b"data: " + b"x" * 2000)]],
        [("1", "a")],
        [None],
        errors=[EventTooLarge],
        options={"max_event_size": 1000},
    ),
    Scenario(
        "an event over the limit, and a caller who goes on",
        [[stream(FIRST + b"data: " + b"x" * 2000)], SECOND],
        AB,
        [None, "1", "2"],
        errors=[EventTooLarge],
        options={"max_event_size": 1000},
        resumes=1,
    ),
    Scenario(
        "silence after the head, until the client leaves",
        [[send(head()), silence()]],
        options={"idle_timeout": 0.25},
        told=["IdleTimeout"],
    ),
    Scenario(
        "silence after an event",
        [[send(head() + FIRST), silence()], SECOND],
        AB,
        [None, "1", "2"],
        options={"idle_timeout": 0.25},
        told=["IdleTimeout", "StreamEnded"],
    ),
    Scenario(
        "silence before the head",
        [[silence()], WELL],
        A,
        options={"idle_timeout": 0.25},
        told=["IdleTimeout", "StreamEnded"],
    ),
    Scenario(
        "comments that keep a stream alive",
        [[send(head()), trickle(b":\n" * 8, 0.02, 2), send(b"data: a\n\n")]],
        A,
        options={"idle_timeout": 0.5},
        told=["StreamEnded"],
    ),
    Scenario(
        "a reset after an event",
        [[send(head() + FIRST), reset], SECOND],
        AB,
        [None, "1", "2"],
    ),
    Scenario("a reset after the head", [[send(head()), reset], WELL], A),
    Scenario("a reset before the head", [[reset], WELL], A, told=["NetworkError", "StreamEnded"]),
    Scenario("an end before the head", [[], WELL], A, told=["NetworkError", "StreamEnded"]),
    Scenario(
        "an end in the middle of the head",
        [raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), WELL],
        A,
        check=lambda outcome, _: len(outcome.told) == 2,
        without=frozenset({"requests"}),
    ),
    Scenario(
        "an answer that is not HTTP",
        [raw(b"220 smtp ready\r\n"), WELL],
        A,
        told=["NetworkError", "StreamEnded"],
    ),
    Scenario(
        "an end after the head", [[stream(b"")], WELL], A, told=["StreamEnded", "StreamEnded"]
    ),
    Scenario(
        "connections refused, then a server",
        [WELL],
        A,
        listening=False,
    ),
    Scenario(
        "connections refused for ever",
        [],
        errors=[TooManyRetries],
        options={"max_retries": 2, "base": "http://127.0.0.1:1/"},
        told=["NetworkError", "NetworkError", "TooManyRetries"],
        check=lambda outcome, _: isinstance(outcome.errors[0].last, NetworkError),
    ),
]

# aiohttp reads nothing of a piece that has a fault in it, and none of what follows an answer; so the events of that
# piece come on the next connection. http.client, below requests, takes every interim answer but 100 for the answer, and
# a head that is cut off for a whole one. httpx reads the address of each redirect itself.
AIOHTTP = frozenset({"aiohttp"})
REQUESTS = frozenset({"requests"})

FRAMING = [
    Scenario(
        "chunks",
        [raw(CHUNKED, chunk(b"data: a\n\n"), chunk(b"data: b\n\n"), b"0\r\n\r\n")],
        [*A, ("", "b")],
    ),
    Scenario("chunks with extensions", [raw(CHUNKED, b"9;x=y\r\ndata: a\n\n\r\n0\r\n\r\n")], A),
    Scenario(
        "chunks cut within a character",
        [raw(CHUNKED, chunk(b"data: \xe2\x82"), chunk(b"\xac\n\n"), b"0\r\n\r\n")],
        [("", "€")],
    ),
    Scenario(
        "chunks and a trailer", [raw(CHUNKED, chunk(b"data: a\n\n"), b"0\r\nX-End: 1\r\n\r\n")], A
    ),
    Scenario(
        "chunks of one byte",
        [
            [
                send(CHUNKED),
                trickle(b"".join(chunk(bytes([it])) for it in b"data: a\n\n"), 0, 6),
                send(b"0\r\n\r\n"),
            ]
        ],
        A,
    ),
    Scenario(
        "a chunk size that is none",
        [raw(CHUNKED, chunk(FIRST), b"zz\r\nx\r\n"), SECOND],
        AB,
        [None, "1", "2"],
        without=AIOHTTP,
    ),
    Scenario(
        "chunks without their end", [raw(CHUNKED, chunk(FIRST)), SECOND], AB, [None, "1", "2"]
    ),
    Scenario(
        "a chunk cut off",
        [raw(CHUNKED, chunk(FIRST), b"20\r\ndata: x"), SECOND],
        AB,
        [None, "1", "2"],
    ),
    Scenario(
        "chunks, then a reset",
        [[send(CHUNKED + chunk(FIRST)), reset], SECOND],
        AB,
        [None, "1", "2"],
    ),
    Scenario(
        "chunks after the last one",
        [raw(CHUNKED, chunk(b"data: a\n\n"), b"0\r\n\r\ngarbage")],
        A,
        without=AIOHTTP,
    ),
    Scenario("an exact Content-Length", [raw(length(9), b"data: a\n\n")], A),
    Scenario(
        "a body that ends before its Content-Length",
        [raw(length(100), FIRST), SECOND],
        AB,
        [None, "1", "2"],
    ),
    Scenario(
        "a body that goes on behind its Content-Length",
        [raw(length(15), FIRST, b"data: x\n\n"), SECOND],
        AB,
        [None, "1", "2"],
        without=AIOHTTP,
    ),
    Scenario(
        "a Content-Length within an event",
        [raw(length(20), FIRST, b"data: x\n\n"), SECOND],
        AB,
        [None, "1", "2"],
        without=AIOHTTP,
    ),
    Scenario(
        "a Content-Length that no body reaches",
        [[send(length(10**15) + FIRST), trickle(b": x\n" * 5)], SECOND],
        AB,
        [None, "1", "2"],
    ),
    Scenario(
        "a Content-Length of 0", [raw(length(0)), WELL], A, told=["StreamEnded", "StreamEnded"]
    ),
    Scenario("HTTP/1.0", [raw(head("HTTP/1.0 200 OK"), b"data: a\n\n")], A),
    Scenario("no reason phrase", [raw(head("HTTP/1.1 200 "), b"data: a\n\n")], A),
    Scenario(
        "names of headers in capitals",
        [raw(b"HTTP/1.1 200 OK\r\nCONTENT-TYPE: text/event-stream\r\n\r\ndata: a\n\n")],
        A,
    ),
    Scenario("60 headers", [raw(head(200, {f"X-{n}": "y" for n in range(60)}), b"data: a\n\n")], A),
    Scenario(
        "a header in Latin-1",
        [
            raw(
                b"HTTP/1.1 200 OK\r\nX-A: \xe4\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n"
            )
        ],
        A,
        check=lambda outcome, _: outcome.opened[0].headers["x-a"] == "ä",
    ),
    Scenario(
        "a header in UTF-8",
        [raw(head(200, {"X-A": "ä"}), b"data: a\n\n")],
        A,
        check=lambda outcome, _: outcome.opened[0].headers["X-A"] == "ä",
    ),
    Scenario("a head that comes byte by byte", [[trickle(head()), send(b"data: a\n\n")]], A),
    Scenario("a head and a body in one piece", [raw(head(), b"data: a\n\n")], A),
    Scenario(
        "100 Continue before the answer",
        [raw(b"HTTP/1.1 100 Continue\r\n\r\n", head(), b"data: a\n\n")],
        A,
    ),
    Scenario(
        "103 Early Hints before the answer",
        [raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", head(), b"data: a\n\n")],
        A,
        without=REQUESTS,
    ),
    Scenario(
        "several interim answers",
        [
            raw(
                b"HTTP/1.1 102 Processing\r\n\r\n" * 3,
                b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
                head(),
                b"data: a\n\n",
            )
        ],
        A,
        without=REQUESTS,
    ),
]

_gzip = gzip.compress(b"data: a\n\ndata: b\n\n")


def flushed(*pieces: bytes, wbits: int = 31) -> list[bytes]:
    """Compress pieces so that each can be read once it has come."""
    engine = zlib.compressobj(wbits=wbits)
    return [engine.compress(piece) + engine.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]


GZIP = {"Content-Encoding": "gzip"}
CODINGS = [
    Scenario("gzip", [raw(head(200, GZIP), _gzip)], [*A, ("", "b")]),
    Scenario(
        "gzip in chunks, flushed after each event",
        [
            [
                send(head(200, {**GZIP, "Transfer-Encoding": "chunked"})),
                *[send(chunk(it)) for it in flushed(FIRST, b"id: 2\ndata: b\n\n")],
            ]
        ],
        AB,
        [None, "2"],
    ),
    Scenario("gzip one byte at a time", [[send(head(200, GZIP)), trickle(_gzip)]], [*A, ("", "b")]),
    Scenario(
        "gzip cut off",
        [raw(head(200, GZIP), *flushed(FIRST, b"data: x")), SECOND],
        AB,
        [None, "1", "2"],
    ),
    Scenario(
        "gzip that is none",
        [raw(head(200, GZIP), b"data: x\n\n"), WELL],
        A,
        check=lambda outcome, _: len(outcome.told) == 2,
    ),
    Scenario(
        "gzip of 1 MiB in 1 KiB",
        [raw(head(200, GZIP), gzip.compress(b"data: " + b"x" * 900000 + b"\n\n"))],
        [("", "x" * 900000)],
    ),
    Scenario(
        "deflate",
        [raw(head(200, {"Content-Encoding": "deflate"}), zlib.compress(b"data: a\n\n"))],
        A,
    ),
    Scenario(
        "deflate without a header",
        [raw(head(200, {"Content-Encoding": "deflate"}), *flushed(b"data: a\n\n", wbits=-15))],
        A,
    ),
    Scenario(
        "the coding identity", [raw(head(200, {"Content-Encoding": "identity"}), b"data: a\n\n")], A
    ),
]


def typed(content_type: str | None) -> list[Script]:
    """Answer 200 with this content type."""
    return [raw(head(200, {"Connection": "close"}, content_type), b"data: a\n\n")]


TYPES = [
    *[
        Scenario(f"the type {name!r}", typed(name), A)
        for name in (
            "text/event-stream;charset=utf-8",
            "Text/Event-Stream",
            "TEXT/EVENT-STREAM ; charset=UTF-8",
            'text/event-stream; a="b,c"',
            "text/plain, text/event-stream",
        )
    ],
    Scenario(
        "a charset that is not UTF-8",
        [raw(head(200, None, "text/event-stream; charset=iso-8859-1"), "data: €\n\n".encode())],
        [("", "€")],
    ),
    *[
        Scenario(
            f"the type {name!r}",
            typed(name),
            errors=[BadContentType],
            told=["BadContentType"],
            check=lambda outcome, _: outcome.errors[0].body == b"data: a\n\n",
        )
        for name in (
            "text/event-streamx",
            "xtext/event-stream",
            "text/event-stream, text/html",
            "text/html",
            "application/json",
            "text/plain; a=text/event-stream",
            "",
            None,
        )
    ],
    Scenario(
        "another type, and a caller who goes on",
        [*typed("text/html"), WELL],
        A,
        errors=[BadContentType],
        resumes=1,
    ),
]


def refused(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"why") -> Script:
    """Answer with a status."""
    return [send(answer(status, headers, body))]


def why(text: bytes) -> Check:
    """Check that the body of the first error is this."""
    return lambda outcome, _: outcome.errors[0].body == text


STATUSES = [
    Scenario("204 at once", [], told=[], asked=[None]),
    Scenario(
        "204 after an event", [[stream(FIRST)]], [("1", "a")], [None, "1"], told=["StreamEnded"]
    ),
    *[
        Scenario(
            f"{status}",
            [refused(status)],
            errors=[BadStatus],
            told=["BadStatus"],
            check=lambda outcome, _, status=status: (
                outcome.errors[0].response.status == status
                and outcome.errors[0].body in (b"why", b"")
            ),
        )
        for status in (
            201,
            202,
            205,
            206,
            300,
            304,
            305,
            400,
            401,
            403,
            404,
            405,
            407,
            408,
            410,
            422,
            431,
            501,
            505,
            511,
        )
    ],
    Scenario(
        "206 with an event stream",
        [raw(head(206, {"Connection": "close"}), b"data: a\n\n")],
        errors=[BadStatus],
    ),
    Scenario(
        "404 with a body of JSON",
        [refused(404, {"X-Trace": "7"}, b'{"detail": "gone"}')],
        errors=[BadStatus],
        check=lambda outcome, _: (
            "gone" in str(outcome.errors[0])
            and outcome.errors[0].response.headers["x-trace"] == "7"
        ),
    ),
    *[
        Scenario(
            f"{status}, then well",
            [refused(status), WELL],
            A,
            told=["BadStatus", "StreamEnded"],
            delays=[0.002, 0.002],
        )
        for status in (429, 500, 502, 503, 504)
    ],
    *[
        Scenario(
            f"{status}, and the standard to the letter",
            [refused(status)],
            errors=[BadStatus],
            options={"retry_status": ()},
        )
        for status in (429, 500, 503)
    ],
    Scenario(
        "404 as a status after which to come again",
        [refused(404), WELL],
        A,
        options={"retry_status": (404,)},
    ),
    Scenario(
        "429 with Retry-After", [refused(429, {"Retry-After": "7"})], delays=[7.0], stop_after=1
    ),
    Scenario("503 with Retry-After of 0", [refused(503, {"Retry-After": "0"})], delays=[0.002]),
    Scenario(
        "503 with a date in Retry-After",
        [
            refused(
                503,
                {
                    "Retry-After": "Sun, 06 Nov 1994 08:49:46 GMT",
                    "Date": "Sun, 06 Nov 1994 08:49:37 GMT",
                },
            )
        ],
        delays=[9.0],
        stop_after=1,
    ),
    Scenario(
        "503 with a date that is over",
        [refused(503, {"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"})],
        delays=[0.002],
    ),
    *[
        Scenario(
            f"503 with a Retry-After that is none: {value!r}",
            [refused(503, {"Retry-After": value})],
            delays=[0.002],
        )
        for value in ("soon", "-5", "1.5", "1e3", "Mon, 99 Foo 2026", "")
    ],
    Scenario(
        "429 with a Retry-After over max_wait",
        [refused(429, {"Retry-After": "3601"})],
        errors=[WaitTooLong],
        check=lambda outcome, _: (
            (outcome.errors[0].asked, outcome.errors[0].limit) == (3601.0, 3600.0)
        ),
    ),
    Scenario(
        "429 with a Retry-After of 40 digits",
        [refused(429, {"Retry-After": "9" * 40})],
        errors=[WaitTooLong],
    ),
    Scenario(
        "a Retry-After shorter than the reconnection time",
        [[stream(b"retry: 4\n\n")], refused(503, {"Retry-After": "0"}), WELL],
        A,
        check=lambda outcome, _: min(outcome.delays) >= 0.004,
    ),
    Scenario(
        "a Retry-After of less than the reconnection time",
        [refused(503, {"Retry-After": "1"})],
        delays=[5.0],
        options={"reconnection_time": 5.0},
        stop_after=1,
    ),
    Scenario(
        "503 for ever",
        [refused(503)],
        errors=[TooManyRetries],
        options={"max_retries": 3},
        endless=True,
        asked=[None] * 4,
        check=lambda outcome, _: (
            isinstance(outcome.errors[0].last, BadStatus) and outcome.errors[0].limit == 3
        ),
    ),
    Scenario(
        "a body of an error without end",
        [[send(head(404, None, "text/plain")), trickle(b"x" * 200000, 0, 20000), silence()]],
        errors=[BadStatus],
        check=why(b"x" * 65536),
    ),
    Scenario(
        "a body of an error that does not come",
        [[send(head(404, {"Content-Length": "9"}, "text/plain") + b"why"), silence()]],
        errors=[BadStatus],
        check=why(b"why"),
    ),
    Scenario(
        "a body of an error that breaks off",
        [[send(head(404, {"Content-Length": "99"}, "text/plain") + b"why")]],
        errors=[BadStatus],
        check=lambda outcome, _: outcome.errors[0].body in (b"why", b""),
    ),
    Scenario(
        "404, and a caller who goes on", [refused(404), WELL], A, errors=[BadStatus], resumes=1
    ),
    Scenario(
        "503, an event, 503, an event",
        [refused(503), WELL, refused(503), WELL],
        [*A, *A],
        delays=[0.002] * 4,
    ),
    Scenario(
        "ten connections without an event",
        [[stream(b"")]] * 10,
        check=lambda outcome, _: (
            outcome.delays[0] == 0.002
            and 0.002 < max(outcome.delays) <= 0.008
            and len(set(outcome.delays)) > 5
        ),
    ),
    Scenario(
        "events reset the row of failures, connections do not",
        [[stream(b"")], [stream(b"")], WELL, [stream(b"")]],
        A,
        check=lambda outcome, _: (
            outcome.delays[0] == outcome.delays[2] == 0.002 and 0.002 <= outcome.delays[1] <= 0.004
        ),
    ),
]


def to(status: int, place: str) -> Script:
    """Redirect; PORT in the place stands for the server's own."""

    def step(sock: socket.socket) -> None:
        port = str(sock.getsockname()[1])
        sock.sendall(answer(status, {"Location": place.replace("PORT", port)}))

    return [step]


def lines(*expected: str) -> Check:
    """Check methods and targets of the requests."""
    return lambda _, asked: [f"{one.method} {one.target}" for one in asked] == list(expected)


SECRETS = {
    "headers": {"Authorization": "Bearer x", "Cookie": "a=b", "X-Mine": "1"},
    "last_event_id": "5",
}
OTHER = "http://localhost:PORT/other"


def bare(_: Outcome, asked: list[Asked]) -> bool:
    """Check that the second request has no credentials, and all else."""
    first, second = asked[0].headers, asked[1].headers
    return (
        first["authorization"] == "Bearer x"
        and first["cookie"] == "a=b"
        and not {"authorization", "cookie"} & set(second)
        and (second["x-mine"], second["last-event-id"]) == ("1", "5")
    )


FIFTH = [("5", "a")]
REDIRECTS = [
    *[
        Scenario(
            f"{status}",
            [to(status, "/b"), WELL],
            A,
            check=lines(
                "GET /events", "GET /b", "GET /b" if status in (301, 308) else "GET /events"
            ),
        )
        for status in (301, 302, 303, 307, 308)
    ],
    *[
        Scenario(
            f"{status} in answer to a POST",
            [to(status, "/b"), WELL],
            A,
            options={"body": "hello", "headers": {"Content-Type": "text/x"}},
            check=lambda _, asked, kept=kept, again=again: (
                [
                    (one.method, one.target, one.body, one.headers.get("content-type"))
                    for one in asked
                ]
                == [
                    ("POST", "/events", b"hello", "text/x"),
                    ("POST", "/b", b"hello", "text/x") if kept else ("GET", "/b", b"", None),
                    ("POST", again, b"hello", "text/x"),
                ]
            ),
        )
        for status, kept, again in (
            (301, False, "/events"),
            (302, False, "/events"),
            (303, False, "/events"),
            (307, True, "/events"),
            (308, True, "/b"),
        )
    ],
    Scenario(
        "a PUT that 302 leaves a PUT",
        [to(302, "/b"), WELL],
        A,
        options={"method": "PUT", "body": b"x"},
        check=lines("PUT /events", "PUT /b", "PUT /events"),
    ),
    Scenario(
        "a redirect to a relative place",
        [to(307, "../x/y?z=1#f"), WELL],
        A,
        check=lines("GET /events", "GET /x/y?z=1", "GET /events"),
    ),
    Scenario(
        "a redirect beyond ASCII",
        [to(307, "/ä b"), WELL],
        A,
        check=lines("GET /events", "GET /%C3%A4%20b", "GET /events"),
    ),
    *[
        Scenario(
            f"{status} to another origin",
            [to(status, OTHER), WELL],
            FIFTH,
            options=SECRETS,
            check=bare,
        )
        for status in (302, 307, 308)
    ],
    Scenario(
        "a redirect to this origin",
        [to(307, "/b"), WELL],
        FIFTH,
        options=SECRETS,
        check=lambda _, asked: asked[1].headers["authorization"] == "Bearer x",
    ),
    Scenario(
        "a redirect to another origin and back",
        [to(307, OTHER), to(307, "http://127.0.0.1:PORT/c"), WELL],
        FIFTH,
        options=SECRETS,
        check=lambda _, asked: (
            "authorization" not in asked[2].headers
            and asked[3].headers["authorization"] == "Bearer x"
        ),
    ),
    Scenario(
        "a redirect to another origin, and the auth hook",
        [to(307, OTHER), WELL],
        A,
        options={"auth": lambda _: "Bearer h"},
        check=lambda _, asked: (
            [one.headers.get("authorization") for one in asked] == ["Bearer h", None, "Bearer h"]
        ),
    ),
    Scenario(
        "permanent redirects, one after the other",
        [to(301, "/b"), to(308, "/c"), WELL],
        A,
        check=lines("GET /events", "GET /b", "GET /c", "GET /c"),
    ),
    Scenario(
        "a permanent redirect behind another",
        [to(301, "/b"), to(302, "/c"), to(301, "/d"), WELL],
        A,
        check=lines("GET /events", "GET /b", "GET /c", "GET /d", "GET /b"),
    ),
    Scenario(
        "a redirect in a circle",
        [to(302, "/events")],
        errors=[BadRedirect],
        endless=True,
        check=lambda outcome, asked: len(asked) == 21 and "20 redirects" in str(outcome.errors[0]),
    ),
    Scenario(
        "a permanent redirect in a circle",
        [to(308, "/events")],
        errors=[BadRedirect],
        endless=True,
        options={"max_redirects": 3},
        check=lambda _, asked: len(asked) == 4,
    ),
    Scenario(
        "a redirect where none may be",
        [to(302, "/b")],
        errors=[BadRedirect],
        options={"max_redirects": 0},
        asked=[None],
    ),
    Scenario(
        "a redirect without a Location",
        [[send(answer(302))]],
        errors=[BadRedirect],
        told=["BadRedirect"],
    ),
    *[
        Scenario(
            f"a redirect to {place}",
            [to(302, place)],
            errors=[BadRedirect],
            asked=[None],
            without=frozenset({"httpx"}),
        )
        for place in (
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "http://[",
            "http://",
            "http://a:99999/",
        )
    ],
    Scenario(
        "a redirect to javascript:1",
        [to(302, "javascript:1")],
        errors=[BadRedirect],
        without=frozenset({"httpx", "httpx2"}),
    ),
    Scenario("a redirect to 204", [to(302, "/b")], asked=[None, None], told=[]),
    Scenario(
        "a redirect to 404",
        [to(302, "/b"), refused(404)],
        errors=[BadStatus],
        check=lambda outcome, _: outcome.errors[0].response.url.endswith("/b"),
    ),
    Scenario(
        "a redirect to 503",
        [to(302, "/b"), refused(503), to(302, "/b"), WELL],
        A,
        check=lines("GET /events", "GET /b", "GET /events", "GET /b", "GET /events"),
    ),
    Scenario(
        "redirects are counted anew for each attempt",
        [to(302, "/b"), refused(503)] * 4,
        options={"max_redirects": 1},
    ),
]

LIMITS = [
    Scenario(
        "max_retries of 0, and an end",
        [[stream(FIRST)]],
        [("1", "a")],
        [None],
        options={"max_retries": 0},
        told=[],
    ),
    Scenario(
        "max_retries of 0, and a break",
        [raw(CHUNKED, chunk(FIRST))],
        [("1", "a")],
        errors=[NetworkError],
        options={"max_retries": 0},
    ),
    Scenario(
        "max_retries of 0, and 503",
        [refused(503)],
        errors=[BadStatus],
        options={"max_retries": 0},
        check=why(b"why"),
    ),
    Scenario(
        "max_retries of 1, and an event on each connection",
        [WELL] * 4,
        A * 4,
        options={"max_retries": 1},
    ),
    Scenario(
        "max_retries of 1, and connections without an event",
        [WELL, [stream(b": x\n\n")]],
        A,
        errors=[TooManyRetries],
        options={"max_retries": 1},
        endless=True,
        asked=[None] * 2,
    ),
    Scenario(
        "max_retries, and a caller who goes on",
        [[stream(b"")]] * 2 + [WELL],
        A,
        errors=[TooManyRetries],
        options={"max_retries": 1},
        resumes=1,
    ),
    Scenario(
        "max_time, and a quiet stream",
        [[send(head() + FIRST), silence()]],
        [("1", "a")],
        errors=[OutOfTime],
        options={"max_time": 0.4},
        check=lambda outcome, _: outcome.errors[0].limit == 0.4,
    ),
    Scenario(
        "max_time, and a stream that trickles",
        [[send(head()), trickle(b":\n" * 500, 0.01)]],
        errors=[OutOfTime],
        options={"max_time": 0.1},
    ),
    Scenario("max_time, and no head", [[silence()]], errors=[OutOfTime], options={"max_time": 0.1}),
    Scenario(
        "max_time, and 503 for ever",
        [refused(503)],
        errors=[OutOfTime],
        options={"max_time": 1.0},
        endless=True,
    ),
    Scenario(
        "max_time, and a wait beyond it",
        [refused(503, {"Retry-After": "60"})],
        errors=[OutOfTime],
        options={"max_time": 30},
    ),
]


def tokens() -> dict[str, Any]:
    """Give a new token for each request."""
    made = iter(range(100))
    return {"auth": lambda _: {"Authorization": f"Bearer {next(made)}"}}


def bodies() -> dict[str, Any]:
    """Make a new body for each request."""
    made = iter(range(100))
    return {"body": lambda: f"body {next(made)}"}


def seen(name: str, *values: str | None) -> Check:
    """Check a header of all requests."""
    return lambda _, asked: [one.headers.get(name) for one in asked] == list(values)


REQUESTS = [
    Scenario(
        "its headers",
        [WELL],
        A,
        check=lambda _, asked: (
            (asked[0].headers["accept"], asked[0].headers["cache-control"])
            == ("text/event-stream", "no-store")
        ),
    ),
    Scenario(
        "headers of the caller's",
        [WELL],
        A,
        options={"headers": [("accept", "text/event-stream, */*;q=0.1"), ("X-A", "ä")]},
        check=lambda _, asked: (
            (asked[0].headers["accept"], asked[0].headers["x-a"])
            == ("text/event-stream, */*;q=0.1", "ä")
        ),
    ),
    Scenario(
        "an id to begin after", [WELL], [("5", "a")], ["5", "5"], options={"last_event_id": "5"}
    ),
    Scenario(
        "an id to begin after, in the headers",
        [[stream(b"data: a\n\nid\ndata: b\n\n")]],
        [("5", "a"), ("", "b")],
        ["5", None],
        options={"headers": {"last-event-id": "5"}},
    ),
    Scenario(
        "parameters",
        [WELL],
        A,
        options={"params": {"topic": ["a", "b c"], "x": 1}, "base": "http://127.0.0.1:PORT/e?y=2"},
        check=lines("GET /e?y=2&topic=a&topic=b+c&x=1", "GET /e?y=2&topic=a&topic=b+c&x=1"),
    ),
    Scenario(
        "an address beyond ASCII",
        [WELL],
        A,
        options={"base": "http://127.0.0.1:PORT/ä b?c=é"},
        check=lines("GET /%C3%A4%20b?c=%C3%A9", "GET /%C3%A4%20b?c=%C3%A9"),
    ),
    Scenario(
        "an address without a path",
        [WELL],
        A,
        options={"base": "http://127.0.0.1:PORT"},
        check=lines("GET /", "GET /"),
    ),
    Scenario(
        "an address with escapes",
        [WELL],
        A,
        options={"base": "http://127.0.0.1:PORT/a%2Fb?c=%26"},
        check=lines("GET /a%2Fb?c=%26", "GET /a%2Fb?c=%26"),
    ),
    Scenario(
        "a user in the address",
        [WELL],
        A,
        options={"base": "http://me:s%40cret@127.0.0.1:PORT/"},
        check=seen("authorization", *["Basic bWU6c0BjcmV0"] * 2),
    ),
    Scenario(
        "a body that is sent again",
        [WELL],
        A,
        options={"body": b"hello"},
        check=lambda _, asked: (
            [(one.method, one.body, one.headers["content-length"]) for one in asked]
            == [("POST", b"hello", "5")] * 2
        ),
    ),
    Scenario(
        "a body that is made anew",
        [WELL],
        A,
        options={"bodies": bodies},
        check=lambda _, asked: [one.body for one in asked] == [b"body 0", b"body 1"],
    ),
    Scenario(
        "a body of JSON",
        [WELL],
        A,
        options={"json": {"a": "ä"}},
        check=lambda _, asked: (
            [(one.method, one.body, one.headers["content-type"]) for one in asked]
            == [("POST", '{"a":"ä"}'.encode(), "application/json")] * 2
        ),
    ),
    Scenario(
        "a POST without a body",
        [WELL],
        A,
        options={"method": "post"},
        check=lambda _, asked: (
            [(one.method, one.headers.get("content-length")) for one in asked]
            == [("POST", "0")] * 2
        ),
    ),
    Scenario(
        "a token for each request",
        [WELL],
        A,
        options={"tokens": tokens},
        check=seen("authorization", "Bearer 0", "Bearer 1"),
    ),
    Scenario(
        "401, then a new token",
        [refused(401), WELL],
        A,
        options={"tokens": tokens},
        check=seen("authorization", "Bearer 0", "Bearer 1", "Bearer 2"),
        told=["BadStatus", "StreamEnded"],
        delays=[0.0, 0.002],
    ),
    Scenario(
        "401 for ever",
        [refused(401)],
        errors=[BadStatus],
        options={"tokens": tokens},
        endless=True,
        check=seen("authorization", "Bearer 0", "Bearer 1"),
    ),
    Scenario(
        "401 for ever, and a caller who goes on",
        [refused(401)] * 2 + [WELL],
        A,
        errors=[BadStatus],
        options={"tokens": tokens},
        resumes=1,
    ),
    Scenario(
        "401 after a stream", [WELL, refused(401), WELL], [*A, *A], options={"tokens": tokens}
    ),
    Scenario(
        "leaving the loop after each event",
        [[stream(FIRST + b"id: 2\ndata: b\n\n")], [stream(b"data: c\n\n")]],
        [*AB, ("2", "c")],
        [None, "2", "2"],
        leaves=True,
    ),
    Scenario(
        "responses",
        [[stream(b"data: a\n\n", {"X-N": "1"})], [stream(b"", {"X-N": "2"})]],
        A,
        check=lambda outcome, _: [one.headers["x-n"] for one in outcome.opened] == ["1", "2"],
    ),
]

# The scenarios in which transports differ most; the others are about the machine, which is one for all.
OF_TRANSPORTS = [*FRAMING, *CODINGS, *REDIRECTS, *REQUESTS]
SCENARIOS = [*STREAMS, *FRAMING, *CODINGS, *TYPES, *STATUSES, *REDIRECTS, *LIMITS, *REQUESTS]
