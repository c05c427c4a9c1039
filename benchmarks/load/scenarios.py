"""The scenarios: what is done to a server, and what is measured of it. Each starts its contender anew."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from benchmarks.load import machine
from benchmarks.load.build import Unavailable
from benchmarks.load.measure import medians, phase, quiet
from benchmarks.load.processes import Failed, Generator, Server
from benchmarks.load.servers import Contender

__all__ = [
    "Plan",
    "fanout",
    "idle",
    "inside",
    "memory",
    "replay",
    "stalled",
    "storm",
    "topics",
    "turns",
]

SIZE = 100  # bytes of an event's data
TURN = 1.0  # s of a phase of contenders that take turns
TURN_RATE = 60_000  # deliveries a second, by the clock
STALL_SIZE = 10_000
STALL_RATE = 100  # events a second
CALM = 10  # s of light traffic, after which allocators have given back what they keep for a while
STALL_HISTORY = (
    1800  # events of STALL_SIZE that fill the history of "fastsse roomy", so that it grows no more
)

Result = dict[str, Any]


class Plan(NamedTuple):
    """How much of everything a run does.

    Attributes:
        rounds: how often a scenario is measured with fresh processes; medians are compared.
        seconds: how long a phase lasts.
        turns: phases of each contender that takes turns, in each round.
        tries: how often a phase is repeated when others disturb it.
        rates: deliveries a second, by the clock.
        idle: seconds of heartbeats.
        stall: seconds without reading.
        storm: readers that come at once.
        full: True for all contenders in every scenario.
    """

    rounds: int = 3
    seconds: float = 2.0
    turns: int = 6
    tries: int = 3
    rates: tuple[int, ...] = (30_000, 60_000, 120_000)
    idle: float = 45.0
    stall: float = 10.0
    storm: int = 5000
    full: bool = True


QUICK = Plan(rounds=1, seconds=1.0, turns=3, tries=2, rates=(60_000,), idle=16.0, full=False)


def fanout(contender: Contender, readers: int, plan: Plan) -> Result:
    """Publish to one topic with `readers` readers: one event at a time, 16 at a time, then by the clock."""
    with Server(contender) as server, Generator(server) as load:
        before = _settled_rss(server, load)
        load.open(readers, pending=16)
        load.ask(f"window 16 {plan.seconds / 4} {SIZE}")
        result: Result = {"rss": (server.rss - before) / readers / 1024}
        length = plan.seconds
        for name, window in (("single", 1), ("burst", 16)):
            result[name] = _repeat(server, load, plan, f"window {window} {length} {SIZE}")
            if result[name]["rate"] < 3 * readers:
                # A slow server would otherwise not have served one burst before the time is over.
                length = 3 * plan.seconds
        for rate in plan.rates:
            if rate > 1.2 * result["burst"]["rate"]:
                continue  # it would only show how long the queue gets
            command = f"rate {rate / readers} {plan.seconds} {SIZE}"
            result[f"at {rate}"] = _repeat(server, load, plan, command)
        return result


def turns(
    contenders: Sequence[Contender], readers: int, plan: Plan, *, clock: bool
) -> dict[str, Result]:
    """Run all servers at once, in short phases in turn, so that a slow minute of the machine is slow for all.

    Returns the phases of each contender and kind, in order; those with the same index are to be compared.

    Args:
        clock: add phases by the clock, for contenders that can keep up.
    """
    commands = {"single": f"window 1 {TURN} {SIZE}", "burst": f"window 16 {TURN} {SIZE}"}
    if clock:
        commands[f"at {TURN_RATE}"] = f"rate {TURN_RATE / readers} {TURN} {SIZE}"
    found: dict[str, Result] = {each.name: {name: [] for name in commands} for each in contenders}
    with contextlib.ExitStack() as stack:
        up: list[tuple[Server, Generator]] = []
        for contender in contenders:
            server = stack.enter_context(Server(contender))
            load = stack.enter_context(Generator(server))
            load.open(readers, pending=16)
            load.ask(f"window 16 {plan.seconds / 4} {SIZE}")
            up.append((server, load))
        for turn in range(plan.turns):
            for name, command in commands.items():
                for server, load in up if turn % 2 else reversed(up):
                    found[server.name][name].append(quiet(partial(phase, server, load, command), 1))
    return found


def _repeat(server: Server, load: Generator, plan: Plan, command: str) -> Result:
    return quiet(lambda: phase(server, load, command), plan.tries)


def _settled_rss(server: Server, load: Generator) -> int:
    """Read the resident bytes of a server that has served a reader, whose first needs belong to no reader."""
    load.open(20)
    load.ask(f"window 4 0.2 {SIZE}")
    load.ask("close")
    server.await_streams(0, 2.0)
    time.sleep(0.2)
    return server.rss


def storm(contender: Contender, readers: int, _plan: Plan) -> Result:
    """Let all readers come at once, stay a moment, and leave at once."""
    with Server(contender) as server, Generator(server) as load:
        before = _settled_rss(server, load)
        buffers = machine.connection_memory()
        busy, cpu, began = machine.busy(), server.cpu, time.monotonic()
        opened = load.open(readers)
        spent = server.cpu - cpu
        elapsed = time.monotonic() - began
        others = (machine.busy() - busy - spent - opened["cpu"]) / elapsed
        time.sleep(1.0)
        result = {
            "seconds": opened["seconds"],
            "cpu": spent,
            "cost": spent / readers * 1e6,
            "rss": (server.rss - before) / readers / 1024,
            "buffers": (machine.connection_memory() - buffers) / readers / 1024,
            "others": max(0.0, others),
        }
        load.ask("close")
        result["gone"] = server.await_streams(0, 5.0)
        result["grown"] = (server.rss - before) / 2**20
        return result


def memory(contender: Contender, readers: int, _plan: Plan) -> Result:
    """Measure what one idle reader holds. Readers come a few at a time, because a storm leaves memory behind."""
    with Server(contender) as server, Generator(server) as load:
        before = _settled_rss(server, load)
        load.open(readers, pending=16)
        time.sleep(0.5)
        return {"rss": (server.rss - before) / readers / 1024}


def idle(contender: Contender, readers: int, plan: Plan) -> Result:
    """Publish nothing, and measure what heartbeats cost and what a reader holds."""
    with Server(contender) as server, Generator(server) as load:
        before = _settled_rss(server, load)
        load.open(readers)
        time.sleep(1.0)
        result = phase(server, load, f"wait {plan.idle}")
        return {
            "rss": (server.rss - before) / readers / 1024,
            "cpu": result["server"],
            "comments": result["comments"] / readers,
            "ended": result["ended"],
            "others": result["others"],
        }


def stalled(contender: Contender, plan: Plan, *, readers: int = 100, stalls: int = 20) -> Result:
    """Let some readers stop reading for a while; measure what the others see and what the server holds."""
    with Server(contender) as server, Generator(server) as load:
        load.open(readers)
        filled = 0
        while filled < STALL_HISTORY:
            filled += load.ask(f"window 4 0.5 {STALL_SIZE}")["published"]
        time.sleep(0.5)
        calm = _repeat(server, load, plan, f"rate {STALL_RATE} {min(3.0, plan.stall)} {STALL_SIZE}")
        before = server.rss
        load.ask(f"stall {stalls}")
        loaded = phase(server, load, f"rate {STALL_RATE} {plan.stall} {STALL_SIZE}")
        during = server.rss
        after = load.ask("resume 30")
        time.sleep(0.5)
        peak = server.rss
        load.ask(f"rate 20 {CALM} {SIZE}")
        grown = server.rss
        ended = json.loads(server.ask("/health")).get("ended", {}) if _ours(contender) else {}
        return {
            "calm": calm,
            "stalled": loaded,
            "before": before / 2**20,
            "grown": (during - before) / 2**20 / stalls,
            "peak": peak / 2**20,
            "after": grown / 2**20,
            "settled": after["settled"],
            "lost": after["lost"],
            "gaps": after["gaps"],
            "ended": loaded["ended"] + after["ended"],
            "reasons": {k: v for k, v in ended.items() if k != "disconnected"},
        }


def _ours(contender: Contender) -> bool:
    return contender.name.startswith("fastsse")


def topics(contender: Contender, count: int, plan: Plan) -> Result:
    """Publish in turn to many topics with one reader each; measure events a second and CPU for each."""
    with Server(contender) as server, Generator(server) as load:
        load.open(count, count)
        load.ask(f"window 16 {plan.seconds / 2} {SIZE}")
        return _repeat(server, load, plan, f"window 16 {plan.seconds} {SIZE}")


def replay(contender: Contender, readers: int, back: int, _plan: Plan) -> Result:
    """Let all readers come back at once with an old id; measure the seconds until they have what they missed."""
    with Server(contender) as server, Generator(server) as load:
        load.open(readers)
        published = 0
        while published <= back:
            published += load.ask(f"window 16 0.5 {SIZE}")["published"]
        answer = phase(server, load, f"replay {back}")
        # The earlier readers have gone; the ends of their streams are not part of the measurement.
        answer["faults"].pop("ended", None)
        return answer


def _probed(server: Server, load: Generator, command: str) -> Result:
    """Run a phase, and add the microseconds that a send has cost the publisher's loop."""
    server.ask("/probe")
    result = phase(server, load, command)
    spent = json.loads(server.ask("/probe"))
    sends = max(1, spent["sends"])
    return {
        "cpu": spent["cpu"] / sends / 1000,
        "wall": spent["wall"] / sends / 1000,
        "joined": (result["delivered"] + result["after"]) / sends,
        "others": result["others"],
    }


class Share(NamedTuple):
    """The parts of the server's CPU time, as shares of 1."""

    kernel: float
    server: float
    python: float


def inside(contender: Contender, readers: int, plan: Plan, *, share: bool = True) -> Result:
    """Measure what only the server itself can tell: the pump's cost, tasks, and Python's share by perf.

    The contender must answer ``GET /probe``.
    """
    with Server(contender) as server, Generator(server) as load:
        server.ask("/probe")
        before = json.loads(server.ask("/probe"))["tasks"]
        load.open(readers)
        tasks = json.loads(server.ask("/probe"))["tasks"] - before
        result: Result = {"tasks": tasks / readers}
        for name, window in (("single", 1), ("burst", 16)):
            load.ask(f"window {window} {plan.seconds / 4} {SIZE}")
            command = f"window {window} {plan.seconds} {SIZE}"
            probe = partial(_probed, server, load, command)
            result[name] = medians([quiet(probe, 1) for _ in range(plan.tries)])
        if share:
            work: Callable[[], object] = lambda: load.ask(f"window 1 {plan.seconds} {SIZE}")  # noqa: E731
            try:
                result["share"] = _share(server, work)._asdict()
            except Unavailable as reason:
                result["no share"] = str(reason)
        return result


def _share(server: Server, work: Callable[[], object]) -> Share:
    """Sample the server with perf while it works.

    Raises:
        Unavailable: there is no perf, or it may not.
    """
    data = f"{server._folder.name}/perf.data"
    processes = ",".join(map(str, machine.members(server.process.pid)))
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-o", data, "-p", processes]
    try:
        recorder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise Unavailable("apt-get install linux-perf") from None
    time.sleep(0.3)
    work()
    recorder.terminate()
    _, said = recorder.communicate(timeout=30)
    report = ["perf", "report", "-i", data, "--stdio", "--sort", "dso", "-F", "overhead,dso", "-q"]
    done = subprocess.run(report, capture_output=True, text=True, check=False)
    shares = Share(0.0, 0.0, 0.0)
    for line in done.stdout.splitlines():
        overhead, _, name = line.strip().partition("%")
        if not name or line.startswith("#"):
            continue
        part = float(overhead) / 100
        shares = shares._replace(**{(k := _owner(name)): getattr(shares, k) + part})
    if not sum(shares):
        raise Unavailable(
            f"perf has no samples: {(said or b'').decode()[-200:]}{done.stderr[-200:]}"
        )
    return shares


def _owner(name: str) -> str:
    name = name.strip()
    if name.startswith(("[kernel", "[unknown", "[vdso", "[guest")):
        return "kernel"
    return "server" if "_granian" in name else "python"


def kept(measure: Callable[[], Result], name: str) -> Result:
    """Return the result, or what went wrong in its place, with the contender's name."""
    try:
        return measure()
    except (Failed, OSError, subprocess.TimeoutExpired) as error:
        return {"fault": f"{name}: {error}"}
