"""The encoder: exact bytes, nothing injected, nothing lost."""

from __future__ import annotations

from typing import Any

import pytest

from fastsse import Event, InvalidField, decode, encode, encode_comment, encode_many

ACCEPTED: list[tuple[Any, dict[str, Any], bytes]] = [
    ("hello", {}, b"data: hello\n\n"),
    ("a\r\nb\n", {}, b"data: a\ndata: b\ndata: \n\n"),
    ("a\u2028b", {}, "data: a\u2028b\n\n".encode()),
    (b"x", {"event": "e", "id": "1", "retry": 5}, b"id: 1\nevent: e\nretry: 5\ndata: x\n\n"),
    (None, {"id": ""}, b"id: \n\n"),
    ("x", {"comment": "a\rb"}, b": a\n: b\ndata: x\n\n"),
]
REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    ("x", {"event": "e\ndata: evil"}, "event"),
    ("x", {"event": ""}, "event"),
    ("x", {"id": "1\revent: evil"}, "id"),
    ("x", {"id": "1\0"}, "id"),
    ("x", {"retry": True}, "retry"),
    ("x", {"retry": -1}, "retry"),
    ("\ud800", {}, "data"),
    (b"\xff", {}, "data"),
    (None, {"event": "x"}, "event"),
    (None, {}, "data"),
]


@pytest.mark.parametrize(("data", "fields", "block"), ACCEPTED)
def test_a_block_is_exact(data: Any, fields: dict[str, Any], block: bytes) -> None:
    assert block == encode(data, **fields)


@pytest.mark.parametrize(("data", "fields", "field"), REFUSED)
def test_what_would_change_meaning_is_refused(data: Any, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        encode(data, **fields)

    assert field == caught.value.field


def test_a_heartbeat_is_a_comment_and_a_blank_line() -> None:
    assert b":\n\n" == encode_comment()


def test_many_events_come_back_as_they_were() -> None:
    events = [Event("a\n", "x", "1", 5), Event(""), Event("c", id="2")]

    assert events == decode(encode_many(events))
