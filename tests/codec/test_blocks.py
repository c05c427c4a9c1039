"""BlockSplitter: a stream is cut between two blocks and nowhere else, and comes out as it went in."""

from __future__ import annotations

import array
import itertools
import threading
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import pytest
from support.cases import CASES, PROMPT
from support.split import blocks_of, cut, is_mixed, split, split_joined
from support.standard import fields_of, read

BOM = b"\xef\xbb\xbf"

# The stream's blocks, and what no blank line has ended.
STREAMS: dict[str, tuple[list[bytes], bytes]] = {
    "nothing": ([], b""),
    "LF": ([b"data: a\n\n", b"data: b\n\n"], b""),
    "CR": ([b"data: a\r\r", b"data: b\r\r"], b""),
    "CRLF": ([b"data: a\r\n\r\n", b"data: b\r\n\r\n"], b""),
    "LF, then CR": ([b"data: a\n\r", b"data: b\n\r"], b""),
    "CRLF, then CR": ([b"data: a\r\n\r", b"data: b\r\n\r"], b""),
    "CRLF, then LF": ([b"data: a\r\n\n", b"data: b\r\n\n"], b""),
    "an unfinished line": ([b"data: a\n\n"], b"data: b"),
    "an unfinished block": ([b"data: a\n\n"], b"data: b\n"),
    "an unfinished CRLF block": ([b"data: a\r\n\r\n"], b"data: b\r\n"),
    "blank lines in a row": ([b"data: a\n\n", b"\n", b"\n", b"data: b\n\n"], b""),
    "blank CRLF lines in a row": ([b"a\r\n\r\n", b"\r\n", b"\r\n", b"b\r\n\r\n"], b""),
    "blank lines first": ([b"\n", b"\r\n", b"\r\n", b"data: a\n\n"], b""),
    "comments": ([b": a\n\n", b":\n\n", b"data: b\n: c\n\n", b": d\n: e\n\n"], b": f\n"),
    "a mark": ([BOM + b"data: a\n\n", b"data: b\n\n"], b""),
    "a mark alone on its line": ([BOM + b"\n", b"data: a\n\n"], b""),
    "a mark alone on its CRLF line": ([BOM + b"\r\n", b"data: a\r\n\r\n"], b""),
    "a mark in the middle": ([b"data: a\n\n", BOM + b"\ndata: b\n\n"], b""),
    "a mark twice": ([BOM + BOM + b"\n\n"], b""),
    "a part of a mark": ([BOM[:2] + b"\n\n"], b""),
    "a mark and no more": ([], BOM),
    "bytes of every kind": ([bytes(set(range(256)) - {10, 13}) + b"\n\n"], b""),
    "no Unicode line end": (["data: a\u2028\u2029\x85\x0b\x0c\x1c\n\n".encode()], b""),
    "long lines": ([b"x" * 70 + b"\r\n" + b"y" * 70 + b"\r\n\r\n", b"z" * 130 + b"\n\n"], b""),
}
every_stream = pytest.mark.parametrize(("blocks", "rest"), STREAMS.values(), ids=STREAMS.keys())


# All but those in which a CRLF is cut in two.
SOON = [it for it in PROMPT if it.rule not in ("CRLF CR", "the LF that comes after is nothing")]


def stream_of(blocks: list[bytes], rest: bytes) -> bytes:
    return b"".join(blocks) + rest


def every_cut(stream: bytes, parts: int = 2) -> Iterable[list[bytes]]:
    places = range(len(stream) + 1)
    for chosen in itertools.combinations_with_replacement(places, parts - 1):
        yield cut(stream, *chosen)


def decoded(codec: ModuleType, pieces: Iterable[bytes]) -> list[Any]:
    decoder = codec.Decoder(max_event_size=None)
    return [fields_of(event) for piece in pieces for event in decoder.feed(piece)]


class TestBlocks:
    @every_stream
    def test_whole(self, codec: ModuleType, blocks: list[bytes], rest: bytes) -> None:
        assert (blocks, rest) == split(codec, [stream_of(blocks, rest)])

    @every_stream
    def test_byte_by_byte(self, codec: ModuleType, blocks: list[bytes], rest: bytes) -> None:
        stream = stream_of(blocks, rest)

        assert (blocks, rest) == split(codec, cut(stream, *range(1, len(stream))))

    @every_stream
    def test_at_every_pair_of_cuts(
        self, codec: ModuleType, blocks: list[bytes], rest: bytes
    ) -> None:
        for chunks in every_cut(stream_of(blocks, rest)[:70], 3):
            wanted = blocks_of(b"".join(chunks))

            assert wanted == split(codec, chunks), chunks

    @every_stream
    def test_joined(self, codec: ModuleType, blocks: list[bytes], rest: bytes) -> None:
        stream = stream_of(blocks, rest)
        for chunks in every_cut(stream):
            pieces, left = split_joined(codec, chunks)

            assert (b"".join(blocks), rest) == (b"".join(pieces), left), chunks

    @every_stream
    def test_after_a_reset(self, codec: ModuleType, blocks: list[bytes], rest: bytes) -> None:
        splitter = codec.BlockSplitter()
        splitter.feed(b"data: left over\r")

        splitter.reset()

        given = splitter.feed(stream_of(blocks, rest))
        last, left = splitter.finish()
        assert (blocks, rest) == (given + last, left)

    @pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
    def test_a_blank_line_at_every_offset(self, codec: ModuleType, end: bytes) -> None:
        blocks = [b"x" * size + end + end for size in range(1, 200)]
        stream = b"".join(blocks)

        assert (blocks, b"") == split(codec, [stream])
        assert (blocks, b"") == split(codec, cut(stream, *range(100, len(stream), 100)))

    def test_more_lines_than_one_step_takes(self, codec: ModuleType) -> None:
        blocks = [b"x\n" * 1000 + b"\n", *[b"\n"] * 1000, b"\r\n", *[b"a\r\n\r\n"] * 500]

        assert (blocks, b"y") == split(codec, [*blocks, b"y"])
        assert (blocks, b"y") == split(codec, [b"".join(blocks) + b"y"])

    @pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.section}: {case.rule}")
    def test_every_row_of_the_table_at_every_cut(self, codec: ModuleType, case: Any) -> None:
        stream = case.stream[:200]
        mixed = is_mixed(stream)
        wanted = blocks_of(stream)
        events = decoded(codec, [stream])
        for chunks in [*every_cut(stream), cut(stream, *range(1, len(stream)))]:
            blocks, rest = split(codec, chunks)

            assert rest is not None
            assert stream == b"".join(blocks) + rest, chunks
            assert mixed or wanted == (blocks, rest), chunks
            assert events == decoded(codec, blocks), chunks
            assert all(len(read(block).events) < 2 for block in blocks), chunks

    @pytest.mark.parametrize("prompt", SOON, ids=lambda prompt: prompt.rule)
    def test_an_event_is_given_as_soon_as_a_decoder_has_it(
        self, codec: ModuleType, prompt: Any
    ) -> None:
        splitter, decoder = codec.BlockSplitter(), codec.Decoder()

        told = [
            [fields_of(event) for block in splitter.feed(chunk) for event in decoder.feed(block)]
            for chunk in prompt.chunks
        ]

        assert prompt.events == told


class TestTheLFOfACRLF:
    @pytest.mark.parametrize("before", [b"data: a\r\n", b"\r\n\r\n", b"", b"a\r\n\r\n", BOM])
    def test_is_waited_for(self, codec: ModuleType, before: bytes) -> None:
        splitter = codec.BlockSplitter()
        block = blocks_of(before + b"\r\n")[0][-1]

        given = [*splitter.feed(before + b"\r"), *splitter.feed(b"\n")]

        assert block == given[-1]

    @pytest.mark.parametrize("end", [b"\r", b"\n"], ids=["CR", "LF"])
    def test_is_not_waited_for_where_the_line_before_ends_otherwise(
        self, codec: ModuleType, end: bytes
    ) -> None:
        splitter = codec.BlockSplitter()

        told = [splitter.feed(chunk) for chunk in (b"data: a" + end + b"\r", b"\n", b"data: b\n\n")]

        assert [[b"data: a" + end + b"\r"], [b"\n"], [b"data: b\n\n"]] == told

    @pytest.mark.parametrize("after", [b"data: b", b"\rdata: b", b"\r\ndata: b", b"\r\rdata: b"])
    def test_is_missed_when_another_byte_comes(self, codec: ModuleType, after: bytes) -> None:
        splitter = codec.BlockSplitter()
        held = splitter.feed(b"data: a\r\n\r")

        given = splitter.feed(after)

        assert [] == held
        assert (b"data: a\r\n\r", b"data: b") == (given[0], splitter.finish()[1])

    def test_is_missed_when_the_stream_ends(self, codec: ModuleType) -> None:
        splitter = codec.BlockSplitter()
        splitter.feed(b"data: a\r\n\r")

        assert ([b"data: a\r\n\r"], b"") == splitter.finish()

    def test_is_remembered_over_an_empty_chunk(self, codec: ModuleType) -> None:
        chunks = [b"data: a\r", b"", b"\n", b"", b"\r", b"", b"\n"]

        assert ([b"data: a\r\n\r\n"], b"") == split(codec, chunks)

    def test_of_a_block_that_waits_may_come_with_more(self, codec: ModuleType) -> None:
        splitter = codec.BlockSplitter()

        assert b"" == splitter.feed_joined(b"data: a\r\n\r")
        assert b"data: a\r\n\r\ndata: b\n\n" == splitter.feed_joined(b"\ndata: b\n\nda")
        assert ([], b"da") == splitter.finish()


class TestJoined:
    def test_a_chunk_of_whole_blocks_is_given_itself(self, codec: ModuleType) -> None:
        splitter = codec.BlockSplitter()
        splitter.feed(b"\n")
        for chunk in (b"data: a\n\ndata: b\n\n", b"data: a\r\n\r\n", b"\n\n", b"data: a\n\r\n"):
            assert chunk is splitter.feed_joined(chunk)
            assert 0 == splitter.pending

    def test_a_chunk_that_is_one_block_is_given_itself(self, codec: ModuleType) -> None:
        splitter = codec.BlockSplitter()
        for chunk in (BOM + b"data: a\n\n", b"id: 1\r\r", b": c\n\n", b"data: a\r\n\r\n"):
            given = splitter.feed(chunk)

            assert [chunk] == given
            assert chunk is given[0]

    @pytest.mark.parametrize("size", [10, 1020, 1022, 1023, 1024, 1025, 1030, 5000])
    def test_the_last_blank_line_is_found_however_far_from_the_end(
        self, codec: ModuleType, size: int
    ) -> None:
        for end in (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r", b"\r\n\n"):
            splitter = codec.BlockSplitter()
            splitter.feed(b"\n")
            whole, rest = b"data: a\n\n: b" + end, b"data: " + b"x" * size

            assert whole == splitter.feed_joined(whole + rest)
            assert len(rest) == splitter.pending
            assert rest + b"\n\n" == splitter.feed_joined(b"\n\n")

    @pytest.mark.parametrize("last", [b"\n", b"\r", b"\r\n", b"x"])
    def test_what_comes_after_it_goes_on_as_it_would(self, codec: ModuleType, last: bytes) -> None:
        head = b"\ndata: a\n\ndata: b" + last
        for after in (b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"x\n\n", b"\nx"):
            joined, apart = codec.BlockSplitter(), codec.BlockSplitter()

            joined.feed(b"\n"), apart.feed(b"\n")
            joined.feed_joined(head), apart.feed(head)

            assert apart.feed(after) == joined.feed(after), (last, after)
            assert apart.finish() == joined.finish()


class TestWhatMayBeFed:
    def test_blocks_are_bytes_whatever_was_fed(self, codec: ModuleType) -> None:
        splitter = codec.BlockSplitter()

        blocks = [
            *splitter.feed(bytearray(b"a\n\nb")),
            *splitter.feed(memoryview(b"xxc\n\nxx")[2:5]),
            *splitter.feed(array.array("H", b"d\n")),
            splitter.feed_joined(bytearray(b"\n")),
        ]

        assert [b"a\n\n", b"bc\n\n", b"d\n\n"] == blocks
        assert {bytes} == {type(block) for block in blocks}

    def test_a_chunk_is_not_kept(self, codec: ModuleType) -> None:
        splitter = codec.BlockSplitter()
        chunk = bytearray(b"abc")

        splitter.feed(chunk)
        chunk[:] = b"xyz"
        chunk.clear()  # a buffer that somebody still held would refuse

        assert [b"abc\n\n"] == splitter.feed(b"\n\n")

    @pytest.mark.parametrize("chunk", ["a\n", None, 1, [b"a"]], ids=repr)
    @pytest.mark.parametrize("method", ["feed", "feed_joined"])
    def test_what_is_not_bytes_like_is_refused(
        self, codec: ModuleType, chunk: Any, method: str
    ) -> None:
        message = f"^chunk must be bytes-like, not {type(chunk).__name__}$"

        with pytest.raises(TypeError, match=message):
            getattr(codec.BlockSplitter(), method)(chunk)


class TestTheEnd:
    def test_an_unfinished_block_is_given_and_told_apart(self, codec: ModuleType) -> None:
        splitter = codec.BlockSplitter()
        splitter.feed(b"data: a\n\ndata: b\n")

        assert 8 == splitter.pending
        assert ([], b"data: b\n") == splitter.finish()
        assert 0 == splitter.pending

    def test_it_begins_a_new_stream(self, codec: ModuleType) -> None:
        splitter = codec.BlockSplitter()
        splitter.feed(b"data: a\r")
        splitter.finish()

        assert [b"\n", b"data: b\n\n"] == splitter.feed(b"\ndata: b\n\n")
        splitter.finish()
        assert [BOM + b"\n"] == splitter.feed(BOM + b"\n")


class TestTheLimit:
    @pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
    def test_a_block_of_just_the_limit_is_allowed(self, codec: ModuleType, end: bytes) -> None:
        block = b"data: abc" + end + end
        limit = len(block) - len(end)
        for chunks in every_cut(block * 2):
            assert ([block] * 2, b"") == split(codec, chunks, limit)
            assert split(codec, chunks, limit - 1)[1] is None
            assert split_joined(codec, chunks, limit - 1)[1] is None

    def test_one_byte_more_is_refused_at_that_byte(self, codec: ModuleType) -> None:
        splitter = codec.BlockSplitter(max_block_size=8)
        splitter.feed(b"data: ab")

        with pytest.raises(codec.BlockTooLarge) as caught:
            splitter.feed(b"\n")

        assert (8, []) == (caught.value.limit, caught.value.blocks)

    def test_the_blocks_before_it_are_handed_over(self, codec: ModuleType) -> None:
        for method in ("feed", "feed_joined"):
            splitter = codec.BlockSplitter(max_block_size=5)
            splitter.feed(b":\n")

            with pytest.raises(codec.BlockTooLarge) as caught:
                getattr(splitter, method)(b"\n:a\n\n:abcdef\n\n:b\n\n")

            assert [b":\n\n", b":a\n\n"] == caught.value.blocks

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 7, 8, 9, 12])
    def test_the_outcome_does_not_depend_on_the_cuts(self, codec: ModuleType, limit: int) -> None:
        for stream in (
            b":\n\n:ab\n:\n\n:abcdef\n\n:\n\n",
            BOM + b"\r\n:ab\r\n\r\n:abcdef\r\n\r\n:",
        ):
            wanted = split(codec, [stream], limit)
            for chunks in [*every_cut(stream, 3), cut(stream, *range(1, len(stream)))]:
                assert wanted == split(codec, chunks, limit), chunks
                pieces, rest = split_joined(codec, chunks, limit)
                assert (b"".join(wanted[0]), wanted[1]) == (b"".join(pieces), rest), chunks

    def test_it_fails_again_until_it_is_reset(self, codec: ModuleType) -> None:
        splitter = codec.BlockSplitter(max_block_size=3)
        with pytest.raises(codec.BlockTooLarge):
            splitter.feed(b"abcd")

        assert 0 == splitter.pending
        for call in (splitter.feed, splitter.feed_joined, lambda _: splitter.finish()):
            for chunk in (b"\n\n", b""):
                with pytest.raises(codec.BlockTooLarge) as caught:
                    call(chunk)
                assert (3, []) == (caught.value.limit, caught.value.blocks)
        splitter.reset()

        assert [b"a\n\n"] == splitter.feed(b"a\n\n")

    def test_it_says_what_to_do(self, codec: ModuleType) -> None:
        with pytest.raises(codec.BlockTooLarge) as caught:
            codec.BlockSplitter(max_block_size=3).feed(b"abcd")

        assert "block is over 3 bytes; reset() to go on, or raise the limit" == str(caught.value)

    def test_it_is_16_mib_when_nothing_is_said(self, codec: ModuleType) -> None:
        splitter = codec.BlockSplitter()

        splitter.feed(b"x" * (16 * 2**20))
        with pytest.raises(codec.BlockTooLarge) as caught:
            splitter.feed(b"x")

        assert 16 * 2**20 == codec.DEFAULT_MAX_BLOCK_SIZE == caught.value.limit

    @pytest.mark.parametrize("limit", [None, 2**31, 2**63 - 1, 2**63, 2**200])
    def test_it_may_be_taken_away_or_be_enormous(
        self, codec: ModuleType, limit: int | None
    ) -> None:
        block = b"x" * (16 * 2**20 + 1)

        assert ([block + b"\n\n"], b"") == split(codec, [block, b"\n\n"], limit)

    @pytest.mark.parametrize("limit", [0, -1, -(2**70)])
    def test_one_below_one_is_refused(self, codec: ModuleType, limit: int) -> None:
        with pytest.raises(ValueError, match=f"^max_block_size must be at least 1, not {limit}$"):
            codec.BlockSplitter(max_block_size=limit)

    @pytest.mark.parametrize("limit", [1.5, "3", True], ids=repr)
    def test_one_of_another_type_is_refused(self, codec: ModuleType, limit: Any) -> None:
        message = f"^max_block_size must be int or None, not {type(limit).__name__}$"

        with pytest.raises(TypeError, match=message):
            codec.BlockSplitter(max_block_size=limit)

    def test_it_goes_by_name_only(self, codec: ModuleType) -> None:
        with pytest.raises(TypeError):
            codec.BlockSplitter(3)


class TestThreads:
    def test_four_on_one_splitter_lose_nothing(self, codec: ModuleType) -> None:
        splitter = codec.BlockSplitter()
        blocks: list[bytes] = []
        start = threading.Barrier(4)

        def feed(index: int) -> None:
            start.wait()
            for number in range(1500):
                block = b"%d-%d\n\n" % (index, number)
                blocks.extend(splitter.feed(block) if number % 2 else [splitter.feed_joined(block)])

        threads = [threading.Thread(target=feed, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        wanted = sorted(b"%d-%d\n\n" % (i, n) for i in range(4) for n in range(1500))
        assert wanted == sorted(blocks)
