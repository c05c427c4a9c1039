"""The decoder against the standard's table: whole, byte by byte, at every cut; its limits, faults and threads."""

from __future__ import annotations

import array
import itertools
import mmap
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from support.cases import BOM, CASES, PROMPT, Case, Prompt
from support.standard import Fields, Reading, fields_of
from support.standard import read as read_by_the_standard

SHORT = 30  # bytes: up to here a stream is cut at every pair of places


def read(codec: ModuleType, chunks: Iterable[bytes]) -> Reading:
    """Feed the chunks and return all that the decoder made of them."""
    comments: list[str] = []
    decoder = codec.Decoder(on_comment=comments.append)
    events = [fields_of(event) for chunk in chunks for event in decoder.feed(chunk)]
    return Reading(events, decoder.last_event_id, decoder.retry, comments)


def read_without_comments(codec: ModuleType, chunks: Iterable[bytes]) -> tuple[Any, ...]:
    decoder = codec.Decoder()
    events = [fields_of(event) for chunk in chunks for event in decoder.feed(chunk)]
    return events, decoder.last_event_id, decoder.retry


def one_by_one(stream: bytes) -> Iterator[bytes]:
    return (stream[at : at + 1] for at in range(len(stream)))


def expected(case: Case) -> Reading:
    return Reading(case.events, case.last_event_id, case.retry, list(case.comments))


def names(rows: Iterable[Any]) -> list[str]:
    return [f"{getattr(row, 'section', '')} {row.rule}".strip() for row in rows]


every_case = pytest.mark.parametrize("case", CASES, ids=names(CASES))


class TestTheStandard:
    @every_case
    def test_read_character_by_character(self, case: Case) -> None:
        assert expected(case) == read_by_the_standard(case.stream)

    @every_case
    def test_whole(self, codec: ModuleType, case: Case) -> None:
        assert expected(case) == read(codec, [case.stream])

    @every_case
    def test_whole_without_a_listener_for_comments(self, codec: ModuleType, case: Case) -> None:
        assert expected(case)[:3] == read_without_comments(codec, [case.stream])

    @every_case
    def test_byte_by_byte(self, codec: ModuleType, case: Case) -> None:
        assert expected(case) == read(codec, one_by_one(case.stream))
        assert expected(case)[:3] == read_without_comments(codec, one_by_one(case.stream))

    @every_case
    def test_at_every_cut(self, codec: ModuleType, case: Case) -> None:
        wanted = expected(case)

        for cut in range(len(case.stream) + 1):
            assert wanted == read(codec, [case.stream[:cut], case.stream[cut:]]), cut

    @every_case
    def test_at_every_pair_of_cuts(self, codec: ModuleType, case: Case) -> None:
        stream = case.stream[:SHORT]
        wanted = read_without_comments(codec, [stream])

        for first, second in itertools.combinations(range(len(stream) + 1), 2):
            chunks = [stream[:first], stream[first:second], stream[second:]]
            assert wanted == read_without_comments(codec, chunks), (first, second)

    @every_case
    def test_with_empty_chunks_between(self, codec: ModuleType, case: Case) -> None:
        chunks = [chunk for octet in one_by_one(case.stream) for chunk in (b"", octet, b"")]

        assert expected(case) == read(codec, chunks)

    @every_case
    def test_after_a_reset(self, codec: ModuleType, case: Case) -> None:
        decoder = codec.Decoder()

        decoder.feed(BOM + b"data: left\rdata: over")
        decoder.reset()

        assert case.events == [fields_of(event) for event in decoder.feed(case.stream)]

    @every_case
    def test_by_decode(self, codec: ModuleType, case: Case) -> None:
        assert case.events == [fields_of(event) for event in codec.decode(case.stream)]


class TestEveryLength:
    """Where a kernel takes 16 or 32 bytes at a time, each length and offset is a case of its own."""

    @pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
    def test_a_line_end_at_every_offset(self, codec: ModuleType, end: bytes) -> None:
        lines = [b"x" * size for size in range(140)]
        stream = b"".join(b"data: " + line + end for line in lines) + end

        (event,) = codec.decode(stream)

        assert b"\n".join(lines).decode() == event.data

    @pytest.mark.parametrize(
        "octets", ["é".encode(), "€".encode(), "😀".encode(), b"\xff", b"\xe2"]
    )
    def test_a_character_that_is_not_ascii_at_every_offset(
        self, codec: ModuleType, octets: bytes
    ) -> None:
        for before in range(70):
            value = b"x" * before + octets + b"y" * (69 - before)

            (event,) = codec.decode(b"data:" + value + b"\n\n")

            assert value.decode(errors="replace") == event.data

    def test_many_lines_make_one_event_and_the_next_one_none_the_longer(
        self, codec: ModuleType
    ) -> None:
        events = codec.decode(b"data: x\n" * 10_000 + b"\n" + b"data: y\ndata: z\n\n")

        assert [Fields("\n".join("x" * 10_000)), Fields("y\nz")] == list(map(fields_of, events))

    @pytest.mark.parametrize("step", [6, 1000, 29_999, 30_001])
    def test_many_lines_that_come_in_chunks_lose_none(self, codec: ModuleType, step: int) -> None:
        lines = [b"data:%d" % (number % 7) for number in range(10_000)]
        stream = b"\n".join([*lines, b"", b"data", b"data", b"", b""])
        decoder = codec.Decoder()

        events = [
            event
            for start in range(0, len(stream), step)
            for event in decoder.feed(stream[start : start + step])
        ]

        text = "\n".join(line[5:].decode() for line in lines)
        assert [Fields(text), Fields("\n")] == list(map(fields_of, events))

    def test_a_colon_at_every_offset(self, codec: ModuleType) -> None:
        names = [b"n" * size + b": x\n" for size in range(1, 70)]

        events = codec.decode(b"".join(names) + b"data: a\n\n")

        assert [Fields("a")] == list(map(fields_of, events))

    def test_a_nul_at_every_offset_of_an_id(self, codec: ModuleType) -> None:
        for before in range(70):
            stream = (
                b"id: 1\nid: " + b"x" * before + b"\0" + b"y" * (69 - before) + b"\ndata: a\n\n"
            )

            assert [Fields("a", id="1")] == list(map(fields_of, codec.decode(stream)))

    def test_blocks_of_every_length(self, codec: ModuleType) -> None:
        stream = b"".join(b"id: %d\ndata: %s\n\n" % (n, b"x" * n) for n in range(200))

        events = codec.decode(stream)

        assert [Fields("x" * n, id=str(n)) for n in range(200)] == list(map(fields_of, events))


class TestDelivery:
    @pytest.mark.parametrize("prompt", PROMPT, ids=names(PROMPT))
    def test_what_is_complete_is_delivered_at_once(self, codec: ModuleType, prompt: Prompt) -> None:
        decoder = codec.Decoder()

        delivered = [[fields_of(event) for event in decoder.feed(chunk)] for chunk in prompt.chunks]

        assert prompt.events == delivered

    def test_a_comment_is_told_of_at_its_line_end(self, codec: ModuleType) -> None:
        comments: list[str] = []
        decoder = codec.Decoder(on_comment=comments.append)

        decoder.feed(b": ping\r")

        assert ["ping"] == comments

    def test_the_reconnection_time_moves_at_its_line_end(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()

        decoder.feed(b"data: a\nretry: 5")
        before = decoder.retry
        decoder.feed(b"\r")

        assert (None, 5) == (before, decoder.retry)

    def test_the_last_event_id_moves_at_the_blank_line(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()

        decoder.feed(b"id: 5\n")
        before = decoder.last_event_id
        decoder.feed(b"\n")

        assert ("", "5") == (before, decoder.last_event_id)


class TestBeginning:
    def test_a_fresh_decoder_knows_nothing(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()

        assert ("", None, []) == (decoder.last_event_id, decoder.retry, decoder.feed(b""))

    def test_a_given_last_event_id_is_what_the_stream_begins_with(self, codec: ModuleType) -> None:
        decoder = codec.Decoder(last_event_id="7")

        assert "7" == decoder.last_event_id
        assert [Fields("a", id="7")] == list(map(fields_of, decoder.feed(b"data: a\n\n")))
        assert "7" == decoder.last_event_id

    def test_the_stream_moves_and_resets_a_given_last_event_id(self, codec: ModuleType) -> None:
        decoder = codec.Decoder(last_event_id="7")

        events = decoder.feed(b"id: 8\ndata: a\n\nid\ndata: b\n\n")

        assert ["8", ""] == [event.id for event in events]
        assert "" == decoder.last_event_id

    def test_a_blank_line_keeps_a_given_last_event_id(self, codec: ModuleType) -> None:
        decoder = codec.Decoder(last_event_id="7")

        decoder.feed(b":\n\n\n")

        assert "7" == decoder.last_event_id

    @pytest.mark.parametrize("attribute", ["last_event_id", "retry"])
    def test_its_state_is_read_only(self, codec: ModuleType, attribute: str) -> None:
        decoder = codec.Decoder()

        with pytest.raises(AttributeError):
            setattr(decoder, attribute, "1")

    def test_it_has_no_room_for_a_misspelt_attribute(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()

        with pytest.raises(AttributeError):
            decoder.on_coment = print

    def test_options_go_by_name_only(self, codec: ModuleType) -> None:
        with pytest.raises(TypeError):
            codec.Decoder("7")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"last_event_id": None}, "last_event_id must be str, not NoneType"),
            ({"last_event_id": 7}, "last_event_id must be str, not int"),
            ({"last_event_id": b"7"}, "last_event_id must be str, not bytes"),
            ({"max_event_size": 1.5}, "max_event_size must be int or None, not float"),
            ({"max_event_size": "9"}, "max_event_size must be int or None, not str"),
            ({"max_event_size": True}, "max_event_size must be int or None, not bool"),
            ({"on_comment": 1}, "on_comment must be callable or None"),
        ],
        ids=lambda value: repr(value) if isinstance(value, dict) else "",
    )
    def test_an_option_of_another_type_is_refused(
        self, codec: ModuleType, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(TypeError) as caught:
            codec.Decoder(**options)

        assert message == str(caught.value)

    @pytest.mark.parametrize("limit", [0, -1, -(2**70)])
    def test_a_limit_below_one_is_refused(self, codec: ModuleType, limit: int) -> None:
        with pytest.raises(ValueError, match=f"^max_event_size must be at least 1, not {limit}$"):
            codec.Decoder(max_event_size=limit)


class TestReset:
    def test_it_keeps_the_last_event_id_and_the_reconnection_time(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()
        decoder.feed(b"id: 1\nretry: 5\ndata: a\n\n")

        decoder.reset()

        assert ("1", 5) == (decoder.last_event_id, decoder.retry)
        assert [Fields("b", id="1")] == list(map(fields_of, decoder.feed(b"data: b\n\n")))

    def test_it_drops_an_unfinished_block(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()
        decoder.feed(b"id: 1\nevent: x\nretry: 5\ndata: a\nda")

        decoder.reset()

        assert [Fields("b")] == list(map(fields_of, decoder.feed(b"data: b\n\n")))
        assert ("", 5) == (decoder.last_event_id, decoder.retry)

    def test_it_forgets_a_carriage_return(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()
        decoder.feed(b"data: a\r")

        decoder.reset()

        assert [] == decoder.feed(b"\ndata: b\n")
        assert [Fields("b")] == list(map(fields_of, decoder.feed(b"\n")))

    def test_a_byte_order_mark_may_come_again(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()
        decoder.feed(BOM + b"data: a\n\n")

        decoder.reset()

        assert [Fields("b")] == list(map(fields_of, decoder.feed(BOM + b"data: b\n\n")))

    def test_a_fresh_decoder_may_be_reset(self, codec: ModuleType) -> None:
        decoder = codec.Decoder(last_event_id="7")

        decoder.reset()
        decoder.reset()

        assert "7" == decoder.last_event_id

    def test_lists_already_handed_out_are_the_callers(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()
        first = decoder.feed(b"data: a\n\n")

        decoder.feed(b"data: b\n\n")
        first.clear()

        assert [Fields("c")] == list(map(fields_of, decoder.feed(b"data: c\n\n")))


BYTES_LIKE = {
    "bytes": bytes,
    "a subclass of bytes": type("Octets", (bytes,), {}),
    "bytearray": bytearray,
    "memoryview": memoryview,
    "memoryview of bytearray": lambda octets: memoryview(bytearray(octets)),
    "a slice of memoryview": lambda octets: memoryview(b"xx" + octets + b"xx")[2:-2],
    "array of bytes": lambda octets: array.array("B", octets),
    "array of signed bytes": lambda octets: array.array("b", octets),
    "array of pairs": lambda octets: array.array("H", octets),
    "memoryview of two dimensions": lambda octets: (
        memoryview(octets).cast("B", (2, len(octets) // 2)) if octets else memoryview(octets)
    ),
}
TWO_EVENTS = b"data: \xe2\x82\xac\n\nid: 1\ndata: ab\n\n\n"  # an even number of bytes


class TestInput:
    @pytest.mark.parametrize("make", BYTES_LIKE.values(), ids=BYTES_LIKE.keys())
    def test_any_bytes_like_object_is_taken(self, codec: ModuleType, make: Any) -> None:
        wanted = [Fields("€"), Fields("ab", id="1")]

        assert wanted == list(map(fields_of, codec.Decoder().feed(make(TWO_EVENTS))))
        assert wanted == list(map(fields_of, codec.decode(make(TWO_EVENTS))))

    def test_a_mapped_file_is_taken(self, codec: ModuleType) -> None:
        with mmap.mmap(-1, len(TWO_EVENTS)) as mapped:
            mapped[:] = TWO_EVENTS

            assert ["€", "ab"] == [event.data for event in codec.Decoder().feed(mapped)]

    @pytest.mark.parametrize("make", BYTES_LIKE.values(), ids=BYTES_LIKE.keys())
    def test_an_empty_one_is_nothing(self, codec: ModuleType, make: Any) -> None:
        assert [] == codec.Decoder().feed(make(b""))

    @pytest.mark.parametrize(
        "scattered",
        [
            memoryview(b"d.a.t.a.:.a.\n.\n.")[::2],
            memoryview(b"\n\na :atad")[::-1],
        ],
        ids=["every second byte", "backwards"],
    )
    def test_one_that_is_not_contiguous_is_refused(
        self, codec: ModuleType, scattered: memoryview
    ) -> None:
        decoder = codec.Decoder()

        with pytest.raises(BufferError):
            decoder.feed(scattered)

        assert ["b"] == [event.data for event in decoder.feed(b"data: b\n\n")]

    @pytest.mark.parametrize("chunk", ["data: a\n\n", None, 5, [1], [b"data"], ...], ids=repr)
    def test_anything_else_is_refused(self, codec: ModuleType, chunk: Any) -> None:
        message = f"^chunk must be bytes-like, not {type(chunk).__name__}$"
        decoder = codec.Decoder()

        with pytest.raises(TypeError, match=message):
            decoder.feed(chunk)
        with pytest.raises(TypeError, match=message):
            codec.decode(chunk)

        assert ["b"] == [event.data for event in decoder.feed(b"data: b\n\n")]

    def test_a_chunk_is_not_kept(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()
        chunk = bytearray(b"id: 1\nevent: e\ndata: abc\ndata: def")

        decoder.feed(chunk)
        chunk[:] = b"x" * len(chunk)
        chunk.clear()  # a buffer that somebody still held would refuse

        assert [Fields("abc\ndef", "e", "1")] == list(map(fields_of, decoder.feed(b"\n\n")))

    def test_a_chunk_may_change_while_it_is_read(self, codec: ModuleType) -> None:
        chunk = bytearray(b":\ndata: a\n\n:\ndata: b\n\n")

        def scribble(_comment: str) -> None:
            chunk[:] = b"\xff" * len(chunk)
            chunk.clear()

        decoder = codec.Decoder(on_comment=scribble)

        assert ["a", "b"] == [event.data for event in decoder.feed(chunk)]


class Bound(NamedTuple):
    """A stream, the limit that it just needs, and the byte at which one less fails."""

    stream: bytes
    needed: int
    fails_at: int


BOUNDS = {
    "a line": Bound(b"data: a\n\n", 7, 6),
    "its line end is not counted": Bound(b"data: a\r\n\r\n", 7, 6),
    "a comment": Bound(b": comment\n", 9, 8),
    "an unknown field": Bound(b"unknown: x\n", 10, 9),
    "an id": Bound(b"id: 12345678\n", 12, 11),
    "a retry": Bound(b"retry: 1\n", 8, 7),
    "an event type": Bound(b"event: abc\n", 10, 9),
    "an unfinished line": Bound(b"data: abcdef", 12, 11),
    "the data buffer and the line": Bound(b"data: abc\ndata: d\n\n", 11, 16),
    "many empty lines": Bound(b"data\ndata\ndata\n\n", 6, 13),
    "a comment on top of the data": Bound(b"data: abc\n: comment\n", 13, 18),
    "a byte-order mark is of its line": Bound(BOM + b"data: a\n\n", 10, 9),
    "a byte-order mark alone": Bound(BOM + b"\n", 3, 2),
    "the largest of many blocks": Bound(b"data: a\n\ndata: bcd\n\ndata: e\n\n", 9, 17),
    "a block does not add to the next": Bound(b"data: aaaa\n\n" * 5, 10, 9),
    "an unfinished line after a block": Bound(b"data: a\n\ndata: bcdef", 11, 19),
}
every_bound = pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS.keys())


def outcome(codec: ModuleType, chunks: Iterable[bytes], limit: int) -> tuple[Any, ...]:
    """Feed a decoder that has a limit, and return what it told by the end or by its failure."""
    comments: list[str] = []
    events: list[Fields] = []
    decoder = codec.Decoder(max_event_size=limit, on_comment=comments.append)
    failed = False
    for chunk in chunks:
        try:
            events += map(fields_of, decoder.feed(chunk))
        except codec.EventTooLarge as error:
            events += map(fields_of, error.events)
            failed = True
            break
    return failed, events, decoder.last_event_id, decoder.retry, comments


class TestLimit:
    @every_bound
    def test_the_size_that_is_needed_is_enough(self, codec: ModuleType, bound: Bound) -> None:
        wanted = [fields_of(event) for event in codec.decode(bound.stream)]

        for chunks in ([bound.stream], list(one_by_one(bound.stream))):
            decoder = codec.Decoder(max_event_size=bound.needed)
            events = [fields_of(event) for chunk in chunks for event in decoder.feed(chunk)]
            assert wanted == events

    @every_bound
    def test_one_byte_less_fails_at_the_byte_that_is_too_many(
        self, codec: ModuleType, bound: Bound
    ) -> None:
        stream, needed, fails_at = bound
        decoder = codec.Decoder(max_event_size=needed - 1)

        for octet in one_by_one(stream[:fails_at]):
            decoder.feed(octet)
        with pytest.raises(codec.EventTooLarge) as caught:
            decoder.feed(stream[fails_at : fails_at + 1])

        assert (needed - 1, []) == (caught.value.limit, caught.value.events)

    @every_bound
    def test_the_outcome_does_not_depend_on_the_cuts(self, codec: ModuleType, bound: Bound) -> None:
        stream = bound.stream
        for limit in range(1, bound.needed + 2):
            wanted = outcome(codec, [stream], limit)

            assert (limit < bound.needed) == wanted[0]
            assert wanted == outcome(codec, one_by_one(stream), limit)
            for cut in range(1, len(stream)):
                assert wanted == outcome(codec, [stream[:cut], stream[cut:]], limit), (limit, cut)

    @pytest.mark.parametrize(
        "case", [c for c in CASES if len(c.stream) <= SHORT], ids=lambda c: c.rule + c.section
    )
    def test_the_outcome_of_every_case_is_the_same_byte_by_byte(
        self, codec: ModuleType, case: Case
    ) -> None:
        for limit in range(1, len(case.stream) + 1):
            wanted = outcome(codec, [case.stream], limit)

            assert wanted == outcome(codec, one_by_one(case.stream), limit), limit

    def test_what_was_complete_before_it_is_handed_over(self, codec: ModuleType) -> None:
        decoder = codec.Decoder(max_event_size=10)

        with pytest.raises(codec.EventTooLarge) as caught:
            decoder.feed(b"id: 1\ndata: a\n\nretry: 5\ndata: b\n\ndata: 0123456789\n\ndata: c\n\n")

        wanted = [Fields("a", id="1"), Fields("b", id="1", retry=5)]
        assert wanted == list(map(fields_of, caught.value.events))
        assert (10, "1", 5) == (caught.value.limit, decoder.last_event_id, decoder.retry)

    @pytest.mark.parametrize("end", [b"", b"\n\n"], ids=["unfinished", "finished"])
    def test_it_fails_again_until_it_is_reset(self, codec: ModuleType, end: bytes) -> None:
        decoder = codec.Decoder(max_event_size=10)
        with pytest.raises(codec.EventTooLarge):
            decoder.feed(b"id: 1\ndata: 0123456789" + end)

        for chunk in (b"\n\ndata: a\n\n", b"", bytearray(b"\n")):
            with pytest.raises(codec.EventTooLarge) as caught:
                decoder.feed(chunk)
            assert (10, []) == (caught.value.limit, caught.value.events)
        decoder.reset()

        assert [Fields("b")] == list(map(fields_of, decoder.feed(b"data: b\n\n")))

    def test_an_argument_of_another_type_is_told_before_a_failure(self, codec: ModuleType) -> None:
        decoder = codec.Decoder(max_event_size=1)
        with pytest.raises(codec.EventTooLarge):
            decoder.feed(b"data")

        with pytest.raises(TypeError):
            decoder.feed("data")

    def test_it_says_what_to_do(self, codec: ModuleType) -> None:
        with pytest.raises(codec.EventTooLarge) as caught:
            codec.Decoder(max_event_size=3).feed(b"data")

        assert "event is over 3 bytes; reset() to go on, or raise the limit" == str(caught.value)

    def test_it_is_16_mib_when_nothing_is_said(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()
        line = b"data: " + b"x" * (2**20 - 6)

        for _ in range(16):
            assert [] == decoder.feed(line)
        with pytest.raises(codec.EventTooLarge) as caught:
            decoder.feed(b"x")

        assert 16 * 2**20 == codec.DEFAULT_MAX_EVENT_SIZE == caught.value.limit

    @pytest.mark.parametrize("limit", [None, 2**31, 2**63 - 1, 2**63, 2**200])
    def test_it_may_be_taken_away_or_be_enormous(
        self, codec: ModuleType, limit: int | None
    ) -> None:
        decoder = codec.Decoder(max_event_size=limit)

        decoder.feed(b"data: " + b"x" * 2**20)
        decoder.feed(b"y" * (16 * 2**20))

        assert [17 * 2**20] == [len(event.data) for event in decoder.feed(b"\n\n")]

    def test_decode_has_none(self, codec: ModuleType) -> None:
        size = codec.DEFAULT_MAX_EVENT_SIZE + 1

        assert [size] == [
            len(event.data) for event in codec.decode(b"data:" + b"x" * size + b"\n\n")
        ]


class TestComments:
    def test_they_come_in_order_before_the_feed_returns(self, codec: ModuleType) -> None:
        told: list[str] = []
        decoder = codec.Decoder(on_comment=told.append)

        events = decoder.feed(b": 1\ndata: a\n: 2\n\n: 3\n")

        assert (["1", "2", "3"], ["a"]) == (told, [event.data for event in events])

    def test_what_the_listener_returns_is_nothing(self, codec: ModuleType) -> None:
        decoder = codec.Decoder(on_comment=lambda comment: comment * 2)

        assert ["a"] == [event.data for event in decoder.feed(b": 1\ndata: a\n\n")]

    def test_the_state_may_be_read_by_the_listener(self, codec: ModuleType) -> None:
        seen: list[Any] = []
        decoder = codec.Decoder(
            on_comment=lambda _: seen.append((decoder.last_event_id, decoder.retry))
        )

        decoder.feed(b":\nid: 1\nretry: 5\n:\n\n:\n")

        assert [("", None), ("", 5), ("1", 5)] == seen

    def test_the_listener_may_feed_another_decoder(self, codec: ModuleType) -> None:
        other = codec.Decoder()
        seen: list[str] = []
        decoder = codec.Decoder(
            on_comment=lambda text: seen.extend(e.data for e in other.feed(text.encode() + b"\n\n"))
        )

        decoder.feed(b": data: inner\n")

        assert ["inner"] == seen

    @pytest.mark.parametrize("method", ["feed", "reset", "__init__"])
    def test_the_listener_must_not_call_the_decoder_that_calls_it(
        self, codec: ModuleType, method: str
    ) -> None:
        def listener(_comment: str) -> None:
            getattr(decoder, method)(*[b"data: x\n\n"] * (method == "feed"))

        decoder = codec.Decoder(on_comment=listener)

        with pytest.raises(
            RuntimeError, match="on_comment must not call the decoder that calls it"
        ):
            decoder.feed(b"data: a\n:\n\n")

    @pytest.mark.parametrize("method", ["feed", "reset"])
    def test_a_listener_that_catches_its_refusal_breaks_nothing(
        self, codec: ModuleType, method: str
    ) -> None:
        refused: list[RuntimeError] = []

        def listener(_comment: str) -> None:
            try:
                decoder.feed(b"data: x\n\n") if method == "feed" else decoder.reset()
            except RuntimeError as error:
                refused.append(error)

        decoder = codec.Decoder(on_comment=listener)

        events = decoder.feed(b"data: a\n:\ndata: b\n:\n\n")

        assert (["a\nb"], 2) == ([event.data for event in events], len(refused))

    @pytest.mark.parametrize(
        "error", [KeyError("x"), KeyboardInterrupt(), GeneratorExit()], ids=repr
    )
    def test_what_the_listener_raises_is_the_callers(
        self, codec: ModuleType, error: BaseException
    ) -> None:
        def listener(_comment: str) -> None:
            raise error

        decoder = codec.Decoder(on_comment=listener)

        with pytest.raises(type(error)) as caught:
            decoder.feed(b"data: a\n:\ndata: b\n\n")

        assert error is caught.value

    def test_a_decoder_whose_listener_has_raised_refuses_until_it_is_reset(
        self, codec: ModuleType
    ) -> None:
        def listener(comment: str) -> None:
            if comment == "bad":
                raise KeyError(comment)

        decoder = codec.Decoder(on_comment=listener)
        decoder.feed(b"id: 1\n\n")
        with pytest.raises(KeyError):
            decoder.feed(b"data: a\n: bad\n")

        for chunk in (b"data: b\n\n", b""):
            with pytest.raises(RuntimeError, match=r"on_comment has raised .* reset"):
                decoder.feed(chunk)
        decoder.reset()

        events = decoder.feed(b": good\ndata: c\n\n")
        assert [Fields("c", id="1")] == list(map(fields_of, events))

    def test_a_listener_that_raises_in_the_last_line_is_noticed_too(
        self, codec: ModuleType
    ) -> None:
        decoder = codec.Decoder(on_comment=lambda _: 1 / 0)

        decoder.feed(b":")
        with pytest.raises(ZeroDivisionError):
            decoder.feed(b"\r")
        with pytest.raises(RuntimeError):
            decoder.feed(b"\n")

    def test_a_limit_reached_after_a_comment_is_a_limit(self, codec: ModuleType) -> None:
        told: list[str] = []
        decoder = codec.Decoder(max_event_size=8, on_comment=told.append)

        with pytest.raises(codec.EventTooLarge):
            decoder.feed(b": 1\ndata: a\n\n: 2\ndata: bcdefg\n: 3\n")
        with pytest.raises(codec.EventTooLarge):
            decoder.feed(b": 4\n")
        decoder.reset()
        decoder.feed(b": 5\n")

        assert ["1", "2", "5"] == told


@contextmanager
def eager_switching() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def in_threads(number: int, work: Any) -> None:
    """Run work(0) ... work(number - 1) at once; what one raises is raised here."""
    failures: list[BaseException] = []
    start = threading.Barrier(number)

    def run(index: int) -> None:
        try:
            start.wait()
            work(index)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    with eager_switching():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


class TestThreads:
    def test_four_on_one_decoder_lose_nothing(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()
        events: list[str] = []

        def feed(index: int) -> None:
            for number in range(1500):
                events.extend(e.data for e in decoder.feed(b"data: %d-%d\n\n" % (index, number)))

        in_threads(4, feed)

        wanted = sorted(f"{index}-{number}" for index in range(4) for number in range(1500))
        assert wanted == sorted(events)

    def test_four_that_feed_unfinished_lines_lose_no_byte(self, codec: ModuleType) -> None:
        decoder = codec.Decoder()
        decoder.feed(b"data: ")

        in_threads(4, lambda index: [decoder.feed(b"%d" % index * 7) for _ in range(1500)])

        (event,) = decoder.feed(b"\n\n")
        assert {str(index): 7 * 1500 for index in range(4)} == {
            c: event.data.count(c) for c in "0123"
        }
        assert 4 * 7 * 1500 == len(event.data)

    def test_four_that_reset_too_do_no_harm(self, codec: ModuleType) -> None:
        decoder = codec.Decoder(max_event_size=64)

        def work(index: int) -> None:
            for number in range(600):
                try:
                    decoder.feed(b"id: %d\r\ndata: %d\r\n" % (index, number) * (number % 3))
                    decoder.feed(b"\n\r")
                except codec.EventTooLarge:
                    decoder.reset()

        in_threads(4, work)
        decoder.reset()

        assert ["a"] == [event.data for event in decoder.feed(b"data: a\n\n")]

    def test_four_with_a_listener_are_served_or_refused(self, codec: ModuleType) -> None:
        told: list[str] = []
        served: list[str] = []
        refused: list[int] = []
        decoder = codec.Decoder(on_comment=told.append)

        def feed(index: int) -> None:
            for number in range(400):
                try:
                    events = decoder.feed(b": c\ndata: %d-%d\n\n" % (index, number))
                except RuntimeError:
                    refused.append(index)
                else:
                    served.extend(event.data for event in events)

        in_threads(4, feed)

        assert 1600 == len(served) + len(refused)
        assert len(served) == len(set(served)) == len(told)
        assert all(text.count("-") == 1 for text in served)

    def test_each_with_its_own_decoder(self, codec: ModuleType) -> None:
        events: dict[int, list[str]] = {}

        def feed(index: int) -> None:
            decoder = codec.Decoder()
            stream = b"".join(b"data: %d\r\n\r\n" % number for number in range(400))
            chunks = (stream[at : at + index + 1] for at in range(0, len(stream), index + 1))
            events[index] = [event.data for chunk in chunks for event in decoder.feed(chunk)]

        in_threads(4, feed)

        assert {index: [str(number) for number in range(400)] for index in range(4)} == events
