"""Hostile shapes, each at one size and at twice that, for `test_linear.py` to count instructions of.

    python linear.py FOLDER MODULE      FOLDER holds the package, MODULE is a twin

Every call of `os.getppid` ends a measure: callgrind writes what was counted since the last one. Inputs are
made before the first. Imports as little as it can, because all of it runs some fifty times slower there.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

KIB = 1024


class Shape(NamedTuple):
    """One input by its size: how it is made, how it is taken, and the size to begin with."""

    make: Callable[[int], Any]
    work: Callable[[Any, Any], object]  # twin, what was made
    size: int


def decode(twin: Any, chunks: list[bytes], **options: Any) -> None:
    decoder = twin.Decoder(**options)
    for chunk in chunks:
        decoder.feed(chunk)


def split(twin: Any, chunks: list[bytes]) -> None:
    splitter = twin.LineSplitter()
    for chunk in chunks:
        splitter.feed(chunk)


def split_blocks(twin: Any, chunks: list[bytes]) -> None:
    splitter, joining = twin.BlockSplitter(), twin.BlockSplitter()
    for chunk in chunks:
        splitter.feed(chunk)
        joining.feed_joined(chunk)


def rejoin(_twin: Any, chunks: list[bytes]) -> None:
    line = b""
    for chunk in chunks:
        line = line + chunk


def in_chunks(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def ignore(_comment: str) -> None:
    pass


SHAPES = {
    "one long line in 1 KiB chunks": Shape(
        lambda n: [b"data: ", *[b"x" * KIB] * n, b"\n\n"], decode, 375
    ),
    "one long line in 16-byte chunks": Shape(
        lambda n: [b"data: ", *[b"x" * 16] * n, b"\n\n"], decode, 1500
    ),
    "one long line just under a limit": Shape(
        lambda n: [b"data: ", *[b"x" * KIB] * n, b"\n\n"],
        lambda twin, chunks: decode(twin, chunks, max_event_size=len(chunks) * KIB),
        375,
    ),
    "one long comment in 1 KiB chunks": Shape(
        lambda n: [b": ", *[b"x" * KIB] * n, b"\n"],
        lambda twin, chunks: decode(twin, chunks, on_comment=ignore),
        375,
    ),
    "one long name without a colon": Shape(lambda n: [*[b"x" * KIB] * n, b"\n"], decode, 375),
    "one long id": Shape(lambda n: [b"id: " + b"x" * n * KIB + b"\ndata\n\n"], decode, 250),
    "one long retry": Shape(lambda n: [b"retry: " + b"9" * n * KIB + b"\n"], decode, 250),
    "CR only": Shape(lambda n: [b"\r" * n], decode, 6000),
    "data lines that end in CR": Shape(lambda n: [b"data: x\r" * n + b"\r"], decode, 2000),
    "data lines that end in CR, by 16 bytes": Shape(
        lambda n: in_chunks(b"data: x\r" * n + b"\r", 16), decode, 1250
    ),
    "many data lines in one event": Shape(lambda n: [b"data: x\n" * n + b"\n"], decode, 8000),
    "many data lines in 1 KiB chunks": Shape(
        lambda n: in_chunks(b"data: x\n" * n + b"\n", KIB), decode, 2000
    ),
    "many data lines in one event under a limit": Shape(
        lambda n: in_chunks(b"data: x\n" * n + b"\n", KIB),
        lambda twin, chunks: decode(twin, chunks, max_event_size=len(chunks) * KIB),
        2000,
    ),
    "many empty data lines": Shape(lambda n: [b"data\n" * n + b"\n"], decode, 2000),
    "many events in 16-byte chunks": Shape(
        lambda n: in_chunks(b"id: 1\nevent: e\ndata: xyz\n\n" * n, 16), decode, 250
    ),
    "many events byte by byte": Shape(lambda n: in_chunks(b"data: xyz\n\n" * n, 1), decode, 60),
    "many ids": Shape(lambda n: [b"id: 12345\n" * n + b"\n"], decode, 1000),
    "many ids and blank lines": Shape(lambda n: [b"id: 12345\n\n" * n], decode, 1000),
    "many comments": Shape(
        lambda n: [b": ping\n" * n],
        lambda twin, chunks: decode(twin, chunks, on_comment=ignore),
        1500,
    ),
    "many event types": Shape(
        lambda n: [b"".join(b"event: %d\ndata\n\n" % i for i in range(n))], decode, 500
    ),
    "bytes that are not UTF-8": Shape(lambda n: [b"data: " + b"\xff" * n + b"\n\n"], decode, 4000),
    "lines: one in 1 KiB chunks": Shape(lambda n: [*[b"x" * KIB] * n, b"\n"], split, 375),
    "lines: CR only": Shape(lambda n: [b"\r" * n], split, 10_000),
    "lines: CR only, by 16 bytes": Shape(lambda n: in_chunks(b"\r" * n, 16), split, 5000),
    "blocks: one in 1 KiB chunks": Shape(
        lambda n: [b":\n\n", *[b"x" * KIB] * n, b"\n\n"], split_blocks, 375
    ),
    "blocks: one of many lines in 1 KiB chunks": Shape(
        lambda n: in_chunks(b"\n" + b"data: x\n" * n + b"\n", KIB), split_blocks, 2000
    ),
    "blocks: one of many lines": Shape(
        lambda n: [b"\n", b"data: x\n" * n + b"\n"], split_blocks, 4000
    ),
    "blocks: CR only": Shape(lambda n: [b"\r" * n], split_blocks, 3000),
    "blocks: CR only, by 16 bytes": Shape(lambda n: in_chunks(b"\r" * n, 16), split_blocks, 1500),
    "blocks: blank lines, CRLF, byte by byte": Shape(
        lambda n: in_chunks(b"\r\n" * n, 1), split_blocks, 300
    ),
    "blocks: many in 16-byte chunks": Shape(
        lambda n: in_chunks(b"id: 1\nevent: e\ndata: xyz\n\n" * n, 16), split_blocks, 250
    ),
    "blocks: many in 1 KiB chunks, with CRLF": Shape(
        lambda n: in_chunks(b"event: e\r\ndata: xyz\r\n\r\n" * n, KIB), split_blocks, 1000
    ),
    "write: many lines": Shape(lambda n: "x\n" * n, lambda twin, text: twin.encode(text), 10_000),
    "write: many lines that end in CR": Shape(
        lambda n: "x\r" * n, lambda twin, text: twin.encode(text), 10_000
    ),
    "write: many lines that end in CRLF, as bytes": Shape(
        lambda n: b"x\r\n" * n, lambda twin, text: twin.encode(text), 10_000
    ),
    "write: one long line": Shape(
        lambda n: "é" * n * KIB, lambda twin, text: twin.encode(text, id="1"), 250
    ),
    "write: a comment of many lines": Shape(
        lambda n: "x\n" * n, lambda twin, text: twin.encode_comment(text), 2000
    ),
    "write: many events": Shape(
        lambda n: [("x", str(i)) for i in range(n)],
        lambda twin, rows: twin.encode_many([twin.Event(data, id=id) for data, id in rows]),
        500,
    ),
}


# A fault that the test must see: the unfinished line and each new chunk are joined anew.
CONTROL = Shape(SHAPES["one long line in 1 KiB chunks"].make, rejoin, 375)


def main(folder: str, module: str) -> None:
    sys.path.insert(0, folder)
    twin = import_module(module)
    shapes = [*SHAPES.values(), CONTROL]
    made = [(shape.work, shape.make(shape.size), shape.make(2 * shape.size)) for shape in shapes]
    gc.disable()  # when it runs depends on what else is there
    for work, once, twice in made:
        work(twin, twice)  # a first time, uncounted: caches, free lists, the allocator's arenas
        os.getppid()
        work(twin, once)
        os.getppid()
        work(twin, twice)
        os.getppid()


if __name__ == "__main__":
    main(*sys.argv[1:3])
