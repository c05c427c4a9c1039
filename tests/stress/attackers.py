"""Play a plan of attacks from many addresses: ``python tests/stress/attackers.py PORT SECONDS``, in its own process.

The plan comes as JSON on standard input: for each attack its name, its requests, how many are sent in a second, and how
long a connection is held. Each request has a connection of its own, from one of `ADDRESSES` of the loopback network. In
the end the answers are printed as JSON, by attack and status; 0 stands for a connection without an answer.

The attackers know bytes and times. A plan is made in `plans`, and judged in `abuse`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from collections import Counter, defaultdict
from typing import Any, NamedTuple

ADDRESSES = [f"127.66.{number // 100}.{1 + number % 100}" for number in range(200)]
AT_ONCE = 1500  # connections of one process; an attack that finds no room leaves a turn out
PATIENCE = 10.0  # s that an answer may take
STEP = 0.5  # s between two bytes of a slow request


class Attack(NamedTuple):
    """One line of a plan.

    Attributes:
        name: of the attack.
        rate: requests in a second.
        requests: sent in turn, as text of Latin-1.
        hold: seconds that an answered connection stays open.
        slow: seconds for which a request goes on, a byte at a time; 0: all at once.
    """

    name: str
    rate: float
    requests: list[str]
    hold: float = 0.0
    slow: float = 0.0


class Attackers:
    """All attacks of one plan.

    Attributes:
        answers: by attack and status.
    """

    def __init__(self, port: int) -> None:
        self.answers: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._port = port
        self._addresses = itertools.cycle(ADDRESSES)
        self._open: set[asyncio.Task[None]] = set()

    async def play(self, attacks: list[Attack], seconds: float) -> None:
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._repeat(attack, end) for attack in attacks))
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _repeat(self, attack: Attack, end: float) -> None:
        """Send the requests of one attack, at moments that no other attack's depend on."""
        requests = itertools.cycle(attack.requests)
        chance = random.Random(attack.name)
        due = time.monotonic() + chance.expovariate(attack.rate)
        while (now := time.monotonic()) < end:
            if now < due:
                await asyncio.sleep(due - now)
            # No burst makes up for a late turn.
            due = max(due, now - 0.2) + chance.expovariate(attack.rate)
            if len(self._open) < AT_ONCE:
                task = asyncio.create_task(self._send(attack, next(requests).encode("latin-1")))
                self._open.add(task)
                task.add_done_callback(self._open.discard)

    async def _send(self, attack: Attack, request: bytes) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, local_addr=(next(self._addresses), 0)
                )
        except OSError:
            self.answers[attack.name][-1] += 1
            return
        try:
            status = await self._converse(attack, request, reader, writer)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            status = 0  # closed without an answer
        self.answers[attack.name][status] += 1
        try:
            if status == 200:
                await asyncio.sleep(attack.hold)
        finally:
            writer.transport.abort()

    async def _converse(
        self,
        attack: Attack,
        request: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> int:
        if attack.slow:
            first = asyncio.create_task(reader.readexactly(12))
            try:
                await _drip(request, writer, attack.slow, first)
                return int(first.result()[9:]) if first.done() else 0
            finally:
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
        async with asyncio.timeout(PATIENCE):
            writer.write(request)
            return int((await reader.readexactly(12))[9:])


async def _drip(
    request: bytes, writer: asyncio.StreamWriter, seconds: float, answer: asyncio.Task[bytes]
) -> None:
    """Send half of a request, and the rest a byte at a time, until there is an answer."""
    half = len(request) // 2
    writer.write(request[:half])
    end = time.monotonic() + seconds
    for byte in request[half:]:
        if answer.done() or time.monotonic() > end:
            return
        writer.write(bytes([byte]))
        await asyncio.wait([answer], timeout=STEP)


def main() -> None:
    plan: list[Any] = json.load(sys.stdin)
    attackers = Attackers(int(sys.argv[1]))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            attackers.play([Attack(*attack) for attack in plan], float(sys.argv[2])),
        )
    print(json.dumps({"answers": attackers.answers, "seconds": time.process_time()}))


if __name__ == "__main__":
    main()
