"""Phases: each measures one contender that is up: what a token costs, how much it can give, how much it holds."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any, NamedTuple

from benchmarks.load import machine
from benchmarks.load.processes import Failed, Generator, Server

__all__ = ["QUICK", "Plan", "firehose", "memory", "stop_all", "tokens"]

STREAMS = 300  # streams of tokens that are open together
IDLE = 500  # idle streams
SETTLE = 0.3  # s after the last stream was opened
TAKE = 0.6  # s of a firehose
STOPPED = 100  # streams that are open when a server is stopped
PATIENCE = 5.0  # s that a server may take to stop
LINGER = 3.0  # s that streams whose client has gone may take to end

Result = dict[str, Any]


class Plan(NamedTuple):
    """How much of everything a run does.

    Attributes:
        rounds: phases of tokens of each contender.
        seconds: how long a phase of tokens lasts.
        hoses: phases of each contender's firehose.
    """

    rounds: int = 5
    seconds: float = 1.5
    hoses: int = 3


QUICK = Plan(rounds=2, seconds=1.0, hoses=1)


def tokens(server: Server, plan: Plan) -> Result:
    """Measure the microseconds of the server's CPU for one token, with `STREAMS` streams open."""
    return _phase(server, "/tokens", STREAMS, plan.seconds, SETTLE)


def firehose(server: Server) -> Result:
    """Measure the events that one stream gets in a second from items that never wait."""
    return _phase(server, "/firehose", 1, TAKE, 0.0)


def _phase(server: Server, path: str, streams: int, seconds: float, settle: float) -> Result:
    """Open streams, and count what their readers get, and what that costs the server.

    Raises:
        Failed: the server does not open them, or gives nothing.
    """
    left = server.streams  # some never end what a client has left
    with Generator(server, path=path) as load:
        opened = load.ask(f"open {streams} 1 64")
        if opened["open"] != streams:
            raise Failed(f"{server.name}: {path}: not all streams were opened: {opened}")
        if settle:
            load.ask(f"take {settle}")
        busy, cpu = machine.busy(), machine.exact_cpu(server.process.pid)
        answer = load.ask(f"take {seconds}")
        used = machine.exact_cpu(server.process.pid) - cpu
        others = machine.busy() - busy - used - answer["cpu"]
        load.ask("close")
    if not answer["events"]:
        raise Failed(f"{server.name}: {path}: no event came")
    server.ask("/end")
    server.await_streams(left, LINGER)
    return {
        "cost": used / answer["events"] * 1e6,
        "rate": answer["events"] / answer["seconds"],
        "server": used / answer["seconds"],
        "others": max(0.0, others / answer["seconds"]),
        "left": server.streams - left,
    }


def memory(server: Server) -> Result:
    """Measure the KiB that an idle stream holds. Streams come a few at a time, because a storm leaves memory behind."""
    with Generator(server, path="/idle") as load:
        load.ask("open 20 1 16")
        load.ask("take 0.2")
        load.ask("close")
        server.await_streams(0, 2.0)
        before = server.rss
        load.ask(f"open {IDLE} 1 16")
        load.ask("take 0.5")
        held = (server.rss - before) / IDLE / 1024
        load.ask("close")
        server.await_streams(0, 2.0)
    return {"kib": held}


def stop_all(servers: list[Server]) -> dict[str, float | None]:
    """Stop all servers at once by SIGTERM, each with idle streams; return the seconds, None beyond `PATIENCE`."""
    taken: dict[str, float | None] = dict.fromkeys(server.name for server in servers)
    with contextlib.ExitStack() as stack:
        for server in servers:
            load = stack.enter_context(Generator(server, path="/idle"))
            load.ask(f"open {STOPPED} 1 16")
        for server in servers:
            os.kill(server.process.pid, signal.SIGTERM)
        began = time.monotonic()
        left = list(servers)
        while left and (elapsed := time.monotonic() - began) < PATIENCE:
            taken |= {server.name: elapsed for server in left if server.process.poll() is not None}
            left = [server for server in left if taken[server.name] is None]
            time.sleep(0.01)
    return taken
