"""Properties of every input: all readers agree, however the stream is cut, and nothing can be injected.

The judge is `standard.read`, which shares no idea with the twins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.split import blocks_of, is_mixed, split, split_joined
from support.standard import MAX_RETRY, Fields, Reading, fields_of, read
from support.twins import load_twin

Twins = tuple[ModuleType, ModuleType]

# Faults hide between these tokens: names and their prefixes, line ends, marks, halves of characters.
TOKENS = [
    *[b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b":", b": ", b" ", b"  ", b"\t", b"\0"],
    *[b"data", b"data:", b"data: ", b"data: x\n", b"data:\n", b"dat", b"Data: x\n", b"datax: y\n"],
    *[b"event", b"event:", b"event: e\n", b"event: message\n", b"even"],
    *[b"id", b"id:", b"id: 1\n", b"id: 22\r\n", b"id: a\0b\n", b"i"],
    *[
        b"retry",
        b"retry:",
        b"retry: 5\n",
        b"retry: 05\r",
        b"retry: -1\n",
        b"retr",
        b"9" * 18,
        b"9" * 20,
    ],
    *[b"\xef\xbb\xbf", b"\xef\xbb", b"\xef", b"\xbb\xbf", b"\xbf"],
    *[
        b"\xff",
        b"\x80",
        b"\xc0\x8a",
        b"\xe2\x82",
        b"\xac",
        b"\xf0\x9f",
        b"\x98\x80",
        b"\xed\xa0\x80",
    ],
    *[
        "é".encode(),
        "€".encode(),
        "😀".encode(),
        "\u2028".encode(),
        "\x85".encode(),
        b"\x0b\x0c\x1c",
    ],
    *[b"x", b"xyz", b"0", b"1", b"x" * 15, b"x" * 16, b"x" * 31, b"x" * 33, b"x" * 100],
]
tokens = st.sampled_from(TOKENS)
streams = st.lists(tokens | st.binary(max_size=5), max_size=40).map(b"".join)
chunked = st.lists(streams, max_size=6)
limits = st.none() | st.integers(1, 60) | st.integers(61, 400)
# Any character counts; these are the ones that some rule, kernel or library treats in its own way.
LETTERS = "\n\r\0 :dx0\x85\u2028\ufeffé€😀"
texts = st.text(LETTERS + "\ud800\udfff", max_size=24) | st.text(max_size=8)
plain = st.text(LETTERS.replace("\r", ""), max_size=24)
one_line = st.text("".join(c for c in LETTERS if c not in "\r\n\0"), max_size=24)


def sliced(stream: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return (stream[start:end] for start, end in pairwise(places))


def one_by_one(stream: bytes) -> Iterator[bytes]:
    return (stream[at : at + 1] for at in range(len(stream)))


def decoded(
    codec: ModuleType, chunks: Iterator[bytes] | list[bytes], last_event_id: str = ""
) -> Reading:
    comments: list[str] = []
    decoder = codec.Decoder(
        last_event_id=last_event_id, max_event_size=None, on_comment=comments.append
    )
    events = [fields_of(event) for chunk in chunks for event in decoder.feed(chunk)]
    return Reading(events, decoder.last_event_id, decoder.retry, comments)


def decoded_within(
    codec: ModuleType, chunks: Iterator[bytes] | list[bytes], limit: int | None
) -> tuple[Any, ...]:
    """Feed a decoder that has a limit and no listener, and return what it told by the end or by its failure."""
    decoder = codec.Decoder(max_event_size=limit)
    events: list[Fields] = []
    failure = ""
    for chunk in chunks:
        try:
            events += map(fields_of, decoder.feed(chunk))
        except codec.EventTooLarge as error:
            events += map(fields_of, error.events)
            failure = str(error)
            break
    return events, failure, decoder.last_event_id, decoder.retry


def split_within(
    codec: ModuleType, chunks: Iterator[bytes] | list[bytes], limit: int | None
) -> tuple[list[bytes], str]:
    splitter = codec.LineSplitter(max_line_size=limit)
    lines: list[bytes] = []
    for chunk in chunks:
        try:
            lines += splitter.feed(chunk)
        except codec.LineTooLong as error:
            return lines + error.lines, str(error)
    return lines, ""


def outcome(call: Callable[[], Any]) -> Any:
    """Call, and return the result, or all that the exception tells."""
    try:
        return call()
    except (ValueError, TypeError) as error:
        return type(error), str(error), vars(error)


def lines_of(text: str) -> list[str]:
    """Cut a value that is written into its lines: at CR, LF and CRLF, and at nothing else."""
    return re.split(r"\r\n|\r|\n", text)


cuts = st.lists(st.integers(0, 10**6), max_size=8)


class TestDecoding:
    @settings(max_examples=200)
    @given(stream=streams, cuts=cuts)
    @example(stream=b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", cuts=[1, 2, 3, 4])
    @example(stream=b"data: a\r\n\r\n\n", cuts=[8, 9, 10, 11])
    def test_every_way_to_cut_a_stream_says_the_same(
        self, codec: ModuleType, stream: bytes, cuts: list[int]
    ) -> None:
        wanted = read(stream)

        assert wanted == decoded(codec, [stream])
        assert wanted == decoded(codec, sliced(stream, cuts))
        assert wanted == decoded(codec, one_by_one(stream))
        assert wanted.events == [fields_of(event) for event in codec.decode(stream)]

    @settings(max_examples=150)
    @given(stream=st.binary(max_size=300), last_event_id=texts)
    def test_any_bytes_are_a_stream(
        self, codec: ModuleType, stream: bytes, last_event_id: str
    ) -> None:
        assert read(stream, last_event_id) == decoded(codec, [stream], last_event_id)

    @settings(max_examples=150)
    @given(stream=streams, cuts=cuts, limit=limits)
    def test_a_limit_is_reached_wherever_the_stream_is_cut(
        self, codec: ModuleType, stream: bytes, cuts: list[int], limit: int | None
    ) -> None:
        wanted = decoded_within(codec, [stream], limit)

        assert wanted == decoded_within(codec, sliced(stream, cuts), limit)
        assert wanted == decoded_within(codec, one_by_one(stream), limit)
        assert wanted[0] == read(stream).events[: len(wanted[0])]

    @settings(max_examples=200)
    @given(chunks=chunked, limit=limits)
    def test_the_twins_agree(self, twins: Twins, chunks: list[bytes], limit: int | None) -> None:
        pure, compiled = twins

        assert decoded(pure, chunks) == decoded(compiled, chunks)
        assert decoded_within(pure, chunks, limit) == decoded_within(compiled, chunks, limit)

    @settings(max_examples=150)
    @given(stream=streams, cuts=cuts, limit=limits)
    def test_lines_are_split_wherever_the_stream_is_cut(
        self, codec: ModuleType, stream: bytes, cuts: list[int], limit: int | None
    ) -> None:
        wanted = split_within(codec, [stream], limit)

        assert wanted == split_within(codec, sliced(stream, cuts), limit)
        assert wanted == split_within(codec, one_by_one(stream), limit)
        if not wanted[1]:
            assert re.split(rb"\r\n|\r|\n", stream)[:-1] == wanted[0]


class TestSplitting:
    @settings(max_examples=150)
    @given(stream=streams, cuts=cuts)
    @example(stream=b"\xef\xbb\xbf\r\ndata: a\r\n\r\n", cuts=[1, 3, 4, 5])
    def test_blocks_are_cut_out_untouched_wherever_the_stream_is_cut(
        self, codec: ModuleType, stream: bytes, cuts: list[int]
    ) -> None:
        wanted = blocks_of(stream)
        for chunks in ([stream], list(sliced(stream, cuts)), list(one_by_one(stream))):
            blocks, rest = split(codec, chunks)
            pieces, left = split_joined(codec, chunks)

            assert wanted == (blocks, rest) or (is_mixed(stream) and len(chunks) > 1)
            assert (b"".join(blocks), rest) == (b"".join(pieces), left)
            assert stream == b"".join(blocks) + wanted[1]
            assert decoded(codec, [stream]).events == decoded(codec, blocks).events

    @settings(max_examples=150)
    @given(chunks=chunked, limit=limits)
    def test_the_twins_agree(self, twins: Twins, chunks: list[bytes], limit: int | None) -> None:
        pure, compiled = twins

        assert split(pure, chunks, limit) == split(compiled, chunks, limit)
        pieces = [split_joined(twin, chunks, limit) for twin in twins]
        assert len({(b"".join(some), rest) for some, rest in pieces}) == 1


blocks = st.fixed_dictionaries(
    {
        "data": st.none() | texts,
        "event": st.none() | texts,
        "id": st.none() | texts,
        "retry": st.none() | st.integers(-2, 2**65) | st.integers(0, 10_000),
        "comment": st.none() | texts,
    }
)
anything = texts | st.binary(max_size=9) | st.none() | st.booleans() | st.integers() | st.floats()


class TestEncoding:
    @settings(max_examples=200)
    @given(fields=blocks, before=texts)
    @example(fields={"data": " x\r\r\n\n"}, before="")
    @example(fields={"data": None, "comment": "\rdata: x\r\r", "id": ""}, before="7")
    def test_a_block_says_just_what_was_given(
        self, codec: ModuleType, fields: dict[str, Any], before: str
    ) -> None:
        try:
            block = codec.encode(**fields)
        except codec.InvalidField as error:
            note(str(error))
            return

        reading = read(block, before)

        given_id = fields.get("id")
        last = before if given_id is None else given_id
        retry = fields.get("retry")
        data = fields["data"]
        event = fields.get("event") or "message"
        comment = fields.get("comment")
        wanted = [] if data is None else [Fields("\n".join(lines_of(data)), event, last, retry)]
        comments = [] if comment is None else lines_of(comment)
        assert Reading(wanted, last, retry, comments) == reading

    @settings(max_examples=200)
    @given(fields=blocks)
    def test_what_is_refused_could_not_be_said(
        self, codec: ModuleType, fields: dict[str, Any]
    ) -> None:
        allowed = (
            any(value is not None for value in fields.values())
            and all(
                "\ud7ff" >= c or c >= "\ue000"
                for v in fields.values()
                if isinstance(v, str)
                for c in v
            )
            and (fields["event"] is None or (fields["data"] is not None and fields["event"] != ""))
            and not re.search(r"[\r\n]", (fields["event"] or "") + (fields["id"] or ""))
            and "\0" not in (fields["id"] or "")
            and 0 <= (fields["retry"] or 0) <= MAX_RETRY
        )

        try:
            codec.encode(**fields)
        except codec.InvalidField:
            assert not allowed
        else:
            assert allowed

    @settings(max_examples=150)
    @given(
        data=st.binary(max_size=40) | texts.map(lambda text: text.encode(errors="surrogatepass"))
    )
    def test_bytes_are_written_as_the_text_that_they_are(
        self, codec: ModuleType, data: bytes
    ) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            with pytest.raises(codec.InvalidField):
                codec.encode(data)
        else:
            assert codec.encode(text) == codec.encode(data)
            assert codec.encode(text) == codec.encode(bytearray(data))

    @settings(max_examples=200)
    @given(data=anything, event=anything, id=anything, retry=anything, comment=anything)
    def test_the_twins_agree(self, twins: Twins, data: Any, **fields: Any) -> None:
        pure, compiled = (outcome(lambda t=twin: t.encode(data, **fields)) for twin in twins)

        assert pure == compiled

    @settings(max_examples=150)
    @given(text=anything)
    def test_a_comment_is_a_comment(self, codec: ModuleType, text: Any) -> None:
        try:
            block = codec.encode_comment(text)
        except (codec.InvalidField, TypeError):
            assert not isinstance(text, str) or re.search("[\ud800-\udfff]", text)
        else:
            assert Reading([], "", None, lines_of(text)) == read(block)

    @settings(max_examples=100)
    @given(
        obj=st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**63)
            | st.text('a\n\r\u2028é😀"\\', max_size=5),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(st.text(max_size=3), inner, max_size=4)
            ),
            max_leaves=8,
        )
    )
    def test_json_comes_back_from_one_line(self, codec: ModuleType, obj: Any) -> None:
        block = codec.encode_json(obj)

        (event,) = read(block).events
        assert 2 == block.count(b"\n")
        assert b"\r" not in block
        assert obj == codec.Event(event.data).json()


events = st.builds(
    Fields, plain, one_line.filter(bool), one_line, st.none() | st.integers(0, MAX_RETRY)
)


class TestRoundTrip:
    @given(events=st.lists(events, max_size=5), cuts=cuts)
    def test_events_come_back_as_they_were(
        self, codec: ModuleType, events: list[Fields], cuts: list[int]
    ) -> None:
        made = [codec.Event(*fields) for fields in events]

        stream = codec.encode_many(made)

        assert made == codec.decode(stream)
        assert events == read(stream).events
        assert events == decoded(codec, sliced(stream, cuts)).events

    @given(fields=events)
    def test_one_event_comes_back_as_it_was(self, codec: ModuleType, fields: Fields) -> None:
        event = codec.Event(*fields)

        assert [event] == codec.decode(event.encode())

    @settings(max_examples=150)
    @given(stream=streams)
    def test_a_decoded_stream_says_the_same_when_it_is_written_again(
        self, codec: ModuleType, stream: bytes
    ) -> None:
        read_once = codec.decode(stream)

        assert read_once == codec.decode(codec.encode_many(read_once))

    @given(
        events=st.lists(
            st.builds(Fields, texts, texts, texts, st.none() | st.integers()), max_size=4
        )
    )
    def test_the_twins_agree(self, twins: Twins, events: list[Fields]) -> None:
        results = []
        for twin in twins:
            made = [twin.Event(*fields) for fields in events]
            results.append(
                [
                    outcome(lambda m=made, t=twin: t.encode_many(m)),
                    *(outcome(e.encode) for e in made),
                ]
            )

        assert results[0] == results[1]


class TwoDecoders(RuleBasedStateMachine):
    """Both twins, fed and reset alike, and beside them the judge, who reads all bytes since the last reset."""

    @initialize(limit=limits, last_event_id=texts, listening=st.booleans())
    def start(self, limit: int | None, last_event_id: str, listening: bool) -> None:
        self.comments: tuple[list[str], list[str]] = ([], [])
        self.decoders = [
            twin.Decoder(
                max_event_size=limit,
                last_event_id=last_event_id,
                on_comment=comments.append if listening else None,
            )
            for twin, comments in zip((load_twin("py"), load_twin("c")), self.comments, strict=True)
        ]
        self.listening = listening
        self.failed = False
        self.retry: int | None = None
        self.begin(last_event_id)

    def begin(self, last_event_id: str) -> None:
        self.stream = b""
        self.seed = last_event_id
        self.events: list[Fields] = []
        for comments in self.comments:
            comments.clear()

    def fed(self, chunk: Any) -> list[tuple[Any, ...]]:
        told = []
        for decoder in self.decoders:
            try:
                told.append((list(map(fields_of, decoder.feed(chunk))), ""))
            except load_twin("py").EventTooLarge as error:
                told.append((list(map(fields_of, error.events)), str(error)))
        return told

    @rule(chunk=streams, kind=st.sampled_from([bytes, bytearray, memoryview]))
    def feed(self, chunk: bytes, kind: Any) -> None:
        pure, compiled = self.fed(kind(chunk))

        assert pure == compiled
        if self.failed:
            assert [] == pure[0]
            assert pure[1]
        else:
            self.events += pure[0]
            self.stream += chunk
            self.failed = bool(pure[1])

    @rule(chunk=tokens)
    def feed_a_token(self, chunk: bytes) -> None:
        self.feed(chunk, bytes)

    @rule()
    def reset(self) -> None:
        for decoder in self.decoders:
            decoder.reset()

        self.failed = False
        self.retry = self.decoders[0].retry
        self.begin(self.decoders[0].last_event_id)

    @invariant()
    def both_are_in_one_state(self) -> None:
        pure, compiled = self.decoders

        assert (pure.last_event_id, pure.retry) == (compiled.last_event_id, compiled.retry)
        assert self.comments[0] == self.comments[1]

    @precondition(lambda self: not self.failed)
    @invariant()
    def the_judge_agrees(self) -> None:
        wanted = read(self.stream, self.seed)

        assert wanted.events == self.events
        assert wanted.last_event_id == self.decoders[0].last_event_id
        assert (wanted.retry if wanted.retry is not None else self.retry) == self.decoders[0].retry
        if self.listening:
            assert wanted.comments == self.comments[0]


def test_two_decoders_that_are_fed_and_reset_alike_stay_alike(twins: Twins) -> None:
    assert twins  # both are here, or this is skipped

    run_state_machine_as_test(
        TwoDecoders, settings=settings(max_examples=60, stateful_step_count=20, deadline=None)
    )
