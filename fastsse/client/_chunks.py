"""The chunked coding undone (RFC 9112, 7.1), many chunks at a time.

http.client reads a line, a piece and a line end for each chunk, which costs more than the event in it. Here all chunks
that one read of the socket gives are joined. Trailers are passed over: nobody reads them, and no connection is used
again.

The module knows the coding; it must not know sockets.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http.client import HTTPException, IncompleteRead

__all__ = ["Chunks"]

_READ = 65536  # bytes read at once
_LONGEST_LINE = 4096  # bytes of a chunk's size and extensions
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]*|\r?)\n")


class Chunks:
    """A body in the chunked coding.

    Args:
        read: gives as many bytes as there are, up to the number that it is called with; b"" at the end.
    """

    __slots__ = ("_after", "_broken", "_left", "_over", "_read", "_rest")

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._left = 0  # bytes of the chunk at hand that are to come
        self._after = False  # a line end is to come, which closes a chunk
        self._rest = b""  # the beginning of a line
        self._over = False
        self._broken = False  # what follows the bytes that were given is no chunk

    def read(self) -> bytes:
        """Return the bytes that have come, as soon as there are any; b"" at the end.

        Raises:
            HTTPException: the coding is broken, or cut off.
        """
        while not self._over:
            if self._broken:
                raise HTTPException("the size of a chunk is none")
            more = self._read(_READ)
            if not more:
                raise IncompleteRead(b"")
            data = self._take(self._rest + more if self._rest else more)
            if data:
                return data
        return b""

    def _take(self, data: bytes) -> bytes:
        """Cut what came into chunks, and return them joined."""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end or self._left:
            if self._left:
                pieces.append(data[at : at + self._left])
                at += self._left
                self._left = max(at - end, 0)
                if at >= end:
                    break
            line = _SIZE.match(data, at + 2 if self._after else at)
            if line is None or (self._after and data[at : at + 2] != b"\r\n"):
                self._broken = not self._may_go_on(data[at:])
                break
            self._left = int(line[1], 16)
            self._after = True
            at = line.end()
            if not self._left:
                self._over = True
                break
        self._rest = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _may_go_on(self, line: bytes) -> bool:
        """Return True when more bytes may make a chunk's size of what there is."""
        if self._after:
            if not b"\r\n".startswith(line[:2]):
                return False
            line = line[2:]
        return b"\n" not in line and len(line) <= _LONGEST_LINE
