"""A SQLite store whose process is killed at random points: nothing that was acknowledged may be missing.

    python tests/stress/sqlite.py --rounds 50 [--appends 20000] [--mode full|normal] [--seed 1]

Each round starts a process that appends from many tasks at once and writes down what was acknowledged. The process is
killed at a random point (SIGKILL); the log is then opened here, and must have each acknowledged event at its position,
no position twice, no position free. The publisher then repeats its unanswered events with their keys, in the next
round: each must be in the log once. The rounds go on with one and the same file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from fastsse.broadcast import Draft
from fastsse.broadcast.stores.sqlite import SqliteStore

__all__ = ["run"]

_TASKS = 50
_LINE = "{position} {name}\n"


async def _append(path: str, mode: str, first: int, count: int) -> None:
    """Append events `first` and following, and write each acknowledged one to the standard output."""
    store = SqliteStore(path, synchronous="full" if mode == "full" else "normal")
    await store.open()
    names = iter(range(first, first + count))

    async def publish() -> None:
        for name in names:
            draft = Draft(("a", f"t{name % 10}"), f"data: {name}\n\n".encode())
            position = await store.append(draft, f"key-{name}")
            os.write(1, _LINE.format(position=position, name=name).encode())

    await asyncio.gather(*(publish() for _ in range(_TASKS)))
    await store.close()


async def _read(path: Path) -> dict[int, int]:
    """Return the names of all events by position."""
    store = SqliteStore(path)
    await store.open()
    found: dict[int, int] = {}
    at = 0
    while (page := await store.scan(at, 2**22)).end > at:
        for entry in page.entries:
            found[entry.position] = int(entry.block.removeprefix(b"data: "))
        at = page.end
    await store.close()
    return found


def run(rounds: int, appends: int, mode: str, seed: int, path: Path) -> int:
    """Run the rounds; return how many events were acknowledged, or raise AssertionError with the seed."""
    chance = random.Random(seed)
    known: dict[int, int] = {}
    acknowledged = 0
    per_round = max(100, 2 * appends // rounds)  # of which half are reached, by chance
    for number in range(rounds):
        first = max(0, max(known.values(), default=0) - _TASKS)  # repeats the unanswered ones
        found = _round(path, mode, first, per_round, chance)
        acknowledged += len(found)
        log = asyncio.run(_read(path))
        where = f"round {number}, seed {seed}"
        for position, name in found.items():
            assert log.get(position) == name, f"{where}: event {name} is not at {position}"
        for position, name in known.items():
            assert log.get(position) == name, f"{where}: event {name} has left {position}"
        assert list(log) == list(range(1, len(log) + 1)), f"{where}: a position is free"
        assert len(set(log.values())) == len(log), f"{where}: an event is there twice"
        known = log
        print(f"{where}: {len(found)} acknowledged, {len(log)} in the log", flush=True)
    return acknowledged


def _round(path: Path, mode: str, first: int, count: int, chance: random.Random) -> dict[int, int]:
    """Run one publisher until it is killed; return what was acknowledged to it."""
    command = [sys.executable, __file__, "--child", str(path), mode, str(first), str(10 * count)]
    last = chance.randrange(1, count)
    found: dict[int, int] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith("\n"):  # a line that the kill has cut was not told
                position, name = line.split()
                found[int(position)] = int(name)
            if len(found) == last:
                process.send_signal(signal.SIGKILL)
    assert len(found) >= last, "the publisher has ended by itself"
    return found


def main() -> None:
    """Read the options and run."""
    if sys.argv[1:2] == ["--child"]:
        path, mode, first, count = sys.argv[2:]
        asyncio.run(_append(path, mode, int(first), int(count)))
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--appends", type=int, default=20_000)
    parser.add_argument("--mode", choices=("full", "normal"), default="full")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        total = run(given.rounds, given.appends, given.mode, given.seed, Path(folder) / "log.db")
    print(f"{total} acknowledged in {given.rounds} rounds ({given.mode}), none missing")


if __name__ == "__main__":
    main()
