"""How much a process grows while it fills something, measured in a child: an allocator keeps what it once had.

``python tests/support/grown.py SHAPE`` fills one shape and prints, as JSON, the bytes of resident memory that came with
it and what fastsse says that it holds.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["FOLLOWED", "KEPT", "grow"]

Names = Iterator[tuple[str, ...]]


def grow(shape: str) -> dict[str, int]:
    """Fill a shape in a process of its own.

    Returns:
        ``resident`` and ``told`` bytes.
    """
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), shape],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def resident() -> int:
    gc.collect()
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * 4096


# Followed names: one audience each.


def _own() -> Names:
    for n in range(12_000):
        yield (f"prices/user/{n:018d}",)


def _hundred(pad: str) -> Callable[[], Names]:
    def names() -> Names:
        for n in range(120):
            yield tuple(f"{100 * n + m:06d}{pad}" for m in range(100))

    return names


def _of_a_thousand() -> Names:
    rng = random.Random(1)
    for _ in range(600):
        yield tuple(sorted(f"topic{n:020d}" for n in rng.sample(range(1000), 100)))


def _with_everybody() -> Names:
    for n in range(12_000):
        yield "everybody", f"user{n:020d}"


FOLLOWED: dict[str, Callable[[], Names]] = {
    "one name each": _own,
    "100 names each": _hundred(""),
    "100 names each of 256 bytes, with an emoji": _hundred("x" * 246 + "😀"),
    "100 of the same thousand names": _of_a_thousand,
    "one name each beside everybody's": _with_everybody,
}


def _follow(shape: str) -> dict[str, int]:
    from fastsse.broadcast import Settings
    from fastsse.broadcast.hub.audiences import Audiences
    from fastsse.broadcast.hub.topics import TopicLimits

    audiences = Audiences(TopicLimits(Settings()).of_stream)
    somebody: Any = object()
    names = [json.dumps(topics) for topics in FOLLOWED[shape]()]

    def fill() -> int:
        for topics in names:
            found = audiences.find(tuple(json.loads(topics)), False, None, 0.0)
            found.members[somebody] = None
        return audiences.size

    return _measure(fill)


# Kept events: the topics and the size of each.

Kept = Iterator[tuple[tuple[str, ...], int]]


def _one_by_one(events: int, topics: int, pad: str, size: int) -> Callable[[], Kept]:
    def published() -> Kept:
        for n in range(events):
            yield (f"{n % topics:05d}{pad}",), size

    return published


def _to_many(events: int, sets: int, pad: str) -> Callable[[], Kept]:
    def published() -> Kept:
        for n in range(events):
            yield tuple(f"{n % sets:03d}/{m:02d}{pad}" for m in range(100)), 10

    return published


def _fresh_beside(events: int) -> Callable[[], Kept]:
    """Publish events that have 20 topics each, which are forgotten soon, beside one that stays."""

    def published() -> Kept:
        for n in range(events):
            yield ("0", *(f"{n:05d}/{m:02d}" + "x" * 244 + "😀" for m in range(20))), 10

    return published


_EMOJI = "x" * 247 + "😀"
KEPT: dict[str, Callable[[], Kept]] = {
    "small, one topic": _one_by_one(20_000, 1, "", 40),
    "empty, one topic": _one_by_one(20_000, 1, "", 0),
    "small, 100 topics of 256 bytes": _one_by_one(20_000, 100, _EMOJI, 40),
    "one event each": _one_by_one(15_000, 15_000, "", 40),
    "one event each, topics with an emoji": _one_by_one(10_000, 10_000, _EMOJI, 40),
    "20 events each": _one_by_one(20_000, 3_000, "", 40),
    "100 topics at once, 15 sets": _to_many(800, 15, _EMOJI),
    "100 topics at once, each once": _to_many(120, 120, _EMOJI),
    "fresh topics beside one that stays": _fresh_beside(900),
    "of 1 KiB": _one_by_one(15_000, 10, "", 1000),
    "of 64 KiB": _one_by_one(200, 20, "", 65_000),
}


def _keep(shape: str) -> dict[str, int]:
    from fastsse import encode
    from fastsse.broadcast.hub.history import History, Record

    history = History(kept=lambda _: (2_000, 2**20), total=64 * 2**20, topics=15_000)
    if "one topic" in shape:
        history = History(kept=lambda _: (10**6, 2**30), total=2**30, topics=15_000)
    if "stays" in shape:
        history = History(kept=lambda _: (2_000, 2**24), total=2**30, topics=1_000)
    made = KEPT[shape]()

    def fill() -> int:
        for position, (topics, size) in enumerate(made, 10**6):
            names = tuple(json.loads(json.dumps(topics)))  # strings of its own, as a request brings
            block = b"id: 65f0c0de1234-%d\n%b" % (position, encode("x" * size))
            history.append(Record(position, names, block))
        return history.size

    return _measure(fill)


def _measure(fill: Callable[[], int]) -> dict[str, int]:
    before = resident()
    told = fill()
    return {"resident": resident() - before, "told": told}


if __name__ == "__main__":
    shape = sys.argv[1]
    print(json.dumps(_keep(shape) if shape in KEPT else _follow(shape)))
