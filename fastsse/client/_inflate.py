"""Bodies in gzip, zlib or raw deflate, decompressed a bounded piece at a time.

A body in gzip may have several members, one after the other, which some servers write for each event. The libraries of
HTTP that know the first one alone lose what follows.

The module knows bytes; it must not know where they come from.
"""

from __future__ import annotations

import zlib

__all__ = ["INFLATED", "Inflate"]

INFLATED = frozenset({"gzip", "x-gzip", "deflate"})  # the codings of HTTP, in small letters

_PIECE = 65536  # bytes decompressed at once
_ANY_HEADER = zlib.MAX_WBITS | 32  # of gzip or zlib


class Inflate:
    """The decompressor of one body."""

    __slots__ = ("_begun", "_engine", "_rest")

    def __init__(self) -> None:
        self._engine = zlib.decompressobj(_ANY_HEADER)
        self._begun = False
        self._rest = b""  # came, but is not decompressed yet

    def feed(self, chunk: bytes) -> bytes:
        """Decompress what waits, and then a chunk. Returns 64 KiB at most; b"" when nothing waits.

        Raises:
            zlib.error: the bytes are not compressed in any of these ways.
        """
        rest = self._rest + chunk
        out = b""
        while rest and not out:
            out = self._expand(rest)
            engine = self._engine
            rest = engine.unused_data or engine.unconsumed_tail
            if engine.eof:  # what follows is the next member of a gzip stream
                self._engine = zlib.decompressobj(_ANY_HEADER)
        self._rest = rest
        return out

    def _expand(self, chunk: bytes) -> bytes:
        try:
            out = self._engine.decompress(chunk, _PIECE)
        except zlib.error:
            if self._begun:
                raise
            self._engine = zlib.decompressobj(-zlib.MAX_WBITS)  # "deflate" without a header
            out = self._engine.decompress(chunk, _PIECE)
        self._begun = True
        return out
