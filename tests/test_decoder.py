"""The decoder against the standard, whole, byte by byte and at every cut."""

from __future__ import annotations

import pytest

from fastsse import Decoder, Event, EventTooLarge

CASES = {
    "bom": (b"\xef\xbb\xbfdata: a\n\n", [Event("a")]),
    "cr": (b"data: a\rdata: b\r\r", [Event("a\nb")]),
    "mixed ends": (b"data: a\r\ndata: b\n\rdata: c\r\n\r\n", [Event("a\nb"), Event("c")]),
    "id is kept": (b"id: 7\ndata: a\n\ndata: b\n\n", [Event("a", id="7"), Event("b", id="7")]),
    "id without data": (b"id: 9\n\ndata: a\n\n", [Event("a", id="9")]),
    "type without data": (b"event: x\n\ndata: a\n\n", [Event("a")]),
    "comment after id": (
        b"id: 1\ndata: a\n\n: ping\n\ndata: b\n\n",
        [Event("a", id="1"), Event("b", id="1")],
    ),
    "retry is digits": (b"retry: +5\nretry: 10\ndata: a\n\n", [Event("a", retry=10)]),
    "empty data": (b"data\n\ndata\ndata\n\ndata:", [Event(""), Event("\n")]),
    "one space": (b"data:x\n\ndata:  y\n\n", [Event("x"), Event(" y")]),
    "bad utf-8": (b"data: a\xe2\x82\ndata: b\n\n", [Event("a\ufffd\nb")]),
    "nul in id": (b"id: 1\nid: 2\x003\ndata: b\n\n", [Event("b", id="1")]),
    "end of file": (b"data: a\n\ndata: b\n", [Event("a")]),
}


@pytest.mark.parametrize(("stream", "expected"), CASES.values(), ids=CASES.keys())
def test_every_cut_gives_the_standards_answer(stream: bytes, expected: list[Event]) -> None:
    for cut in range(len(stream) + 1):
        decoder = Decoder()
        assert expected == decoder.feed(stream[:cut]) + decoder.feed(stream[cut:])

    decoder = Decoder()
    assert expected == [e for i in range(len(stream)) for e in decoder.feed(stream[i : i + 1])]


def test_an_event_over_the_limit_is_refused_and_what_came_before_is_kept() -> None:
    decoder = Decoder(max_event_size=10)

    with pytest.raises(EventTooLarge) as caught:
        decoder.feed(b"data: a\n\ndata: 0123456789\n\n")

    assert [Event("a")] == caught.value.events
    decoder.reset()
    assert [Event("b")] == decoder.feed(b"data: b\n\n")
