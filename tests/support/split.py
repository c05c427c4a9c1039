"""A second way to cut an event stream into blocks, to judge `BlockSplitter` by: whole streams, one regular expression.

The twins look for lines. This module looks for what stands between two blank lines, and knows nothing of chunks.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from fastsse.errors import BlockTooLarge

__all__ = ["blocks_of", "cut", "is_mixed", "split", "split_joined"]

Split = tuple[list[bytes], bytes | None]  # the blocks, and what is left; None after a failure

_END = rb"(?:\r\n|\r(?!\n)|\n)"
_LINE = rb"[^\r\n]+" + _END
_BLOCK = re.compile(rb"(?:" + _LINE + rb")*" + _END)
_BOM = b"\xef\xbb\xbf"
# A blank line's CRLF after a line that ended in CR or LF alone: only then do the blocks depend on the cuts.
_MIXED = re.compile(rb"[^\r\n](?:\r|\n)\r\n")


def blocks_of(stream: bytes) -> Split:
    """Cut a whole stream: its blocks, and the bytes after the last one."""
    blocks: list[bytes] = []
    at = 0
    first = re.match(_BOM + _END, stream)
    if first:
        blocks.append(first[0])
        at = first.end()
    while block := _BLOCK.match(stream, at):
        blocks.append(block[0])
        at = block.end()
    return blocks, stream[at:]


def is_mixed(stream: bytes) -> bool:
    """Return True when a line ends in CR or LF alone and a blank line after it in CRLF."""
    return _MIXED.search(stream) is not None


def cut(stream: bytes, *places: int) -> list[bytes]:
    """Cut a stream into chunks at these places, in order."""
    return [stream[start:end] for start, end in pairwise((0, *places, len(stream)))]


def split(twin: Any, chunks: list[bytes], limit: int | None = None) -> Split:
    """Feed the chunks to a splitter; return its blocks, and what `finish` says is left."""
    splitter = twin.BlockSplitter(max_block_size=limit)
    blocks: list[bytes] = []
    try:
        for chunk in chunks:
            blocks += splitter.feed(chunk)
    except BlockTooLarge as error:
        return blocks + error.blocks, None
    last, rest = splitter.finish()
    return blocks + last, rest


def split_joined(twin: Any, chunks: list[bytes], limit: int | None = None) -> Split:
    """Feed the chunks by `feed_joined`; return the pieces like `split`."""
    splitter = twin.BlockSplitter(max_block_size=limit)
    pieces: list[bytes] = []
    try:
        for chunk in chunks:
            pieces.append(splitter.feed_joined(chunk))  # noqa: PERF401 - those before a failure count
    except BlockTooLarge as error:
        return pieces + error.blocks, None
    last, rest = splitter.finish()
    return pieces + last, rest
