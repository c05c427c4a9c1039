"""The two options of everything that writes data: surrogates and line separators, in both twins."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import pytest

from fastsse import Block, Event, EventSourceResponse, InvalidField, aiter_blocks, iter_blocks
from fastsse.testing import fetch

SEPARATORS = "a\x85b\u2028c\u2029d"
ESCAPED = r"a\u0085b\u2028c\u2029d"
REPLACE: dict[str, Any] = {"surrogates": "replace"}
ESCAPE: dict[str, Any] = {"line_separators": "escape"}


class TestEncode:
    @pytest.mark.parametrize("kind", [str, str.encode, lambda text: bytearray(text.encode())])
    def test_line_separators_are_escaped_in_data(
        self, codec: ModuleType, kind: Callable[[str], Any]
    ) -> None:
        block = codec.encode(kind(f'"{SEPARATORS}"'), event="e\u2028", **ESCAPE)

        assert f'event: e\u2028\ndata: "{ESCAPED}"\n\n'.encode() == block
        assert SEPARATORS == json.loads(codec.decode(block)[0].data)

    def test_line_separators_stay_otherwise(self, codec: ModuleType) -> None:
        assert f"data: {SEPARATORS}\n\n".encode() == codec.encode(SEPARATORS)
        assert codec.encode(SEPARATORS) == codec.encode(SEPARATORS, line_separators="keep")

    def test_clients_that_split_text_lines_read_the_json_whole(self, codec: ModuleType) -> None:
        block = codec.encode_json({SEPARATORS: [SEPARATORS]}, id="1", **ESCAPE)

        lines = block.decode().splitlines()
        assert ["id: 1", f'data: {{"{ESCAPED}":["{ESCAPED}"]}}', ""] == lines
        assert {SEPARATORS: [SEPARATORS]} == json.loads(lines[1][6:])

    def test_neighbours_of_the_separators_stay(self, codec: ModuleType) -> None:
        text = "\x84\x86\u2027\u202a\u00c2\u0080é\\\u2028😀"

        block = codec.encode_json(text, **ESCAPE)

        assert text == codec.decode(block)[0].json()
        assert block.count(b"\\u") == 1

    @pytest.mark.parametrize(
        ("text", "written"),
        [
            ("a\ud83d", "a\ufffd"),
            ("\ude00\ud83d", "\ufffd\ufffd"),
            ("\ud83d\ude00", "😀"),
            ("é\ud83d\nb", "é\ufffd\ndata: b"),
        ],
        ids=ascii,
    )
    def test_halves_are_replaced_in_data(self, codec: ModuleType, text: str, written: str) -> None:
        assert f"id: 1\ndata: {written}\n\n".encode() == codec.encode(text, id="1", **REPLACE)

    def test_halves_are_replaced_in_json(self, codec: ModuleType) -> None:
        block = codec.encode_json({"\ud83d": ["\ude00", 1]}, **REPLACE)

        assert 'data: {"\ufffd":["\ufffd",1]}\n\n'.encode() == block

    def test_both_options_go_together(self, codec: ModuleType) -> None:
        options = REPLACE | ESCAPE

        assert 'data: "\\u2028\ufffd"\n\n'.encode() == codec.encode_json("\u2028\ud83d", **options)
        assert "data: \\u2028\ufffd\n\n".encode() == codec.encode("\u2028\ud83d", **options)

    @pytest.mark.parametrize("name", ["event", "id", "comment"])
    def test_other_fields_are_refused_as_ever(self, codec: ModuleType, name: str) -> None:
        with pytest.raises(InvalidField) as caught:
            codec.encode("a", **{name: "b\ud83d"}, **REPLACE, **ESCAPE)

        assert name == caught.value.field

    def test_bytes_that_are_not_utf8_are_refused_as_ever(self, codec: ModuleType) -> None:
        with pytest.raises(InvalidField, match="must be valid UTF-8"):
            codec.encode(b"\xff", **REPLACE)

    def test_a_block_without_data_takes_the_options(self, codec: ModuleType) -> None:
        assert b": a\nid: 1\n\n" == codec.encode(None, id="1", comment="a", **REPLACE, **ESCAPE)
        with pytest.raises(TypeError, match="data must be str"):
            codec.encode(1, **REPLACE, **ESCAPE)

    @pytest.mark.parametrize("write", ["encode", "encode_json"])
    @pytest.mark.parametrize("name", ["surrogates", "line_separators"])
    def test_another_word_is_refused(self, codec: ModuleType, write: str, name: str) -> None:
        for word in ("ignore", "", None, True):
            with pytest.raises(ValueError, match=f"{name} must be '"):
                getattr(codec, write)("a", **{name: word})


ITEMS: list[tuple[Any, bytes]] = [
    (f'"{SEPARATORS}"', f'data: "{ESCAPED}"\n\n'.encode()),
    (SEPARATORS.encode(), f"data: {ESCAPED}\n\n".encode()),
    ("\ud83d", "data: \ufffd\n\n".encode()),
    ({"data": "\ud83d\u2028", "id": "1"}, "id: 1\ndata: \ufffd\\u2028\n\n".encode()),
    ({"comment": "a", "retry": 1}, b": a\nretry: 1\n\n"),
    (
        Event("\ud83d\u2028", "e", "2", 3),
        "id: 2\nevent: e\nretry: 3\ndata: \ufffd\\u2028\n\n".encode(),
    ),
    (Event("a"), b"data: a\n\n"),
    (Block(b": \xe2\x80\xa8\n\n"), b": \xe2\x80\xa8\n\n"),
]
JSON_ITEMS: list[tuple[Any, bytes]] = [
    ({"a": SEPARATORS}, f'data: {{"a":"{ESCAPED}"}}\n\n'.encode()),
    (["\ud83d"], 'data: ["\ufffd"]\n\n'.encode()),
    *ITEMS[5:],
]


async def stream(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


@pytest.mark.parametrize(
    ("table", "as_json"), [(ITEMS, False), (JSON_ITEMS, True)], ids=["", "json"]
)
async def test_every_way_out_writes_the_same(table: list[tuple[Any, bytes]], as_json: bool) -> None:
    items = [item for item, _ in table]
    expected = [block for _, block in table]
    options = {**REPLACE, **ESCAPE, "json": as_json}

    assert expected == list(iter_blocks(items, **options))
    for heartbeat in (None, 60):
        found = aiter_blocks(stream(items), heartbeat=heartbeat, **options)
        assert expected == [block async for block in found]
    answer = await fetch(EventSourceResponse(stream(items), **options))
    assert b":\n\n" + b"".join(expected) == answer.body


@pytest.mark.parametrize("write", [iter_blocks, aiter_blocks, EventSourceResponse])
def test_another_word_is_refused_at_once(write: Any) -> None:
    with pytest.raises(ValueError, match="line_separators must be 'keep' or 'escape', not 'drop'"):
        write([], line_separators="drop")


def test_unknown_fields_and_items_are_refused_as_ever() -> None:
    with pytest.raises(InvalidField, match="is no field"):
        list(iter_blocks([{"body": "a"}], **ESCAPE))
    with pytest.raises(TypeError, match="an item must be Event, str"):
        list(iter_blocks([1], **ESCAPE))


class TestHeartbeats:
    async def test_a_line_of_its_own_has_no_blank_line(self) -> None:
        async def late() -> AsyncIterator[str]:
            import asyncio

            yield "a"
            await asyncio.sleep(0.05)
            yield "b"

        found = [
            block
            async for block in aiter_blocks(
                late(), heartbeat=0.01, heartbeat_form="line", opening=True
            )
        ]

        assert [b":\n", b"data: a\n\n", b":\n"] == found[:3]
        assert {b":\n"} == set(found[3:-1]) | {b":\n"}
        assert b"data: b\n\n" == found[-1]

    async def test_a_response_sends_it_before_the_first_item_too(self) -> None:
        answer = await fetch(EventSourceResponse(["a"], heartbeat_form="line"))

        assert b":\ndata: a\n\n" == answer.body

    @pytest.mark.parametrize("write", [aiter_blocks, EventSourceResponse])
    def test_another_form_is_refused_at_once(self, write: Any) -> None:
        with pytest.raises(ValueError, match="heartbeat_form must be 'block' or 'line', not 'row'"):
            write([], heartbeat_form="row")
