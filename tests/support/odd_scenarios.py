"""More rows of the table in `support.scenarios`: servers that are odd, at the edges of HTTP and of the standard.

The first table has what every client meets. These rows have what few servers do: redirects in unusual words, dates in
old forms, fields that come twice, codings in several parts, heads of other protocols, hooks that fail. The module knows
what goes over the wire and what a caller sees; it must not know how a client is made.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from importlib import metadata
from typing import Any

from support.drivers import Outcome
from support.misbehaving import Asked, Script, answer, chunk, head, reset, send, silence, stream
from support.scenarios import (
    AB,
    AIOHTTP,
    CHUNKED,
    FIRST,
    GZIP,
    OTHER,
    SECOND,
    SECRETS,
    WELL,
    A,
    Scenario,
    bodies,
    body,
    lines,
    raw,
    refused,
    seen,
    to,
    tokens,
    typed,
)

from fastsse import EventTooLarge
from fastsse.client import BadContentType, BadRedirect, BadStatus, OutOfTime, WaitTooLong

__all__ = ["ODD", "ODD_OF_TRANSPORTS"]

BAD_THEN_WELL = ["NetworkError", "StreamEnded"]
OF_REQUESTS = frozenset({"requests"})


def older(name: str, *than: int) -> frozenset[str]:
    """Name a library whose installed version is older than this: it has a fault that was mended since."""
    try:
        major, minor = metadata.version(name).split(".")[:2]
    except metadata.PackageNotFoundError:
        return frozenset()
    return frozenset({name}) if (int(major), int(minor)) < than else frozenset()


# Reads the first member of a gzip body alone, and any number of headers.
OLD_AIOHTTP = older("aiohttp", 3, 14)
# Fails on a parameter without a value.
OLD_REQUESTS = older("requests", 2, 32)


def leads(status: int, *fields: tuple[str, str], body: bytes = b"", ends: bool = True) -> Script:
    """Redirect by fields that may repeat a name, with a body that ends, or never does."""
    written = "".join(f"{name}: {value}\r\n" for name, value in fields)
    start = f"HTTP/1.1 {status} X\r\n{written}\r\n".encode()
    return [send(start + body), *([] if ends else [silence()])]


LOCATION = ("Location", "/b")
TO_B = lines("GET /events", "GET /b", "GET /events")

ODD_REDIRECTS = [
    *[
        Scenario(f"a redirect to {place!r}", [to(307, place), WELL], A, check=lines(*asked))
        for place, asked in {
            "?x=1": ("GET /events", "GET /events?x=1", "GET /events"),
            "#x": ("GET /events", "GET /events", "GET /events"),
            "": ("GET /events", "GET /events", "GET /events"),
            "//127.0.0.1:PORT/b": ("GET /events", "GET /b", "GET /events"),
            "HTTP://127.0.0.1:PORT/b": ("GET /events", "GET /b", "GET /events"),
            "http://127.0.0.1:PORT": ("GET /events", "GET /", "GET /events"),
            "/../../b": ("GET /events", "GET /b", "GET /events"),
            "/a%2Fb?c=%26": ("GET /events", "GET /a%2Fb?c=%26", "GET /events"),
            "./b;v=1": ("GET /events", "GET /b;v=1", "GET /events"),
        }.items()
    ],
    *[
        Scenario(
            f"a redirect to {place}, which is refused",
            [to(302, place), WELL],
            A,
            told=BAD_THEN_WELL,
            check=lines("GET /events", "GET /events", "GET /events"),
        )
        for place in ("http://127.0.0.1:1/", "https://127.0.0.1:1/")
    ],
    Scenario(
        "a redirect to two places",
        [leads(302, ("Location", "/b"), ("Location", "/c"))],
        errors=[BadRedirect],
        asked=[None],
    ),
    Scenario(
        "a redirect to one place, told twice", [leads(302, LOCATION, LOCATION), WELL], A, check=TO_B
    ),
    *[
        Scenario(f"a redirect whose body {what}", [script, WELL], A, told=["StreamEnded"])
        for what, script in {
            "never ends": leads(302, LOCATION, ends=False),
            "never ends, although it has begun": leads(302, LOCATION, body=b"moved", ends=False),
            "is shorter than it says": leads(302, LOCATION, ("Content-Length", "99"), body=b"x"),
            "breaks off": [*leads(307, LOCATION, ("Content-Length", "99"), body=b"x"), reset],
            "is no gzip": leads(302, LOCATION, ("Content-Encoding", "gzip"), body=b"moved"),
            "is an event stream": leads(
                302, LOCATION, ("Content-Type", "text/event-stream"), body=b"data: x\n\n"
            ),
        }.items()
    ],
    Scenario(
        "a redirect whose body has chunks that are none",
        [leads(302, LOCATION, ("Transfer-Encoding", "chunked"), body=b"zz\r\n"), WELL],
        A,
        told=["StreamEnded"],
        without=AIOHTTP,
    ),
    *[
        Scenario(
            f"a {method} that 303 makes a GET",
            [to(303, "/b"), WELL],
            A,
            options={"method": method, "body": b"x"},
            check=lambda _, asked, method=method: (
                [(one.method, one.target, one.body) for one in asked]
                == [
                    (method, "/events", b"x"),
                    ("GET", "/b", b""),
                    (method, "/events", b"x"),
                ]
            ),
        )
        for method in ("PUT", "DELETE", "PATCH")
    ],
    Scenario(
        "a body that is made anew for a redirect",
        [to(307, "/b"), WELL],
        A,
        options={"bodies": bodies},
        check=lambda _, asked: [one.body for one in asked] == [b"body 0", b"body 1", b"body 2"],
    ),
    Scenario(
        "a redirect with Retry-After",
        [leads(302, LOCATION, ("Retry-After", "0")), WELL],
        A,
        told=["StreamEnded"],
        check=TO_B,
    ),
    Scenario(
        "a redirect that asks for too long a wait",
        [leads(302, LOCATION, ("Retry-After", "3601"))],
        errors=[WaitTooLong],
        asked=[None],
    ),
    *[
        Scenario(
            f"{status} with a Location",
            [[send(answer(status, {"Location": "/b"}))]],
            errors=[BadStatus],
            asked=[None],
        )
        for status in (201, 300, 304)
    ],
    Scenario(
        "a redirect between two streams",
        [[stream(FIRST)], to(302, "/b"), SECOND],
        AB,
        [None, "1", "1", "2"],
    ),
    Scenario(
        "a redirect to a user",
        [to(307, "http://me:x@127.0.0.1:PORT/b"), WELL],
        A,
        check=seen("authorization", None, "Basic bWU6eA==", None),
    ),
    Scenario(
        "401 of another origin, and the auth hook",
        [to(307, OTHER), refused(401)],
        errors=[BadStatus],
        options={"tokens": tokens},
        check=seen("authorization", "Bearer 0", None),
    ),
    Scenario(
        "a permanent redirect to another origin",
        [to(308, OTHER), WELL],
        [("5", "a")],
        options=SECRETS,
        check=lambda _, asked: (
            [(one.target, "authorization" in one.headers) for one in asked]
            == [("/events", True), ("/other", False), ("/other", False)]
        ),
    ),
    Scenario(
        "a permanent redirect to a place that goes away",
        [to(301, "/b"), WELL, refused(404)],
        A,
        errors=[BadStatus],
        check=lines("GET /events", "GET /b", "GET /b"),
    ),
    Scenario(
        "a redirect, 401, and a redirect again",
        [to(307, "/b"), refused(401), to(307, "/b"), WELL],
        A,
        options={"tokens": tokens},
        check=seen("authorization", *(f"Bearer {n}" for n in range(5))),
    ),
]


def once(name: str, result: Any = None) -> Callable[[], dict[str, Any]]:
    """Make a hook that raises when it is called first."""

    def options() -> dict[str, Any]:
        called: list[object] = []

        def hook(*_: object) -> Any:
            called.append(name)
            if len(called) == 1:
                raise LookupError(name)
            return result

        return {name: hook}

    return options


def dated(after: str) -> dict[str, str]:
    """Write a Retry-After beside a Date."""
    return {"Retry-After": after, "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}


ODD_STATUSES = [
    *[
        Scenario(f"{status}", [refused(status)], errors=[BadStatus], told=["BadStatus"])
        for status in (208, 226, 418, 425, 499, 599, 600, 999)
    ],
    Scenario(
        "204 that is an event stream",
        [[send(head(204, {"Connection": "close"}) + b"data: x\n\n")]],
        endless=True,
        told=[],
        asked=[None],
        without=AIOHTTP,
    ),
    Scenario(
        "503 that is an event stream",
        [raw(head(503, {"Connection": "close"}), b"data: x\n\n"), WELL],
        A,
        told=["BadStatus", "StreamEnded"],
    ),
    Scenario(
        "503 whose body breaks off",
        [[send(head(503, {"Content-Length": "99"}, "text/plain") + b"why"), reset], WELL],
        A,
        told=["BadStatus", "StreamEnded"],
    ),
    *[
        Scenario(
            f"503 with the date {after!r}", [refused(503, dated(after))], delays=[9.0], stop_after=1
        )
        for after in (
            "Sunday, 06-Nov-94 08:49:46 GMT",
            "Sun Nov  6 08:49:46 1994",
            "Sun, 06 Nov 1994 08:49:46 +0000",
            "Sun, 06 Nov 1994 03:49:46 EST",
            "6 Nov 1994 08:49:46 GMT",
        )
    ],
    Scenario(
        "503 with a date of the year 9999",
        [refused(503, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"})],
        errors=[WaitTooLong],
    ),
    *[
        Scenario(
            f"503 with the odd Retry-After {after!r}", [refused(503, dated(after))], delays=[0.002]
        )
        for after in (
            "Fri, 31 Dec 99999 23:59:59 GMT",
            "Sun, 06 Nov 1994 08:49:46 -9999999",
            "Sun, 31 Feb 1994 08:49:46 GMT",
            "٧",
            "7 s",
            "+7",
            "7, 7",
            ",",
        )
    ],
    Scenario(
        "a date in Retry-After, and a Date that is none",
        [refused(503, {"Retry-After": "Sun, 06 Nov 1994 08:49:46 GMT", "Date": "now"})],
        delays=[0.002],
    ),
    Scenario(
        "an event stream with Retry-After",
        [[stream(b"data: a\n\n", {"Retry-After": "7"})]],
        A,
        delays=[0.002],
    ),
    Scenario(
        "401, 503, 401, then well",
        [refused(401), refused(503), refused(401), WELL],
        A,
        options={"tokens": tokens},
        told=["BadStatus"] * 3 + ["StreamEnded"],
    ),
    Scenario(
        "401, a redirect, and 401",
        [refused(401), to(307, "/b"), refused(401)],
        errors=[BadStatus],
        options={"tokens": tokens},
        check=seen("authorization", "Bearer 0", "Bearer 1", "Bearer 2"),
    ),
    Scenario(
        "407, although there is an auth hook",
        [refused(407)],
        errors=[BadStatus],
        options={"tokens": tokens},
        asked=[None],
    ),
    *[
        Scenario(
            f"{name} that raises, and a caller who goes on",
            [[stream(FIRST)], [stream(b"id: 2\ndata: b\n\n")]],
            events,
            asked,
            errors=[LookupError],
            resumes=1,
            options={"tokens": once(name, result)},
        )
        for name, result, events, asked in (
            ("auth", "Bearer x", AB, [None, "1", "2"]),
            ("body", b"x", AB, [None, "1", "2"]),
            ("on_open", None, [("2", "b")], [None, None, "2"]),
            ("on_error", None, AB, [None, "1", "2"]),
            ("on_retry", None, AB, [None, "1", "2"]),
        )
    ],
]


def two_types(first: str, second: str) -> Script:
    """Answer with two fields Content-Type."""
    return leads(200, ("Content-Type", first), ("Content-Type", second), body=b"data: a\n\n")


ODD_TYPES = [
    *[
        Scenario(f"the odd type {name!r}", typed(name), A, without=OLD_REQUESTS)
        for name in (
            "text/event-stream;",
            "text/event-stream ;;",
            "text/event-stream; charset",
            'text/event-stream;charset="utf-8"',
            "text/event-stream\t; charset=utf-8",
            "text/event-stream, */*",
            "text/event-stream,",
            ",text/event-stream",
            "text/event-stream, text",
            "text/event-stream, foo/ba r",
            "text/event-stream, foo/bar(",
            'text/event-stream; a=", text/html"',
            'text/event-stream; a="\\", text/html"',
            'text/event-stream; a="b, text/html',
        )
    ],
    *[
        Scenario(
            f"the odd type {name!r}", typed(name), errors=[BadContentType], told=["BadContentType"]
        )
        for name in (
            "text/event-stream; a=b, text/html",
            'text/event-stream; a="b", text/html',
            "text/event-stream charset=utf-8",
            "text/event stream",
            "text/event-stream/x",
            "multipart/x-mixed-replace; boundary=text/event-stream",
            '"text/event-stream"',
            "event-stream",
            "*/*",
        )
    ],
    Scenario(
        "two fields of types", [two_types("text/html", "text/event-stream")], A, without=AIOHTTP
    ),
    Scenario(
        "two fields of types, the wrong one last",
        [two_types("text/event-stream", "text/html")],
        errors=[BadContentType],
        without=AIOHTTP,
    ),
]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def lost(name: str, *pieces: bytes, without: frozenset[str] = frozenset()) -> Scenario:
    """Answer by what is no answer: the connection counts as lost, and the next one does well."""
    return Scenario(name, [raw(*pieces), WELL], A, told=BAD_THEN_WELL, without=without)


ODD_FRAMING = [
    Scenario(
        "zeros before a chunk's size", [raw(CHUNKED, b"00009\r\ndata: a\n\n\r\n0\r\n\r\n")], A
    ),
    *[
        Scenario(
            f"the chunk size {size.decode()}",
            [raw(CHUNKED, chunk(FIRST), size, b"\r\ndata: x\n\n\r\n0\r\n\r\n"), SECOND],
            AB,
            [None, "1", "2"],
            without=AIOHTTP,
        )
        for size in (b"+9", b"-9", b"0x9", b"9" * 300)
    ],
    lost("a chunk that is longer than it says", CHUNKED, b"5\r\ndata: a\n\n\r\n0\r\n\r\n"),
    Scenario(
        "chunks and a Content-Length",
        [
            raw(
                OK,
                b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
                chunk(b"data: a\n\n"),
                b"0\r\n\r\n",
            )
        ],
        A,
        without=AIOHTTP,
    ),
    Scenario(
        "chunks in capitals",
        [raw(OK, b"TRANSFER-ENCODING: CHUNKED\r\n\r\n", chunk(b"data: a\n\n"), b"0\r\n\r\n")],
        A,
    ),
    Scenario(
        "a trailer of 60 fields",
        [raw(CHUNKED, chunk(b"data: a\n\n"), b"0\r\n", b"X-A: b\r\n" * 60, b"\r\n")],
        A,
    ),
    Scenario(
        "the last chunk cut off",
        [raw(CHUNKED, chunk(FIRST), b"0\r\n"), SECOND],
        AB,
        [None, "1", "2"],
    ),
    lost("an interim answer, and the end", b"HTTP/1.1 100 Continue\r\n\r\n"),
    lost("an interim answer cut off", b"HTTP/1.1 103 Early Hints\r\nLi", without=OF_REQUESTS),
    lost("a status line, and the end", b"HTTP/1.1 200 OK\r\n", without=OF_REQUESTS),
    lost("line ends, and the end", b"\r\n\r\n"),
    lost("an alert of TLS", b"\x15\x03\x01\x00\x02\x02\x46"),
    lost("an answer of HTTP/2", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
    lost("an answer of HTTP/0.9", b"data: a\n\n"),
    lost("a status that is no number", b"HTTP/1.1 OK 200\r\n\r\n"),
    lost("a header of 200 KiB", OK, b"X-A: " + b"b" * 204800 + b"\r\n\r\ndata: x\n\n"),
    lost(
        "20,000 headers", OK, b"X-A: bcdefghi\r\n" * 20000, b"\r\ndata: x\n\n", without=OLD_AIOHTTP
    ),
    Scenario(
        "a head without a field",
        [raw(b"HTTP/1.1 200 OK\r\n\r\ndata: a\n\n")],
        errors=[BadContentType],
    ),
    Scenario(
        "line ends of LF in the head",
        [raw(b"HTTP/1.1 200 OK\nContent-Type: text/event-stream\n\ndata: a\n\n")],
        A,
    ),
]

TWO = b"id: 2\ndata: b\n\n"

ODD_CODINGS = [
    Scenario(
        "gzip of two members",
        [raw(head(200, GZIP), gzip.compress(FIRST), gzip.compress(TWO))],
        AB,
        without=OLD_AIOHTTP,
    ),
    Scenario(
        "gzip of a member for each event, in chunks",
        [
            [
                send(head(200, {**GZIP, "Transfer-Encoding": "chunked"})),
                *[send(chunk(gzip.compress(it))) for it in (FIRST, TWO)],
                send(b"0\r\n\r\n"),
            ]
        ],
        AB,
        [None, "2"],
        without=OLD_AIOHTTP,
    ),
    Scenario(
        "gzip of members of which one is empty",
        [raw(head(200, GZIP), *(gzip.compress(it) for it in (FIRST, b"", TWO)))],
        AB,
        without=OLD_AIOHTTP,
    ),
    Scenario(
        "gzip of members cut within an event",
        [raw(head(200, GZIP), gzip.compress(FIRST + TWO[:9]), gzip.compress(TWO[9:]))],
        AB,
        without=OLD_AIOHTTP,
    ),
    Scenario(
        "gzip cut off in the head of a member",
        [raw(head(200, GZIP), gzip.compress(FIRST), gzip.compress(TWO)[:5]), SECOND],
        AB,
        [None, "1", "2"],
    ),
    Scenario(
        "gzip, and text behind it",
        [
            [send(head(200, GZIP) + gzip.compress(FIRST)), silence(0.05), send(b"data: x\n\n")],
            SECOND,
        ],
        AB,
        [None, "1", "2"],
    ),
    *[
        Scenario(
            f"the coding {name!r}",
            [raw(head(200, {"Content-Encoding": name}), gzip.compress(b"data: a\n\n"))],
            A,
            without=without,
        )
        for name, without in {
            "GZIP": frozenset[str](),
            "x-gzip": AIOHTTP,
        }.items()
    ],
    *[
        Scenario(
            f"the coding {name!r}",
            [raw(head(200, {"Content-Encoding": name}), b"data: a\n\n")],
            A,
        )
        for name in ("none", "utf-8", "")
    ],
    Scenario(
        "gzip of nothing",
        [raw(head(200, GZIP), gzip.compress(b"")), WELL],
        A,
        told=["StreamEnded", "StreamEnded"],
    ),
]


def large(_: Outcome, asked: list[Asked]) -> bool:
    """Check that each of three requests was made."""
    return len(asked) == 3


ODD_STREAMS = [
    Scenario("a NUL in the data", **body(b"data: a\0b\n\n", events=[("", "a\0b")])),
    Scenario("an id that comes twice", **body(b"id: 1\nid: 2\ndata: a\n\n", events=[("2", "a")])),
    Scenario(
        "an id with a NUL after an id",
        **body(b"id: 1\nid: 2\0\ndata: a\n\n", events=[("1", "a")]),
    ),
    Scenario(
        "two byte-order marks",
        **body(b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\ndata: a\n\n", events=A),
    ),
    Scenario(
        "a byte-order mark within a stream",
        **body(b"data: a\n\n\xef\xbb\xbfdata: x\n\n", events=A),
    ),
    Scenario(
        "a CRLF cut between pieces",
        [
            [
                send(head() + b"data: a\r"),
                silence(0.01),
                send(b"\n\r"),
                silence(0.01),
                send(b"\ndata: b\r\n\r\n"),
            ]
        ],
        [*A, ("", "b")],
    ),
    Scenario(
        "line ends of CR, of which the last is the last byte for now",
        [[send(head() + b"data: a\r\r"), silence()]],
        A,
        options={"idle_timeout": 0.25},
        told=["IdleTimeout"],
    ),
    Scenario(
        "a reconnection time with zeros",
        **body(b"retry: 007\ndata: a\n\n", events=A, delays=[0.007]),
    ),
    *[
        Scenario(
            f"a reconnection time with white space: {value!r}",
            **body(b"retry:" + value + b"\ndata: a\n\n", events=A, delays=[0.002]),
        )
        for value in (b"  5", b" 5 ", b"\t5", b" 5\0")
    ],
    Scenario(
        "max_time, and a reconnection time beyond it",
        [[stream(b"retry: 60000\ndata: a\n\n")]],
        A,
        errors=[OutOfTime],
        options={"max_time": 30},
    ),
    Scenario(
        "an event over the limit on each connection",
        [[stream(b"data: " + b"x" * 2000)]],
        endless=True,
        errors=[EventTooLarge] * 3,
        options={"max_event_size": 1000},
        resumes=2,
        check=large,
    ),
    Scenario(
        "silence on each connection",
        [[send(head() + FIRST), silence()], [send(head()), silence()], SECOND],
        AB,
        [None, "1", "1", "2"],
        options={"idle_timeout": 0.25},
        told=["IdleTimeout", "IdleTimeout", "StreamEnded"],
    ),
]

# The rows in which transports differ most; the others are about the machine, which is one for all.
ODD_OF_TRANSPORTS = [*ODD_REDIRECTS, *ODD_FRAMING, *ODD_CODINGS]
ODD = [*ODD_STREAMS, *ODD_OF_TRANSPORTS, *ODD_TYPES, *ODD_STATUSES]
