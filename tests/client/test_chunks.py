"""The chunked coding, cut anywhere."""

from __future__ import annotations

from http.client import HTTPException, IncompleteRead

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastsse.client._chunks import Chunks


def decoded(*reads: bytes) -> bytes:
    """Read a body to its end."""
    source = iter(reads)
    chunks = Chunks(lambda _: next(source, b""))
    return b"".join(iter(chunks.read, b""))


BODY = b'5\r\nhello\r\n0A ;a="b;c"\r\n, world\r\n!\r\n1\n?\r\n0\r\nX-Trailer: 1\r\n\r\n'
WHOLE = b"hello, world\r\n!?"


def test_chunks_are_joined() -> None:
    source = iter([BODY])

    assert WHOLE == Chunks(lambda _: next(source)).read()


@pytest.mark.parametrize("size", range(1, len(BODY)))
def test_reads_may_be_cut_anywhere(size: int) -> None:
    assert WHOLE == decoded(*(BODY[at : at + size] for at in range(0, len(BODY), size)))


@given(st.lists(st.binary(min_size=1, max_size=40)), st.integers(1, 9))
def test_any_body_comes_back(pieces: list[bytes], size: int) -> None:
    coded = b"".join(b"%X\r\n%s\r\n" % (len(it), it) for it in pieces) + b"0\r\n\r\n"

    cut = (coded[at : at + size] for at in range(0, len(coded), size))

    assert b"".join(pieces) == decoded(*cut)


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"-1\r\na",
        b"+1\r\na",
        b"1_0\r\n",
        b"0x1\r\na",
        b"\r\n",
        b" 1\r\na",
        b"1\r\nab",
        b"1\r\na\nb",
        b"1\r\na\r\r",
        b"1234567890123456\r\n",
        b"1;" + b"x" * 5000,
    ],
)
@pytest.mark.parametrize("size", [1, 2, 10_000])
def test_a_broken_coding_is_refused(body: bytes, size: int) -> None:
    with pytest.raises(HTTPException):
        decoded(*(body[at : at + size] for at in range(0, len(body), size)))


def test_what_came_before_a_fault_is_given_first() -> None:
    source = iter([b"1\r\na\r\nzz\r\n"])
    chunks = Chunks(lambda _: next(source))

    assert b"a" == chunks.read()
    with pytest.raises(HTTPException, match="size of a chunk"):
        chunks.read()


@pytest.mark.parametrize("end", range(len(b"5\r\nhello\r\n0")))
def test_a_coding_that_is_cut_off_is_told(end: int) -> None:
    with pytest.raises(IncompleteRead):
        decoded(b"5\r\nhello\r\n0"[:end])
