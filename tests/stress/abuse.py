"""Attack a hub from 200 addresses beside honest readers: ``python tests/stress/abuse.py --seconds 120`` (Linux).

A server has keys and quotas. A thousand readers with tokens follow one topic, to which an honest publisher sends ten
events in a second. After a quiet phase the attacks of `plans` begin, all at once and from addresses of 127/8: forged,
expired and strange tokens, publishes and streams over quota, garbage, slow heads and bodies, and what is too large in
every place. They send some 300 requests in a second, from one process, so that they are not what takes the processor.
A second quiet phase follows.

The run fails where

- the 99th percentile of honest readers is over `--factor` times that of the quiet phases;
- an honest stream ends, lacks an event, or has one that nobody honest has published;
- an attack is answered otherwise than its line says;
- a refusal is not counted by its reason in ``/metrics``;
- the memory of the server grows by more than `GROWTH`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

from prometheus_client.parser import text_string_to_metric_families
from stress import attackers
from stress.honest import Honest
from stress.plans import Line, attacks, plan, token
from support.servers import Server, serve
from support.starts import tree
from support.tokens import AUDIENCE, bearer, key_flags, write_keys

RATE = 10.0  # honest events in a second
GROWTH = 64.0  # MiB
FLAGS = (
    *("--audience", AUDIENCE, "--max-bodies", "30"),
    *("--opens-per-second", "5", "--posts-per-second", "12", "--streams-per-address", "60"),
)


class Wait(NamedTuple):
    """Seconds from publish to arrival."""

    median: float
    p99: float

    @classmethod
    def of(cls, latencies: list[float]) -> Wait:
        """Take both from a sorted list."""
        last = len(latencies) - 1
        return cls(latencies[last // 2], latencies[int(0.99 * last)])

    def __str__(self) -> str:
        return f"{self.median * 1000:.1f} ms median, {self.p99 * 1000:.1f} ms p99"


class Verdict(NamedTuple):
    """How a run went.

    Attributes:
        faults: what is wrong, but for the time of honest events; nothing: all was borne.
        quiet, attacked: from publish to arrival at all honest readers.
        answers: by attack and status.
        growth: MiB of memory that the server grew by.
        counted: what grew in ``/metrics``, by family and reason.
        processor: shares of one core that the server and the attackers took.
    """

    faults: list[str]
    quiet: Wait
    attacked: Wait
    answers: dict[str, dict[int, int]]
    growth: float
    counted: Counter[tuple[str, str]]
    processor: tuple[float, float]


async def run(readers: int, seconds: float, quiet: float, share: float, only: str = "") -> Verdict:
    """Run all attacks once.

    Args:
        readers: honest ones.
        seconds: of the attacks.
        quiet: seconds of each quiet phase.
        share: what the rates of attacks are multiplied by.
        only: a text that the names of attacks must have, to find which of them costs most.
    """
    lines = [line for line in plan(share) if only in line.attack.name]
    with tempfile.TemporaryDirectory() as folder:
        keys = write_keys(Path(folder))
        with serve(*key_flags(keys), *FLAGS) as server:
            honest = Honest(server)
            try:
                await honest.open(readers)
                return await _phases(server, honest, lines, seconds, quiet)
            finally:
                honest.close()


async def _phases(
    server: Server, honest: Honest, lines: list[Line], seconds: float, quiet: float
) -> Verdict:
    await honest.publish(2, RATE)  # growth in the first events does not count
    calm = await honest.publish(quiet, RATE)
    memory, before, busy = _memory(server), await _metrics(server), _busy(server)
    began = time.monotonic()
    attacking = asyncio.create_task(_attack(server, lines, seconds))
    hot = await honest.publish(seconds, RATE)
    told = await attacking
    took = time.monotonic() - began
    busy = (_busy(server) - busy) / took
    growth, counted = _memory(server) - memory, await _metrics(server) - before
    calm = sorted(calm + await honest.publish(quiet, RATE))
    answers = {
        name: {int(status): count for status, count in found.items()}
        for name, found in told["answers"].items()
    }
    faults = [*honest.faults(), *strange(lines, answers), *uncounted(lines, answers, counted)]
    if growth > GROWTH:
        faults.append(f"the server grew by {growth:.0f} MiB")
    processor = busy, told["seconds"] / took
    return Verdict(faults, Wait.of(calm), Wait.of(hot), answers, growth, counted, processor)


async def _attack(server: Server, lines: list[Line], seconds: float) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, attackers.__file__, str(server.port), str(seconds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        out, _ = await process.communicate(json.dumps(attacks(lines)).encode())
    finally:
        if process.returncode is None:
            process.kill()
    return json.loads(out)


def strange(lines: list[Line], answers: dict[str, dict[int, int]]) -> list[str]:
    """Find the answers that an attack must not get, and attacks that were not answered at all."""
    found = []
    for line in lines:
        got = answers.get(line.attack.name, {})
        found += [
            f"{line.attack.name}: {count} answers of {status}"
            for status, count in got.items()
            if status not in {*line.statuses, 0, -1}
        ]
        if 0 not in line.statuses and not sum(got.get(status, 0) for status in line.statuses):
            found.append(f"{line.attack.name}: no answer")
    return found


def uncounted(
    lines: list[Line], answers: dict[str, dict[int, int]], counted: Counter[tuple[str, str]]
) -> list[str]:
    """Find refusals that `/metrics` does not have by their reason."""
    found = []
    for line in lines:
        found += [f"{line.attack.name}: {met} did not grow" for met in line.met if not counted[met]]
        got = answers.get(line.attack.name, {})
        refused = got.get(401, 0) + got.get(403, 0)
        known = sum(counted["fastsse_denied_total", reason] for reason in line.counted)
        if line.counted and known < refused:
            found.append(f"{line.attack.name}: {refused} refused, {known} counted")
    return found


async def _metrics(server: Server) -> Counter[tuple[str, str]]:
    """Read the counters that have a label of their own."""
    headers = bearer(token("operator", {"operator": True}))
    reply = await asyncio.to_thread(server.request, "GET", "/metrics", None, headers)
    assert reply.status == 200, reply
    found: Counter[tuple[str, str]] = Counter()
    for family in text_string_to_metric_families(reply.body.decode()):
        for sample in family.samples:
            if len(sample.labels) == 1 and sample.name.endswith("_total"):
                found[sample.name, next(iter(sample.labels.values()))] = int(sample.value)
    return found


def _memory(server: Server) -> float:
    """Return the MiB of memory of all processes of a server."""
    pages = sum(
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in tree({server.process.pid})
    )
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _busy(server: Server) -> float:
    """Return the seconds of processor time that all processes of a server have taken."""
    ticks = 0
    for pid in tree({server.process.pid}):
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run, print, and return 1 where something was not borne."""
    parser = argparse.ArgumentParser(description="Attacks beside honest readers.")
    parser.add_argument("--seconds", type=float, default=120.0, help="of the attacks (%(default)s)")
    parser.add_argument("--quiet", type=float, default=20.0, help="seconds of each quiet phase")
    parser.add_argument("--readers", type=int, default=1000, help="honest ones (%(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="of the attacks' rates")
    parser.add_argument("--factor", type=float, default=1.2, help="by which honest events may wait")
    parser.add_argument("--only", default="", help="attacks whose names have this text")
    given = parser.parse_args()
    verdict = asyncio.run(run(given.readers, given.seconds, given.quiet, given.share, given.only))
    faults = list(verdict.faults)
    for name, got in verdict.answers.items():
        print(f"{name:24} {dict(sorted(got.items()))}")
    for (family, reason), count in sorted(verdict.counted.items()):
        print(f"{family} {reason}: {count}")
    server, attacking = verdict.processor
    print(f"processor: the server {server:.0%} of one core, the attackers {attacking:.0%}")
    print(f"memory: {verdict.growth:+.1f} MiB; at most {GROWTH:+.0f}")
    ratio = verdict.attacked.p99 / verdict.quiet.p99
    print(
        f"honest events, quiet: {verdict.quiet}; attacked: {verdict.attacked}; p99 {ratio:.2f} times"
    )
    if ratio > given.factor:
        faults.append(f"honest readers waited {ratio:.2f} times as long")
    print("\n".join(faults) or "all borne")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
