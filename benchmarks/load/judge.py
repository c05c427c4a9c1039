"""The bars of the load benchmark: what a run must show, beside what the run showed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.load.measure import paired

__all__ = ["Bar", "judge"]

Found = dict[str, Any]


class Bar(NamedTuple):
    """One thing that must hold.

    Attributes:
        what: the thing in words.
        value: what was measured; None when nothing was.
        limit: the least or the most that is allowed.
        least: True when `limit` is the least allowed, False when it is the most.
        why: what was missing, when nothing was measured.
    """

    what: str
    value: float | None
    limit: float
    least: bool
    why: str = ""

    @property
    def holds(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.limit if self.least else self.value <= self.limit

    def __str__(self) -> str:
        verdict = {True: "hold", False: "FAIL", None: "not measured"}[self.holds]
        sign = ">=" if self.least else "<="
        value = "-" if self.value is None else _short(self.value)
        why = f"  ({self.why})" if self.why and self.value is None else ""
        return f"{verdict:12} {value:>8} {sign} {_short(self.limit):<6} {self.what}{why}"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def judge(found: Found) -> list[Bar]:
    """Judge the bars of a run (see `run.run`), those that were not measured too."""
    bars = [*_speed(found), *_delay(found), *_inside(found), *_memory(found), *_storm(found)]
    bars += [*_stalled(found), *_topics(found), *_replay(found)]
    return bars


def _cell(found: Found, readers: int, name: str, phase: str, value: str = "rate") -> float | None:
    cell = found.get("fanout", {}).get(str(readers), {}).get(name, {}).get(phase)
    return None if cell is None else cell.get(value)


def _in_turn(
    found: Found, readers: int, phase: str, ours: str, other: str, value: str = "rate"
) -> float | None:
    """Make the bar of one contender as a multiple of another that took turns with it."""
    cells = found.get("turns", {}).get(str(readers), {})
    mine, others = (cells.get(name, {}).get(phase, []) for name in (ours, other))
    return paired(mine, others, value)


def _ratio(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b


def _speed(found: Found) -> Iterator[Bar]:
    for readers, phase, ours, other, limit in (
        (1000, "burst", "fastsse", "floor", 3.0),
        (1000, "single", "fastsse", "floor", 0.6),
        (1000, "single", "fastsse", "nchan", 0.9),
        (5000, "single", "fastsse", "nchan", 1.0),
        (1000, "single", "fastsse/uvicorn", "sse-starlette/uvicorn", 3.8),
        (1000, "single", "fastsse wrapped", "sse-starlette/uvicorn", 2.0),
        (1000, "burst", "fastsse wrapped", "sse-starlette/uvicorn", 2.0),
        # A single event's path through this middleware costs more than all of sse-starlette without one, so the peer
        # stands behind the middleware, too.
        (1000, "single", "fastsse wrapped", "sse-starlette wrapped", 1.3),
    ):
        ratio = _in_turn(found, readers, phase, ours, other)
        yield Bar(f"{readers:,} readers, {phase}, in turn: {ours} / {other}", ratio, limit, True)
    for readers, phase, ours, other, value, limit in (
        (1000, "burst", "fastsse", "nchan", "best", 2.0),
        (1000, "burst", "fastsse", "sse-starlette/uvicorn", "rate", 12.0),
        (1000, "single", "fastsse", "sse-starlette/uvicorn", "rate", 3.3),
        (1000, "single", "fastsse", "sse-starlette/granian", "rate", 1.9),
        (1000, "single", "fastsse", "FastAPI/uvicorn", "rate", 20.0),
        (5000, "single", "fastsse", "sse-starlette/uvicorn", "rate", 5.0),
        (1000, "single", "fastsse bypass", "sse-starlette/uvicorn", "rate", 2.0),
        (1000, "burst", "fastsse bypass", "sse-starlette/uvicorn", "rate", 2.0),
    ):
        ratio = _ratio(
            _cell(found, readers, ours, phase), _cell(found, readers, other, phase, value)
        )
        best = " (its best run)" if value == "best" else ""
        yield Bar(f"{readers:,} readers, {phase}: {ours} / {other}{best}", ratio, limit, True)


def _delay(found: Found) -> Iterator[Bar]:
    for readers, limit in ((1000, 1.3), (5000, 1.6)):
        ratio = _in_turn(found, readers, "at 60000", "fastsse", "floor", "p99")
        what = f"{readers:,} readers, 60,000 deliveries/s, in turn: p99 / the floor's"
        yield Bar(what, ratio, limit, False)


def _inside(found: Found) -> Iterator[Bar]:
    inside = found.get("inside", {})
    share = inside.get("share", {}).get("python")
    why = inside.get("no share", "")
    yield Bar("Python's share of the server's CPU, single events", share, 0.10, False, why)
    cost = inside.get("single", {}).get("cpu")
    yield Bar(
        "a pass on the publisher's loop, microseconds of CPU per subscriber", cost, 0.6, False
    )
    yield Bar("tasks per stream", inside.get("tasks"), 1.0, False)


def _memory(found: Found) -> Iterator[Bar]:
    memory = found.get("memory", {})
    for name, limit in (("fastsse", 16.0), ("fastsse/uvicorn", 10.5)):
        yield Bar(f"{name}: KiB per idle stream", memory.get(name, {}).get("rss"), limit, False)
    idle = found.get("idle", {})
    yield Bar("10,000 streams with heartbeats: share of a processor", idle.get("cpu"), 0.01, False)


def _storm(found: Found) -> Iterator[Bar]:
    storm = found.get("storm", {})
    ours, other = (
        storm.get(name, {}).get("rounds", []) for name in ("fastsse", "sse-starlette/granian")
    )
    readers = found.get("plan", {}).get("storm", 0)
    what = f"{readers:,} connects at once: times as fast as sse-starlette/granian"
    yield Bar(what, paired(other, ours, "seconds"), 6.0, True)


def _stalled(found: Found) -> Iterator[Bar]:
    roomy = found.get("stalled", {}).get("fastsse roomy", {})
    delay: Callable[[str], Any] = lambda name: roomy.get(name, {}).get("p99")  # noqa: E731
    yield Bar(
        "20 of 100 stalled: p99 of the others / before",
        _ratio(delay("stalled"), delay("calm")),
        1.2,
        False,
    )
    yield Bar("20 of 100 stalled: MB of growth per stalled reader", roomy.get("grown"), 0.5, False)
    rss = _ratio(roomy.get("after"), roomy.get("before"))
    yield Bar("20 of 100 stalled: memory after catching up / before", rss, 1.2, False)
    lost = None if not roomy else float(roomy["lost"] + (not roomy["settled"]))
    yield Bar("20 of 100 stalled: events that those who caught up have missed", lost, 0, False)
    tight = found.get("stalled", {}).get("fastsse", {})
    counted = None
    if "reasons" in tight:
        counted = float(sum(tight["reasons"].values()) - tight["ended"])
    yield Bar(
        "20 of 100 stalled, usual limits: ended readers counted by reason, less those seen",
        counted,
        0,
        True,
    )


def _topics(found: Found) -> Iterator[Bar]:
    counted = found.get("instructions", {})
    few, many = counted.get("10"), counted.get("10000")
    yield Bar("instructions of a publish beside 10,000 topics / beside 10", _ratio(many, few), 1.02, False,
              str(counted.get("absent", "")))  # fmt: skip


def _replay(found: Found) -> Iterator[Bar]:
    answer = found.get("replay", {}).get("fastsse", {})
    faults = None if "faults" not in answer else float(len(answer["faults"]))
    yield Bar("replay storm: faults", faults, 0, False)
