"""An event stream cut into bodies of whole blocks, each of which can be sent again as it is.

A body has what came at once, so that each event leaves as it arrives, and a fast input leaves in few requests. The
events of a body are counted as the broadcast counts them, because each of them has a number in its key.

The module knows blocks; it must not know requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fastsse import BlockSplitter, BlockTooLarge, Decoder
from fastsse.cli.terminal import Failure

__all__ = ["MOST", "Batch", "batches"]

MOST = 1000  # events of a body: the memory store remembers ten times as many keys
_LARGEST_BLOCK = 64 * 2**20  # bytes that are held of one event
_BOM = b"\xef\xbb\xbf"


class Batch(NamedTuple):
    """One body.

    Attributes:
        body: its bytes.
        first: the number of its first event in the input, from 1.
        events: how many it has.
        offset: bytes of the input before it.
    """

    body: bytes
    first: int
    events: int
    offset: int


def batches(source: Iterable[bytes]) -> Iterator[Batch]:
    """Cut an event stream, which comes in chunks; bytes without an event are left out.

    The last batch has what the end of the stream cuts off, too. An input without events gives one batch without events.

    Raises:
        Failure: an event is too large to be held.
    """
    splitter = BlockSplitter(max_block_size=_LARGEST_BLOCK)
    cutter = _Cutter()
    for chunk in source:
        try:
            blocks, fault = splitter.feed(chunk), None
        except BlockTooLarge as error:
            blocks, fault = error.blocks, error
        yield from cutter.cut(blocks)
        if fault is not None:
            raise Failure(f"event {cutter.first} of the input: {fault}") from fault
    blocks, rest = splitter.finish()
    yield from cutter.cut(blocks)
    if rest or not cutter.given:
        yield cutter.batch(rest, 0)


class _Cutter:
    """The place in the input.

    Attributes:
        first: the number of the next event.
        given: a batch was made.
    """

    def __init__(self) -> None:
        self.first = 1
        self.given = False
        self._offset = 0
        self._decoder = Decoder(max_event_size=None)  # bounded by the splitter

    def cut(self, blocks: list[bytes]) -> Iterator[Batch]:
        """Put blocks together, up to `MOST` events in a batch."""
        body, count = bytearray(), 0
        for block in blocks:
            body += block
            count += len(self._decoder.feed(block))
            if count == MOST:
                yield self.batch(bytes(body), count)
                body, count = bytearray(), 0
        if count:
            yield self.batch(bytes(body), count)
        else:
            self._offset += len(body)

    def batch(self, body: bytes, count: int) -> Batch:
        """Make a batch of the next bytes. A byte-order mark in the middle of the input must not begin a stream."""
        sent = b"\n" + body if self._offset and body.startswith(_BOM) else body
        made = Batch(sent, self.first, count, self._offset)
        self.given = True
        self.first += count
        self._offset += len(body)
        return made
