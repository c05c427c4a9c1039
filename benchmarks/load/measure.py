"""Measures one phase of load at both ends, and repeats it when other processes were using the machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.load import machine
from benchmarks.load.processes import Generator, Server

__all__ = ["NOISE", "median", "medians", "paired", "phase", "quiet"]

NOISE = 0.3  # of a processor that others may have used in a quiet phase
FAULTS = ("lost", "doubled", "foreign", "gaps", "errors", "ended")

Result = dict[str, Any]


def phase(server: Server, load: Generator, command: str) -> Result:
    """Run a command of the generator, and add to its answer what the server and all others used meanwhile.

    Adds ``rate`` (deliveries a second), ``cost`` (microseconds of the server's CPU for a delivery), ``server`` and
    ``others`` (processors used by the server, and by everything but server and generator), ``faults``.
    """
    began, busy, cpu = time.monotonic(), machine.busy(), server.cpu
    own = time.process_time()
    result = load.ask(command)
    elapsed = time.monotonic() - began
    used = server.cpu - cpu
    others = machine.busy() - busy - used - result["cpu"] - (time.process_time() - own)
    deliveries = result["delivered"] + result["after"] + result["late"]
    result["rate"] = result["delivered"] / result["seconds"] if result["seconds"] else 0.0
    result["cost"] = used / deliveries * 1e6 if deliveries else 0.0
    result["server"] = used / elapsed
    result["others"] = max(0.0, others / elapsed)
    result["generator"] = result["cpu"] / elapsed
    result["faults"] = {name: result[name] for name in FAULTS if result[name]}
    if not result["settled"]:
        result["faults"]["unsettled"] = 1
    return result


def quiet(measure: Callable[[], Result], tries: int) -> Result:
    """Take the quietest of at most `tries` results; a result with less than `NOISE` ends the search."""
    results: list[Result] = []
    for _ in range(max(1, tries)):
        results.append(measure())
        if results[-1]["others"] <= NOISE:
            break
    best = min(results, key=lambda result: float(result["others"]))
    best["quiet"] = best["others"] <= NOISE
    best["tries"] = len(results)
    return best


def median(results: Iterable[Result], name: str) -> float | None:
    """Take the median of a value over the quiet results, or over all when none was quiet; None without any."""
    found = [result for result in results if result.get(name) is not None]
    calm = [result for result in found if result.get("quiet", True)]
    return statistics.median(float(result[name]) for result in calm or found) if found else None


def medians(results: Sequence[Result]) -> Result:
    """Take the median of every number in the results, as `median` does."""
    names = dict.fromkeys(name for result in results for name in result if name != "quiet")
    return {name: median(results, name) for name in names} | {"runs": len(results)}


def paired(ours: Sequence[Result], others: Sequence[Result], name: str) -> float | None:
    """Take the median of the ratios of `ours` to their neighbours in time, `others`.

    Counts the pairs that were quiet, or all pairs when none was. None when there is no pair.
    """
    pairs = [(a, b) for a, b in zip(ours, others, strict=False) if b[name]]
    calm = [(a, b) for a, b in pairs if a.get("quiet", True) and b.get("quiet", True)]
    ratios = [a[name] / b[name] for a, b in calm or pairs]
    return statistics.median(ratios) if ratios else None
