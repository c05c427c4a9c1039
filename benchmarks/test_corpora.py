"""The corpora say what they claim, as an independent reference reads them."""

from __future__ import annotations

import pytest

from benchmarks import reference
from benchmarks.corpora import CHUNKINGS, DECODED, ENCODED, Corpus, Fields, corpus


@pytest.mark.parametrize("name", DECODED)
def test_the_reference_reads_a_corpus_as_it_claims(name: str) -> None:
    source = corpus(name)

    events = reference.interpret(source.stream)

    assert list(source.events) == events


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("name", DECODED)
def test_chunks_join_to_the_blocks_of_their_events(name: str, chunking: str) -> None:
    source = corpus(name)

    cut = source.cut(chunking)

    assert b"".join(source.blocks[: len(cut.events)]) == b"".join(cut.chunks)
    assert source.events[: len(cut.events)] == cut.events


@pytest.mark.parametrize(("chunking", "size"), [("64k", 65_536), ("4k", 4_096), ("16b", 16)])
def test_reads_have_the_size_that_their_name_says(chunking: str, size: int) -> None:
    chunks = corpus("llm").cut(chunking).chunks

    assert {size} == {len(chunk) for chunk in chunks[:-1]}
    assert 0 < len(chunks[-1]) <= size


@pytest.mark.parametrize("name", DECODED)
def test_a_corpus_is_the_same_whenever_it_is_made(name: str) -> None:
    made = corpus(name).stream

    corpus.cache_clear()

    assert made == corpus(name).stream


def test_chat_chunks_are_as_long_and_as_seldom_not_ascii_as_the_real_ones() -> None:
    source = corpus("llm")

    size = len(source.stream) / len(source.events)
    other = sum(not item.ascii for item in source.fields) / len(source.fields)

    assert 280 < size < 320
    assert 0.02 < other < 0.04
    assert source.events[-1].data == "[DONE]"


@pytest.mark.parametrize("name", ENCODED)
def test_every_block_of_an_encoded_corpus_has_the_same_fields(name: str) -> None:
    given = {tuple(value is not None for value in item) for item in corpus(name).fields}

    assert 1 == len(given)


def test_fresh_fields_are_equal_and_not_the_same() -> None:
    given = Fields("дата", "тип", "один", 3)

    fresh = given.fresh()

    assert given == fresh
    assert given.data is not fresh.data
    assert given.event is not fresh.event
    assert given.id is not fresh.id


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"\xef\xbb\xbfdata: a\n\n", [("a", "message", "", None)]),
        (b"data: a\r\ndata:b\rdata\n\r\n", [("a\nb\n", "message", "", None)]),
        (b"id: 1\n\n: x\nid: 2\0\nevent: t\ndata:  y\n\n", [(" y", "t", "1", None)]),
        (
            b"retry: 10\nretry: -1\ndata\n\ndata: z\n\n",
            [("", "message", "", 10), ("z", "message", "", None)],
        ),
        (b"event: t\n\ndata: \xff\n\ndata: unfinished\n", [("\ufffd", "message", "", None)]),
    ],
)
def test_the_reference_follows_the_standard(
    stream: bytes, expected: list[tuple[str, str, str, int | None]]
) -> None:
    events = reference.interpret(stream)

    assert expected == [tuple(event) for event in events]


def test_a_part_of_a_corpus_ends_with_its_last_event() -> None:
    part: Corpus = corpus("heartbeat").part(3)

    events = reference.interpret(part.stream)

    assert list(part.events) == events
    assert 3 == len(events)
