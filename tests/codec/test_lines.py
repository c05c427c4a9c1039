"""LineSplitter: CR, LF and CRLF end a line, wherever the chunks are cut, and nothing else does."""

from __future__ import annotations

import array
import itertools
import threading
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import pytest

# The stream, its lines, and what no line end has closed yet.
STREAMS: dict[str, tuple[bytes, list[bytes], bytes]] = {
    "nothing": (b"", [], b""),
    "no line end": (b"abc", [], b"abc"),
    "LF": (b"a\nb\n", [b"a", b"b"], b""),
    "CR": (b"a\rb\r", [b"a", b"b"], b""),
    "CRLF": (b"a\r\nb\r\n", [b"a", b"b"], b""),
    "LF alone": (b"\n", [b""], b""),
    "CR alone": (b"\r", [b""], b""),
    "CRLF alone": (b"\r\n", [b""], b""),
    "LF CR": (b"a\n\rb\n", [b"a", b"", b"b"], b""),
    "CR CR LF": (b"a\r\r\nb\n", [b"a", b"", b"b"], b""),
    "CR LF LF": (b"a\r\n\nb\n", [b"a", b"", b"b"], b""),
    "CR LF CR LF": (b"\r\n\r\n", [b"", b""], b""),
    "LF LF CR CR": (b"\n\n\r\r", [b"", b"", b"", b""], b""),
    "CR LF CR": (b"a\r\n\rb", [b"a", b""], b"b"),
    "all three": (b"a\nb\rc\r\nd", [b"a", b"b", b"c"], b"d"),
    "a line after CR": (b"a\rb", [b"a"], b"b"),
    "no Unicode line end": (
        b"a\x0bb\x0cc\x1cd\x1de\x1ef\x1fg\xc2\x85h\xe2\x80\xa8i\xe2\x80\xa9j\x00k\n",
        [b"a\x0bb\x0cc\x1cd\x1de\x1ef\x1fg\xc2\x85h\xe2\x80\xa8i\xe2\x80\xa9j\x00k"],
        b"",
    ),
    "no Unicode line end among CRs": (
        b"a\x0bb\x0cc\x1cd\x1de\x1ef\x1fg\xc2\x85h\rj\x0bk\r",
        [b"a\x0bb\x0cc\x1cd\x1de\x1ef\x1fg\xc2\x85h", b"j\x0bk"],
        b"",
    ),
    "no byte-order mark is taken away": (b"\xef\xbb\xbfa\n", [b"\xef\xbb\xbfa"], b""),
    "bytes that are not UTF-8": (b"\xff\n\xe2\x82\r\xac\n", [b"\xff", b"\xe2\x82", b"\xac"], b""),
    "long lines": (b"x" * 70 + b"\r\n" + b"y" * 70 + b"\n", [b"x" * 70, b"y" * 70], b""),
    "blanks and tabs stay": (b" a \t\n", [b" a \t"], b""),
}
every_stream = pytest.mark.parametrize(
    ("stream", "lines", "rest"), STREAMS.values(), ids=STREAMS.keys()
)


def split(codec: ModuleType, chunks: Iterable[bytes], **options: Any) -> list[bytes]:
    splitter = codec.LineSplitter(**options)
    return [line for chunk in chunks for line in splitter.feed(chunk)]


def one_by_one(stream: bytes) -> Iterator[bytes]:
    return (stream[at : at + 1] for at in range(len(stream)))


class TestLines:
    @every_stream
    def test_whole(self, codec: ModuleType, stream: bytes, lines: list[bytes], rest: bytes) -> None:
        splitter = codec.LineSplitter()

        assert lines == splitter.feed(stream)
        assert [rest + b"|"] == splitter.feed(b"|\n")

    @every_stream
    def test_byte_by_byte(
        self, codec: ModuleType, stream: bytes, lines: list[bytes], rest: bytes
    ) -> None:
        chunks = [*one_by_one(stream), b"|\n"]

        assert [*lines, rest + b"|"] == split(codec, chunks)

    @every_stream
    def test_at_every_pair_of_cuts(
        self, codec: ModuleType, stream: bytes, lines: list[bytes], rest: bytes
    ) -> None:
        for first, second in itertools.combinations_with_replacement(range(len(stream) + 1), 2):
            chunks = [stream[:first], stream[first:second], stream[second:], b"|\n"]

            assert [*lines, rest + b"|"] == split(codec, chunks), (first, second)

    @every_stream
    def test_after_a_reset(
        self, codec: ModuleType, stream: bytes, lines: list[bytes], rest: bytes
    ) -> None:
        splitter = codec.LineSplitter()

        splitter.feed(b"left over\r")
        splitter.reset()

        assert [b"", *lines] == splitter.feed(b"\n" + stream)
        assert [rest + b"|"] == splitter.feed(b"|\n")

    @pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
    def test_a_line_end_at_every_offset(self, codec: ModuleType, end: bytes) -> None:
        lines = [b"x" * size for size in range(140)]

        assert lines == split(codec, [b"".join(line + end for line in lines)])

    def test_a_line_is_told_at_its_carriage_return(self, codec: ModuleType) -> None:
        splitter = codec.LineSplitter()

        told = [splitter.feed(chunk) for chunk in (b"a\r", b"\n", b"\n", b"b\r", b"c\r")]

        assert [[b"a"], [], [b""], [b"b"], [b"c"]] == told

    def test_an_empty_chunk_forgets_no_carriage_return(self, codec: ModuleType) -> None:
        assert [b"a", b"b"] == split(codec, [b"a\r", b"", b"", b"\nb\n"])

    def test_lines_are_bytes_whatever_was_fed(self, codec: ModuleType) -> None:
        splitter = codec.LineSplitter()

        lines = [
            *splitter.feed(bytearray(b"a\nb")),
            *splitter.feed(memoryview(b"xxcxx")[2:3]),
            *splitter.feed(array.array("H", b"d\n")),
        ]

        assert [b"a", b"bcd"] == lines
        assert {bytes} == {type(line) for line in lines}

    def test_a_chunk_is_not_kept(self, codec: ModuleType) -> None:
        splitter = codec.LineSplitter()
        chunk = bytearray(b"abc")

        splitter.feed(chunk)
        chunk[:] = b"xyz"
        chunk.clear()  # a buffer that somebody still held would refuse

        assert [b"abc"] == splitter.feed(b"\n")

    @pytest.mark.parametrize("chunk", ["a\n", None, 1, [b"a"]], ids=repr)
    def test_what_is_not_bytes_like_is_refused(self, codec: ModuleType, chunk: Any) -> None:
        splitter = codec.LineSplitter()

        with pytest.raises(
            TypeError, match=f"^chunk must be bytes-like, not {type(chunk).__name__}$"
        ):
            splitter.feed(chunk)

    def test_bytes_that_are_not_contiguous_are_refused(self, codec: ModuleType) -> None:
        with pytest.raises(BufferError):
            codec.LineSplitter().feed(memoryview(b"a\nb\n")[::2])


class TestLimit:
    @pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
    def test_a_line_of_just_the_limit_is_allowed(self, codec: ModuleType, end: bytes) -> None:
        stream = b"abc" + end + b"def" + end

        assert [b"abc", b"def"] == split(codec, [stream], max_line_size=3)
        assert [b"abc", b"def"] == split(codec, one_by_one(stream), max_line_size=3)

    def test_one_byte_more_is_refused_at_that_byte(self, codec: ModuleType) -> None:
        splitter = codec.LineSplitter(max_line_size=3)
        splitter.feed(b"ab")
        splitter.feed(b"c")

        with pytest.raises(codec.LineTooLong) as caught:
            splitter.feed(b"d")

        assert (3, []) == (caught.value.limit, caught.value.lines)

    def test_what_was_complete_before_it_is_handed_over(self, codec: ModuleType) -> None:
        splitter = codec.LineSplitter(max_line_size=3)

        with pytest.raises(codec.LineTooLong) as caught:
            splitter.feed(b"a\nb\r\nabcd\nc\n")

        assert [b"a", b"b"] == caught.value.lines

    def test_the_outcome_does_not_depend_on_the_cuts(self, codec: ModuleType) -> None:
        stream = b"a\r\nbb\nccc\rdddd\neeeee\n"
        for limit in range(1, 7):
            outcomes = []
            cuts = [[stream], list(one_by_one(stream))]
            cuts += [[stream[:cut], stream[cut:]] for cut in range(1, len(stream))]
            for chunks in cuts:
                splitter = codec.LineSplitter(max_line_size=limit)
                lines: list[bytes] = []
                failed = False
                try:
                    for chunk in chunks:
                        lines += splitter.feed(chunk)
                except codec.LineTooLong as error:
                    lines += error.lines
                    failed = True
                outcomes.append((failed, lines))

            wanted = [b"a", b"bb", b"ccc", b"dddd", b"eeeee"][:limit]
            assert [(limit < 5, wanted)] * len(cuts) == outcomes

    @pytest.mark.parametrize("line", [b"abcd", b"abcd\n"], ids=["unfinished", "finished"])
    def test_it_fails_again_until_it_is_reset(self, codec: ModuleType, line: bytes) -> None:
        splitter = codec.LineSplitter(max_line_size=3)
        with pytest.raises(codec.LineTooLong):
            splitter.feed(line)

        for chunk in (b"\na\n", b""):
            with pytest.raises(codec.LineTooLong) as caught:
                splitter.feed(chunk)
            assert (3, []) == (caught.value.limit, caught.value.lines)
        splitter.reset()

        assert [b"a"] == splitter.feed(b"a\n")

    def test_it_says_what_to_do(self, codec: ModuleType) -> None:
        with pytest.raises(codec.LineTooLong) as caught:
            codec.LineSplitter(max_line_size=3).feed(b"abcd")

        assert "line is over 3 bytes; reset() to go on, or raise the limit" == str(caught.value)

    def test_it_is_16_mib_when_nothing_is_said(self, codec: ModuleType) -> None:
        splitter = codec.LineSplitter()

        splitter.feed(b"x" * (16 * 2**20))
        with pytest.raises(codec.LineTooLong) as caught:
            splitter.feed(b"x")

        assert 16 * 2**20 == codec.DEFAULT_MAX_LINE_SIZE == caught.value.limit

    @pytest.mark.parametrize("limit", [None, 2**31, 2**63 - 1, 2**63, 2**200])
    def test_it_may_be_taken_away_or_be_enormous(
        self, codec: ModuleType, limit: int | None
    ) -> None:
        line = b"x" * (16 * 2**20 + 1)

        assert [line] == split(codec, [line, b"\n"], max_line_size=limit)

    @pytest.mark.parametrize("limit", [0, -1, -(2**70)])
    def test_one_below_one_is_refused(self, codec: ModuleType, limit: int) -> None:
        with pytest.raises(ValueError, match=f"^max_line_size must be at least 1, not {limit}$"):
            codec.LineSplitter(max_line_size=limit)

    @pytest.mark.parametrize("limit", [1.5, "3", True], ids=repr)
    def test_one_of_another_type_is_refused(self, codec: ModuleType, limit: Any) -> None:
        message = f"^max_line_size must be int or None, not {type(limit).__name__}$"

        with pytest.raises(TypeError, match=message):
            codec.LineSplitter(max_line_size=limit)

    def test_it_goes_by_name_only(self, codec: ModuleType) -> None:
        with pytest.raises(TypeError):
            codec.LineSplitter(3)


class TestThreads:
    def test_four_on_one_splitter_lose_nothing(self, codec: ModuleType) -> None:
        splitter = codec.LineSplitter()
        lines: list[bytes] = []
        start = threading.Barrier(4)

        def feed(index: int) -> None:
            start.wait()
            for number in range(1500):
                lines.extend(splitter.feed(b"%d-%d\r\n" % (index, number)))

        threads = [threading.Thread(target=feed, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        wanted = sorted(b"%d-%d" % (index, number) for index in range(4) for number in range(1500))
        assert wanted == sorted(line for line in lines if line)
