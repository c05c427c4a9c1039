"""Makes one run: all contenders are up at once, and are measured in turn, phase by phase. The result is for JSON."""

from __future__ import annotations

import contextlib
import datetime
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.load import machine
from benchmarks.load.build import Unavailable, build
from benchmarks.load.measure import median
from benchmarks.load.processes import Failed, Server
from benchmarks.response import phases
from benchmarks.response.phases import Plan
from benchmarks.response.servers import CONTENDERS

__all__ = ["run", "to_stderr"]

Found = dict[str, Any]
Say = Callable[[str], None]


def run(plan: Plan, only: Iterable[str], say: Say) -> Found:
    """Measure the contenders that are installed.

    Args:
        plan: how much of everything.
        only: names of contenders; all when empty.
        say: called with a line about each thing that is measured.

    Raises:
        Unavailable: the generator cannot be built.
    """
    build("sseload")
    session = _Session(plan, say, frozenset(only))
    with contextlib.ExitStack() as stack:
        session.start(stack)
        session.each("KiB of an idle stream", phases.memory)
        for number in range(plan.rounds):
            what = f"tokens, round {number + 1} of {plan.rounds}"
            session.each(what, lambda server: phases.tokens(server, plan), backwards=number % 2)
            if number < plan.hoses:
                session.each(f"firehose, round {number + 1} of {plan.hoses}", _hose)
        session.stop()
    return session.found


def _hose(server: Server) -> Found:
    result = phases.firehose(server)
    return {"hose": result["rate"], "hose_cost": result["cost"]}


class _Session:
    """A run under way: the servers that are up, and what was found of each."""

    def __init__(self, plan: Plan, say: Say, only: frozenset[str]) -> None:
        self._say = say
        self._only = only
        self._began = time.monotonic()
        self._up: list[Server] = []
        self._phases: dict[str, list[Found]] = {}
        self.found: Found = {
            "environment": machine.written_down()
            | {
                "python": f"{platform.python_implementation()} {platform.python_version()}",
                "date": datetime.date.today().isoformat(),
            },
            "plan": plan._asdict(),
            "versions": {},
            "absent": {},
            "failed": [],
            "cells": {},
        }

    def start(self, stack: contextlib.ExitStack) -> None:
        """Bring up every contender that this run asks for and that is installed."""
        for name, contender in CONTENDERS.items():
            if self._only and name not in self._only:
                continue
            try:
                contender.needs()
                self._up.append(stack.enter_context(Server(contender)))
            except Unavailable as how:
                self.found["absent"][name] = str(how)
            except Failed as fault:
                self.found["failed"].append(str(fault))
            else:
                self.found["versions"][name] = contender.version()
                self._phases[name] = []

    def each(self, what: str, measure: Callable[[Server], Found], *, backwards: int = 0) -> None:
        """Measure one phase of each server, one after the other. A phase that fails is noted."""
        self._say(f"{time.monotonic() - self._began:5.0f} s  {what}")
        for server in self._up[::-1] if backwards else self._up:
            try:
                self._phases[server.name].append(measure(server))
            except Failed as fault:
                self.found["failed"].append(f"{what}: {fault}")

    def stop(self) -> None:
        """Stop all servers, and put together what was found."""
        self._say(f"{time.monotonic() - self._began:5.0f} s  the end")
        stopped = phases.stop_all(self._up)
        for name, results in self._phases.items():
            self.found["cells"][name] = _merged(results) | {"stop": stopped[name]}


def _merged(results: Sequence[Found]) -> Found:
    """Take the medians of each value, and keep the costs of all rounds for ratios between neighbours in time."""
    names = dict.fromkeys(name for result in results for name in result)
    merged: Found = {name: median(results, name) for name in names}
    merged["costs"] = [result["cost"] for result in results if "cost" in result]
    merged["hoses"] = [result["hose"] for result in results if "hose" in result]
    return merged


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
