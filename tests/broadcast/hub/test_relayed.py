"""Blocks of other streams, published without becoming text: what stays, what goes, and what is refused."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.cases import CASES
from support.hubs import follow, opened, started
from support.models import STREAMS, chunked

from fastsse import BlockSplitter, Event, InvalidField, decode
from fastsse.broadcast import Hub, TooLarge
from fastsse.broadcast.hub.drafts import take_block
from fastsse.broadcast.stores import Draft

MAX = 1000  # bytes of data

# A block, and the block that the hub publishes.
TAKEN: dict[str, tuple[bytes, bytes | None]] = {
    "data": (b"data: a\n\n", b"data: a\n\n"),
    "data and a type": (b"event: x\ndata: a\n\n", b"event: x\ndata: a\n\n"),
    "empty data": (b"data: \n\n", b"data: \n\n"),
    "no space": (b"event:x\ndata:a\n\n", b"event: x\ndata: a\n\n"),
    "many lines": (b"data: a\ndata\ndata:  b\n\n", b"data: a\ndata: \ndata:  b\n\n"),
    "CRLF": (b"event: x\r\ndata: a\r\n\r\n", b"event: x\ndata: a\n\n"),
    "CR": (b"data: a\r\r", b"data: a\n\n"),
    "an id goes": (b"id: 7\ndata: a\n\n", b"data: a\n\n"),
    "an id in the middle goes": (b"data: a\nid: 7\ndata: b\n\n", b"data: a\ndata: b\n\n"),
    "a reconnection time goes": (b"retry: 86400000\ndata: a\n\n", b"data: a\n\n"),
    "comments go": (b": fastsse heartbeat=1\ndata: a\n:\n\n", b"data: a\n\n"),
    "unknown fields go": (b"foo: bar\nDATA: b\ndata: a\n\n", b"data: a\n\n"),
    "the last type counts": (b"event: end\nevent: x\ndata: a\n\n", b"event: x\ndata: a\n\n"),
    "an empty type is none": (b"event: x\nevent:\ndata: a\n\n", b"data: a\n\n"),
    "the type may come last": (b"data: a\nevent: x\n\n", b"event: x\ndata: a\n\n"),
    "a mark goes": (b"\xef\xbb\xbfdata: a\n\n", b"data: a\n\n"),
    "not ASCII": ("data: é\u2028😀\n\n".encode(), "data: é\u2028😀\n\n".encode()),
    "a comment": (b": ping\n\n", None),
    "a blank line": (b"\n", None),
    "a blank CRLF": (b"\r\n", None),
    "an id alone": (b"id: 1\n\n", None),
    "a type alone": (b"event: gap\n\n", None),
}

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "block"),
    "no blank line": (b"data: a\n", "block"),
    "no line end": (b"data: a", "block"),
    "two blocks": (b"data: a\n\ndata: b\n\n", "block"),
    "a block and a half": (b"data: a\n\ndata: b\n", "block"),
    "a blank line first": (b"\ndata: a\n\n", "block"),
    "a blank line too many": (b"data: a\n\n\n", "block"),
    "a gap": (b"event: gap\ndata: a\n\n", "event"),
    "an end": (b"event: end\ndata: a\n\n", "event"),
    "an end in CRLF": (b"event:end\r\ndata: a\r\n\r\n", "event"),
    "an end after another type": (b"event: x\ndata: a\nevent: end\n\n", "event"),
    "a long type": (b"event: " + b"x" * 257 + b"\ndata: a\n\n", "event"),
    "a type that is not UTF-8": (b"event: \xff\ndata: a\n\n", "event"),
    "data that is not UTF-8": (b"data: \xe2\x82\n\n", "data"),
    "lines that are not UTF-8": (b"data: \xe2\ndata: \x82\xac\n\n", "data"),
    "large data": (b"data: " + b"x" * 1001 + b"\n\n", "data"),
    "large data in lines": (b"data: x\n" * 501 + b"\n", "data"),
    "large data with an id": (b"id: 1\ndata: " + b"x" * 1001 + b"\n\n", "data"),
}


@pytest.mark.parametrize(("block", "taken"), TAKEN.values(), ids=TAKEN)
def test_type_and_data_stay_and_all_else_goes(block: bytes, taken: bytes | None) -> None:
    assert taken == take_block(block, MAX)


@pytest.mark.parametrize(("block", "field"), REFUSED.values(), ids=REFUSED)
def test_a_block_that_cannot_be_published_is_refused_by_its_field(block: bytes, field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        take_block(block, MAX)

    assert field == caught.value.field


def test_the_usual_block_is_taken_itself() -> None:
    block = b"event: x\ndata: " + b"y" * 900 + b"\n\n"

    assert block is take_block(block, MAX)


def test_a_bound_says_how_large_the_data_is() -> None:
    with pytest.raises(TooLarge, match="data of 1001 bytes: must be at most 1000 bytes"):
        take_block(b"data: " + b"x" * 1001 + b"\n\n", MAX)


def _says_the_same(block: bytes) -> None:
    """Compare a block with what is taken of it, as a decoder reads both."""
    events = decode(block)
    try:
        taken = take_block(block, 10**6)
    except InvalidField:
        return
    assert bool(events) == (taken is not None)
    if taken is not None:
        assert [Event(it.data, it.event) for it in events] == decode(taken)
        assert not Draft(("a",), taken).ends


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.section}: {case.rule}")
def test_every_row_of_the_table_says_what_a_decoder_says(case: Any) -> None:
    for block in BlockSplitter().feed(case.stream):
        _says_the_same(block)


PARTS = [b"data", b"event", b"id", b":", b" ", b"end", b"gap", b"x", b"\xff", b"\n", b"\r", b"\r\n"]


@given(parts=st.lists(st.sampled_from(PARTS), max_size=14))
@example(parts=[b"event", b":", b"end", b"\n", b"event", b"\n", b"data", b"\n", b"\n"])
def test_whatever_a_block_is_it_says_what_a_decoder_says(parts: list[bytes]) -> None:
    _says_the_same(b"".join(parts) + b"\n\n")


async def test_a_published_block_has_the_hubs_id_and_no_other() -> None:
    async with started() as hub, follow(hub, "run/1") as stream:
        await opened(stream)

        nothing = await hub.publish_block("run/1", b": ping\n\n")
        receipt = await hub.publish_block(["run/1"], bytearray(b"id: 7\nevent: x\ndata: a\n\n"))

        assert nothing is None
        assert receipt is not None
        assert (("run/1",), 1) == (receipt.topics, receipt.subscribers)
        assert [Event("a", "x", receipt.id)] == await stream.events(1)


async def test_a_stream_of_a_model_arrives_whole() -> None:
    for name, make in STREAMS.items():
        async with started() as hub, hub.subscribe("run") as events:
            whole = make(Random(5), 30)
            splitter = BlockSplitter()
            for chunk in chunked(whole, Random(6), 200):
                for block in splitter.feed(chunk):
                    await hub.publish_block("run", block)

            wanted = [(event.data, event.event) for event in decode(whole)]
            got = [await anext(events) for _ in wanted]
            assert wanted == [(event.data, event.event) for event in got], name


async def test_a_key_publishes_a_block_once() -> None:
    async with started() as hub:
        first = await hub.publish_block("a", b"data: a\n\n", key="1")
        again = await hub.publish_block("a", b"data: a\n\n", key="1")

        assert first is not None
        assert again is not None
        assert first.id == again.id


async def test_a_refusal_is_counted_by_its_field() -> None:
    async with started() as hub:
        for block in (b"data: a\n", b"event: gap\ndata: a\n\n", b"data: \xff\n\n"):
            with pytest.raises(InvalidField):
                await hub.publish_block("a", block)
        with pytest.raises(InvalidField):
            await hub.publish_block("", b"data: a\n\n")

        assert {"block": 1, "event": 1, "data": 1, "topic": 1} == hub.stats.events_refused


@pytest.mark.parametrize("block", ["data: a\n\n", 5, None])
async def test_what_is_not_bytes_like_is_no_block(block: Any) -> None:
    async with started() as hub:
        with pytest.raises(TypeError):
            await hub.publish_block("a", block)


async def test_a_hub_that_is_not_started_publishes_no_block() -> None:
    with pytest.raises(RuntimeError, match="start"):
        await Hub().publish_block("a", b"data: a\n\n")
