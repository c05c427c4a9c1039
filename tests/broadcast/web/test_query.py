"""The query of a reader: lenient about fields that mean nothing here, strict about the others, bounded in all."""

from __future__ import annotations

import pytest

from fastsse import InvalidField
from fastsse.broadcast import Settings
from fastsse.broadcast.hub.terms import Terms
from fastsse.broadcast.web import forms
from fastsse.broadcast.web import query as module
from fastsse.broadcast.web.problems import Problem
from fastsse.broadcast.web.query import SHOWN_ID, read_id, read_terms, terms_of_request

KNOBS = Settings(topics_per_stream=3, max_topic_length=8)


def read(query: bytes) -> tuple[tuple[str, ...], str | None, bool]:
    terms = read_terms(query, KNOBS)
    return terms.topics, terms.last_event_id, terms.labels


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"topic=b&topic=a&topic=b", (("a", "b"), None, False)),
        (b"topic=a%20b+c", (("a b c",), None, False)),
        (b"topic=a&topic=%61&%74opic=a", (("a",), None, False)),
        ("topic=\u00e9".encode(), (("\u00e9",), None, False)),
        (b"topic=a=b", (("a=b",), None, False)),
        (b"topic=a&labels=1", (("a",), None, True)),
        (b"topic=a&labels=0", (("a",), None, False)),
        (b"topic=a&last_event_id=x-1", (("a",), "x-1", False)),
        (b"topic=a&lastEventId=x-1", (("a",), "x-1", False)),
        (b"topic=a&last-event-id=x-1", (("a",), "x-1", False)),
        (b"topic=a&Last-Event-ID=x-1", (("a",), "x-1", False)),
        (b"topic=a&LAST_EVENT_ID=x%2D1", (("a",), "x-1", False)),
        (b"last%45ventId=x-1&topic=a", (("a",), "x-1", False)),
    ],
)
def test_what_is_known_is_read(
    query: bytes, expected: tuple[tuple[str, ...], str | None, bool]
) -> None:
    assert expected == read(query)


@pytest.mark.parametrize(
    "other",
    [
        b"x=1",
        b"topics=b",
        b"Topic=b",
        b"label=1",
        b"x=%zz",
        b"%zz=1",
        b"%=",
        b"%FF=%FE",
        b"\xff=\xfe",
        b"=",
        b"&&&",
        b"utm_source=news&utm_source=news",
        b"_=1732900000000",
        b"token=" + b"x" * 5000,
        b"x" * 5000 + b"=1",
        b"&" * 5000,
        b"&".join(b"n%d=1" % n for n in range(200)),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_what_is_not_known_is_let_be(other: bytes, first: bool) -> None:
    known = b"topic=a&last_event_id=x-1&labels=1"

    assert (("a",), "x-1", True) == read(other + b"&" + known if first else known + b"&" + other)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"last_event_id=x-1&lastEventId=x-2", "x-2"),
        (b"lastEventId=x-2&last_event_id=x-1", "x-1"),
        (b"lastEventId=x-1&lastEventId=x-2&lastEventId=x-1", "x-1"),
        (b"lastEventId=x-1&lastEventId=", "x-1"),
        (b"lastEventId=&last-event-id", None),
        (b"lastEventId=%FF", "\ufffd"),
        (b"lastEventId=%f", "%f"),
        (b"lastEventId=" + b"9" * 5000, "9" * SHOWN_ID),
        (b"lastEventId=" + b"%F0%9F%98%80" * 900, "\U0001f600" * SHOWN_ID),
    ],
)
def test_of_several_last_event_ids_the_last_one_goes(query: bytes, expected: str | None) -> None:
    assert expected == read(b"topic=a&" + query)[1]


@pytest.mark.parametrize(
    ("query", "status", "field", "rule"),
    [
        (b"topic=%FF", 400, "topic", "must be UTF-8"),
        (b"topic=\xff", 400, "topic", "must be UTF-8"),
        (b"topic=%zz", 400, "topic", "percent-encoded"),
        (b"topic=a&topic=%f", 400, "topic", "percent-encoded"),
        (b"topic=" + b"x" * 9, 400, "topic", "1 to 8 bytes"),
        (b"topic=" + b"%41" * 9, 400, "topic", "1 to 8 bytes"),
        (b"labels=yes", 400, "labels", "1 or 0"),
        (b"labels=", 400, "labels", "1 or 0"),
        (b"labels=1&labels=1", 400, "labels", "once"),
        (b"labels=1&l%61bels=1", 400, "labels", "once"),
        (b"x" * 20_000, 414, "query", "at most 16528 bytes"),
        (b"topic=a" + b"&" * 8200, 414, "query", "8192 fields"),
        (b"a&" * 8200 + b"topic=a", 414, "query", "8192 fields"),
    ],
)
def test_what_is_known_is_checked(query: bytes, status: int, field: str, rule: str) -> None:
    with pytest.raises(Problem) as caught:
        read(query)

    assert (status, field) == (caught.value.status, caught.value.field)
    assert rule in (caught.value.rule or "")


def test_topics_beyond_their_number_cost_no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """To decode each of 3,000 topics once kept the loop busy for 24 ms."""
    decoded: list[bytes] = []

    def decode(_: str, value: bytes) -> str:
        decoded.append(value)
        return value.decode()

    monkeypatch.setattr(forms, "decode_text", decode)
    with pytest.raises(InvalidField):
        read(b"&".join(b"topic=%d" % n for n in range(900)))

    assert [] == decoded


def test_a_field_that_means_nothing_costs_no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [b"a", b"abc", b"session", b"x" * 64, b"utm_source", b""]
    monkeypatch.setattr(module, "_unquote", lambda value: pytest.fail(f"decoded {value!r}"))

    assert ("a",) == read(b"&".join([*names, b"topic=a"]))[0]


def test_the_most_topics_of_the_longest_names_fit_in() -> None:
    names = [chr(ord("a") + n) * 8 for n in range(3)]
    escaped = b"&".join(
        b"topic=" + b"".join(b"%%%02X" % c for c in name.encode()) for name in names
    )

    assert tuple(names) == read(escaped)[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"x-1", "x-1"), (b"\xff", "\ufffd"), (b"9" * 400_000, "9" * SHOWN_ID)],
)
def test_no_more_of_an_id_is_kept_than_is_shown(value: bytes, expected: str) -> None:
    assert expected == read_id(value)


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        (b"", "at least one is needed"),
        (b"labels=1", "at least one is needed"),
        (b"topic", "1 to 8 bytes"),
        (b"topic=", "1 to 8 bytes"),
        (b"topic=a&topic=", "1 to 8 bytes"),
        (b"topic=%0A", "control characters"),
        (b"topic=a&topic=b&topic=c&topic=d", "at most 3"),
        (b"&".join(b"topic=%d" % n for n in range(900)), "at most 3"),
    ],
)
def test_topics_that_cannot_be_followed_are_refused(query: bytes, rule: str) -> None:
    with pytest.raises(InvalidField, match=rule) as caught:
        read(query)

    assert "topic" == caught.value.field


@pytest.mark.parametrize(
    ("header", "query", "expected"),
    [
        (b"x-2", b"&lastEventId=x-1", "x-2"),
        (None, b"&lastEventId=x-1", "x-1"),
        (b"", b"&lastEventId=x-1", "x-1"),
        (b"x-2", b"", "x-2"),
        (None, b"", None),
    ],
)
def test_the_header_goes_before_the_query(
    header: bytes | None, query: bytes, expected: str | None
) -> None:
    asked = read_terms(b"topic=a&labels=1" + query, KNOBS)

    terms = terms_of_request(asked, header, {"client": ("::1", 7)})

    assert Terms(("a",), expected, True, remote=("::1", 7)) == terms


def test_a_request_without_a_client_has_no_address() -> None:
    assert terms_of_request(read_terms(b"topic=a", KNOBS), None, {}).remote is None
