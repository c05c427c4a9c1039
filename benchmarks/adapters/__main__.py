"""Measure what a token costs by each adapter, beside its framework's own way, in one run.

Both ways of a framework are up at once, under one kind of server, and are measured in turns: streams are opened, and
the CPU time of the server's processes is divided by the tokens that came meanwhile. The middle of the rounds counts.
Trust the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = "benchmarks.adapters.apps"
STREAMS = 50  # where a stream needs no thread
THREADS = 32
TICK = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parents[2]


class Case(NamedTuple):
    """One framework under one server.

    Attributes:
        name: the framework's.
        ways: names of functions in `apps`, the framework's own way first, ours last.
        command: serves one of them; APP and PORT stand for it.
        streams: how many are open.
    """

    name: str
    ways: tuple[str, ...]
    command: tuple[str, ...]
    streams: int = STREAMS


UVICORN = ("uvicorn", "--factory", "--no-access-log", "--port", "PORT", f"{HERE}:APP")
GUNICORN = ("gunicorn", "-k", "gthread", "--threads", str(THREADS + 4))
GUNICORN += ("-b", "127.0.0.1:PORT", f"{HERE}:APP()")
OWN = (HERE, "APP", "PORT")

CASES = [
    Case("Litestar, uvicorn", ("litestar_own", "litestar_stream", "litestar_ours"), UVICORN),
    Case("aiohttp", ("aiohttp_own", "aiohttp_ours"), OWN),
    Case("Sanic", ("sanic_own", "sanic_ours"), OWN),
    Case("Quart, uvicorn", ("quart_own", "quart_ours"), UVICORN),
    Case("Django, uvicorn", ("django_own", "django_ours"), UVICORN),
    Case("Django, gunicorn gthread", ("djangowsgi_own", "djangowsgi_ours"), GUNICORN, THREADS),
    Case("Flask, gunicorn gthread", ("flask_own", "flask_async", "flask_ours"), GUNICORN, THREADS),
]
TITLES = {
    "litestar_own": "`ServerSentEvent`",
    "litestar_stream": "`Stream` of bytes",
    "aiohttp_own": "`StreamResponse.write`",
    "sanic_own": "`response.send`",
    "quart_own": "`Response` of bytes",
    "django_own": "`StreamingHttpResponse`",
    "djangowsgi_own": "`StreamingHttpResponse`",
    "flask_own": "`Response` of bytes",
    "flask_async": "ours, async items",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="frameworks whose name has this in it")
    options = parser.parse_args()
    print("| framework, server | way | µs of CPU a token | to its own way |")
    print("|---|---|---|---|")
    for case in CASES:
        if options.only.lower() in case.name.lower():
            report(case, measure(case, options.seconds, options.rounds))


def report(case: Case, found: dict[str, float]) -> None:
    own = found[case.ways[0]]
    for way in case.ways:
        title = TITLES.get(way, "ours")
        print(f"| {case.name} | {title} | {found[way]:.0f} | {found[way] / own:.2f} |", flush=True)


def measure(case: Case, seconds: float, rounds: int) -> dict[str, float]:
    """Return microseconds of CPU a token for each way."""
    costs: dict[str, list[float]] = {way: [] for way in case.ways}
    with contextlib.ExitStack() as stack:
        servers = {way: stack.enter_context(served(case, way)) for way in case.ways}
        for _ in range(rounds):
            for way, (process, port) in servers.items():
                cost = asyncio.run(cost_of(process.pid, port, case.streams, seconds))
                costs[way].append(cost)
    return {way: statistics.median(found) for way, found in costs.items()}


@contextlib.contextmanager
def served(case: Case, way: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Serve one way until it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = [word.replace("APP", way).replace("PORT", str(port)) for word in case.command]
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(process, port)
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} has ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args} is not ready after a minute")


async def cost_of(pid: int, port: int, streams: int, seconds: float) -> float:
    """Open streams, and return the CPU time of a process tree for each token, in microseconds."""
    counts = [0]
    readers = [asyncio.create_task(read(port, counts)) for _ in range(streams)]
    try:
        while counts[0] < streams * 5:
            await asyncio.sleep(0.05)
            for reader in readers:
                if reader.done():
                    reader.result()
        before, cpu = counts[0], cpu_of(pid)
        await asyncio.sleep(seconds)
        spent, came = cpu_of(pid) - cpu, counts[0] - before
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        await asyncio.sleep(0.3)  # for the server to notice
    expected = streams * seconds / 0.05
    assert came > expected * 0.25, f"{came} of {expected:.0f} tokens came"
    return spent / came * 1e6


async def read(port: int, counts: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    try:
        while chunk := await reader.read(65536):
            counts[0] += chunk.count(b"token ")
        raise RuntimeError("a stream has ended")
    finally:
        writer.transport.abort()


def cpu_of(pid: int) -> float:
    """Add up the CPU seconds of a process and its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    spent = (int(fields[11]) + int(fields[12])) / TICK
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return spent + sum(cpu_of(int(child)) for child in children)


if __name__ == "__main__":
    main()
