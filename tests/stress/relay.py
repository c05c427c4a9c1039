"""A GiB of language models' streams through `relay`, equal byte for byte, and how fast that is.

    python tests/stress/relay.py [--mib 1024] [--seed 0]

Four shapes (`support/models.py`) arrive in chunks of random sizes, from one byte to a MiB. Every byte that the response
sends is compared with the upstream's. Then the CPU time of a relay is measured beside that of decoding each event and
writing it again: by the codec alone, and through a whole response each.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random
from time import thread_time
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # as the tests have it

from support.models import STREAMS, chunked

from fastsse import BlockSplitter, Decoder, EventSourceResponse, aiter_events, relay

MIB = 2**20
# The most bytes of a chunk, and of 64 MiB how many are cut so: small chunks take long, and say the same.
SIZES = {1: 0.1, 16: 0.5, 300: 8.0, 4096: 15.4, 65_536: 24.0, MIB: 16.0}
RUNS = 15
WANTED = 5.0  # times the throughput of decode and encode, in reads of 64 KiB at most
SCOPE = {"type": "http", "method": "GET", "headers": [], "query_string": b""}

Send = Callable[[Any], Any]


class Compared:
    """A reader that compares what it is sent with the upstream's stream."""

    def __init__(self, stream: bytes) -> None:
        self._stream = memoryview(stream)
        self._at = 0
        self.complete = False

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            body = message["body"]
            end = self._at + len(body)
            assert self._stream[self._at : end] == body, f"other bytes from {self._at} on"
            self._at = end
            self.complete = not message["more_body"]

    def check(self) -> None:
        assert self.complete, "the body has no end"
        assert self._at == len(self._stream), f"{self._at} bytes of {len(self._stream)}"


async def never() -> Any:
    await asyncio.Event().wait()


async def ignore(_message: Any) -> None:
    pass


async def arriving(chunks: list[bytes]) -> AsyncIterator[bytes]:
    """Yield chunks as from a socket: a few that are ready, then a turn of the loop."""
    for number, chunk in enumerate(chunks):
        if number % 16 == 0:
            await asyncio.sleep(0)
        yield chunk


def streams(random: Random, size: int) -> Iterator[tuple[str, bytes]]:
    """Make the four streams, each of at least `size` bytes."""
    for name, make in STREAMS.items():
        part = make(random, 2000)
        yield name, part * (1 + size // len(part))


async def relay_all(mib: int, seed: int, tell: Callable[[str], object]) -> int:
    """Relay so many MiB; return how many bytes came through, every one equal."""
    random, done = Random(seed), 0
    while done < mib * MIB:
        for name, stream in streams(random, 4 * MIB):
            for most, share in SIZES.items():
                part = stream[: int(share * len(stream) / 64)]
                reader = Compared(part)
                chunks = chunked(part, random, most)
                await relay(arriving(chunks), heartbeat=None)(SCOPE, never, reader.send)
                reader.check()
                done += len(part)
            tell(f"{done / MIB:8.0f} MiB equal, last {name}")
    return done


# How fast.


def relayed_by_the_codec(chunks: list[bytes]) -> None:
    feed = BlockSplitter().feed_joined
    for chunk in chunks:
        feed(chunk)


def rewritten_by_the_codec(chunks: list[bytes]) -> None:
    feed = Decoder().feed
    for chunk in chunks:
        for event in feed(chunk):
            event.encode()


async def relayed(chunks: list[bytes]) -> None:
    await relay(arriving(chunks), heartbeat=None)(SCOPE, never, ignore)


async def rewritten(chunks: list[bytes]) -> None:
    items = aiter_events(arriving(chunks))
    await EventSourceResponse(items, heartbeat=None)(SCOPE, never, ignore)


def timed(work: Callable[[list[bytes]], Any], chunks: list[bytes]) -> float:
    """Return the CPU seconds of the quickest run: others on the machine can only slow one down."""
    spent = []
    for _ in range(RUNS):
        begin = thread_time()
        result = work(chunks)
        if asyncio.iscoroutine(result):
            asyncio.run(result)
        spent.append(thread_time() - begin)
    return min(spent)


def measure(name: str, stream: bytes, most: int | None, chunks: list[bytes]) -> float:
    """Print one row; return how many times the codec's throughput a relay has."""
    codec = [timed(work, chunks) for work in (rewritten_by_the_codec, relayed_by_the_codec)]
    whole = [timed(work, chunks) for work in (rewritten, relayed)]
    label = "blocks" if most is None else f"{most} B"
    speeds = "  ".join(f"{len(stream) / MIB / spent:9.0f}" for spent in (*codec, *whole))
    ratios = [before / after for before, after in (codec, whole)]
    print(f"{name:10} {label:>8}  {speeds}  {ratios[0]:7.1f} {ratios[1]:8.1f}")
    return ratios[0]


def by_block(stream: bytes) -> list[bytes]:
    return BlockSplitter().feed(stream)


def compare(seed: int) -> bool:
    """Print the table; return True where reads of up to 64 KiB are as fast as wanted."""
    print(
        "\nMiB/s of CPU time, and how many times as fast a relay is; chunks of 1 to so many bytes"
    )
    print(f"{'':10} {'chunks':>8}  {'decode+':>9}  {'splitter':>9}  {'response':>9}  {'relay':>9}")
    slowest = float("inf")
    for name, stream in streams(Random(seed), MIB):
        for most in (300, 4096, 65_536):
            ratio = measure(name, stream, most, chunked(stream, Random(seed), most))
        slowest = min(slowest, ratio)
        slowest = min(slowest, measure(name, stream, None, by_block(stream)))
    print(f"the slowest in reads of up to 64 KiB, or block by block: {slowest:.1f}")
    return slowest >= WANTED


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="where to begin (default: %(default)s)")
    given = parser.parse_args()
    done = asyncio.run(relay_all(given.mib, given.seed, print))
    print(f"{done:,} bytes relayed, every one equal")
    return 0 if compare(given.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
