"""The encoding of events in a log on another machine: exact both ways, and closed to whatever is not ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastsse.broadcast.stores import Draft
from fastsse.broadcast.stores._entries import Unreadable, digest, read_entry, write_entry

names = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), min_size=1, max_size=20)


@given(st.lists(names, min_size=1, max_size=5, unique=True), st.binary(max_size=50))
def test_what_is_written_is_read_again(topics: list[str], data: bytes) -> None:
    draft = Draft(tuple(topics), b"data: %b\n\n" % data)

    assert (draft.topics, draft.block) == read_entry(write_entry(draft))


def test_an_entry_can_be_read_by_people() -> None:
    draft = Draft(("news", "sport"), b"event: goal\ndata: 1:0\n\n")

    assert b"1\nnews\nsport\n\nevent: goal\ndata: 1:0\n\n" == write_entry(draft)


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"1",
        b"1\n",
        b"1\n\n",
        b"1\n\n\n",
        b"1\n\ndata: x\n\n",  # no topic
        b"1\nnews\n\n",  # no block
        b"1\nnews\ndata: x\n",  # no end
        b"1\nnews\n\ndata: x\n",  # cut
        b"2\nnews\n\ndata: x\n\n",  # of a later release
        b"11\nnews\n\ndata: x\n\n",
        b"1\n\xff\n\ndata: x\n\n",  # no UTF-8
        b'{"topic": "news"}\n\n\n\n',
        b"\x80\x04\x95",
    ],
)
def test_what_is_not_ours_is_unreadable(entry: bytes) -> None:
    with pytest.raises(Unreadable):
        read_entry(entry)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_unreadable(entry: bytes) -> None:
    try:
        topics, block = read_entry(entry)
    except Unreadable:
        return

    assert entry == write_entry(Draft(topics, block))


def test_a_digest_tells_events_apart() -> None:
    drafts = [
        Draft(("a",), b"data: x\n\n"),
        Draft(("a",), b"data: y\n\n"),
        Draft(("b",), b"data: x\n\n"),
        Draft(("a", "b"), b"data: x\n\n"),
    ]

    assert 4 == len({digest(write_entry(draft)) for draft in drafts})
    assert {32} == {len(digest(write_entry(draft))) for draft in drafts}
