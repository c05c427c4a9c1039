"""Compare the client with its peers over real sockets; a server under granian has a processor of its own.

Readers take turns in every round. Shown is the median over the rounds: events a second by the wall clock, the
processor time of the reader's thread for an event, and how many times as long each peer takes. A reader whose answer is
not whole is told, and has no figure. ``--judge`` fails when a bar does not hold.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import fastsse
from benchmarks import chart
from benchmarks.client.readers import TASKS, Reader, readers, versions
from benchmarks.client.server import EVENT
from benchmarks.compare import describe_machine

OUT = Path(__file__).parents[2] / "build" / "bench-client"
CHARACTERS = len(fastsse.decode(EVENT)[0].data)
BARS = {  # task, events a chunk, peer: how many times as long it must take
    ("httpx2", 100, "httpx2"): 4.0,
    ("httpx2", 100, "httpx-sse"): 4.0,
    ("httpx2", 1, "httpx2"): 1.0,
    ("httpx2", 1, "httpx-sse"): 1.0,
    ("httpx2 async", 100, "httpx2"): 4.0,
    ("httpx2 async", 100, "httpx-sse"): 4.0,
    ("httpx2 async", 1, "httpx2"): 1.0,
    ("httpx2 async", 1, "httpx-sse"): 1.0,
    ("aiohttp", 100, "aiohttp-sse-client"): 8.0,
    ("stdlib", 100, "sseclient-py"): 5.0,
}
PANELS = (
    chart.Panel("httpx2 100", "Over httpx2", "100 events a chunk"),
    chart.Panel("httpx2 1", "Over httpx2, event by event", "one event a chunk"),
    chart.Panel("aiohttp 100", "Over aiohttp", "100 events a chunk"),
    chart.Panel("stdlib 100", "Standard library", "100 events a chunk; sseclient-py over requests"),
)


def main(arguments: list[str] | None = None) -> int:
    """Run, print, write. Return 1 when a bar does not hold under ``--judge``."""
    given = _parser().parse_args(arguments)
    processors = _processors()
    rows: list[dict[str, Any]] = []
    with serving(processors[:-1]) as port:
        _pin(processors[-1:])
        for task in TASKS:
            for size in (100, 1):
                count = given.events if size == 100 else given.events // 4
                row = measure(task, size, count, given.rounds, f"http://127.0.0.1:{port}")
                rows.append(row)
                _print(row)
    found = {
        "rows": rows,
        "environment": describe_machine(),
        "versions": {"fastsse": fastsse.__version__, **versions()},
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "client.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    for name, drawn in chart.both(found, PANELS).items():
        (given.out / name.replace("chart", "client")).write_text(drawn, "utf-8")
    return _judge(rows) if given.judge else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="read in each sample")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--judge", action="store_true", help="fail when a bar does not hold")
    parser.add_argument("--out", type=Path, default=OUT, help="for client.json and two charts")
    return parser


def measure(task: str, size: int, count: int, rounds: int, base: str) -> dict[str, Any]:
    """Let the readers of a task take turns."""
    count -= count % size
    url = f"{base}/{size}/{count}"
    field = readers(task)
    wrong = {name for name, read in field.items() if read(url, count) != count * CHARACTERS}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in field}
    for number in range(rounds):
        names = [*field][number % len(field) :] + [*field][: number % len(field)]
        for name in names:
            if name not in wrong:
                samples[name].append(_sample(field[name], url, count))
    contenders: dict[str, Any] = {}
    for name, taken in samples.items():
        if name in wrong:
            contenders[name] = {"right": False}
            continue
        pairs = zip(taken, samples["fastsse"], strict=True)
        contenders[name] = {
            "ns": median(cpu for _, cpu in taken),
            "rate": count / median(wall for wall, _ in taken),
            "ratio": median(mine / ours for (_, mine), (_, ours) in pairs),
            "wall_ratio": median(
                mine / ours for (mine, _), (ours, _) in zip(taken, samples["fastsse"], strict=True)
            ),
            "right": True,
        }
    return {"task": f"{task} {size}", "events": count, "contenders": contenders}


def _sample(read: Reader, url: str, count: int) -> tuple[float, float]:
    """Return the seconds by the wall clock, and the processor's nanoseconds of one event."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    read(url, count)
    return time.perf_counter() - wall, (time.process_time() - cpu) / count * 1e9


@contextmanager
def serving(processors: list[int]) -> Iterator[int]:
    """Run the server on these processors until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "benchmarks.client.server", str(port)]
    process = subprocess.Popen(command, preexec_fn=lambda: _pin(processors))
    try:
        until = time.monotonic() + 20
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the server does not start")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _processors() -> list[int]:
    """List the processors that we may use; one alone serves both sides."""
    if not hasattr(os, "sched_getaffinity"):
        return [0, 0]
    found = sorted(os.sched_getaffinity(0))
    return found if len(found) > 1 else found * 2


def _pin(processors: list[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors)


def _print(row: dict[str, Any]) -> None:
    task, _, size = row["task"].rpartition(" ")
    print(f"\n{task}, {size} a chunk, {row['events']:,} events")
    for name, it in row["contenders"].items():
        if not it["right"]:
            print(f"  {name:20} gave a wrong answer")
            continue
        print(
            f"  {name:20} {it['rate']:12,.0f} events/s   {it['ns']:8,.0f} ns of processor an event"
            f"   × {it['wall_ratio']:5.2f} wall   × {it['ratio']:5.2f} processor",
            flush=True,
        )


def _judge(rows: list[dict[str, Any]]) -> int:
    failed = 0
    print()
    for (task, size, peer), least in BARS.items():
        row = next(row for row in rows if row["task"] == f"{task} {size}")
        it = row["contenders"].get(peer)
        if it is None or not it["right"]:
            print(f"  - {task} {size}: {peer} was not measured")
            continue
        holds = it["wall_ratio"] >= least
        failed += not holds
        word = "holds" if holds else "FAILS"
        print(
            f"  {word} {task} {size}: {peer} takes {it['wall_ratio']:.2f} times as long, bar {least}"
        )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
