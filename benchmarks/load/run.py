"""Makes one run: every scenario, contender by contender, interleaved in rounds. The result is one dict, for JSON."""

from __future__ import annotations

import datetime
import platform
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.load import instructions, machine, scenarios
from benchmarks.load.build import Unavailable, build
from benchmarks.load.measure import median, medians
from benchmarks.load.scenarios import Plan, kept
from benchmarks.load.servers import BEFORE, CONTENDERS, Contender, of_checkout

__all__ = ["SCENARIOS", "run"]

SCENARIOS = (
    "fanout",
    "turns",
    "inside",
    "storm",
    "memory",
    "idle",
    "stalled",
    "topics",
    "replay",
    "instructions",
)

# The contenders of each scenario, beside fastsse: in a quick run, and in a full one.
_FANOUT = {
    1000: (
        ("floor", "nchan", "fastsse", "sse-starlette/uvicorn", "sse-starlette/granian", "FastAPI/uvicorn",
         "fastsse/uvicorn", "fastsse wrapped", "fastsse bypass", "sse-starlette wrapped"),
        ("floor", "floor joined", "nchan", "fastsse", "sse-starlette/uvicorn", "sse-starlette/granian",
         "FastAPI/uvicorn", "aiohttp-sse", "better-sse/node", "fastsse/uvicorn", "fastsse wrapped",
         "fastsse bypass", "sse-starlette wrapped"),
    ),
    5000: (
        ("floor", "nchan", "fastsse", "sse-starlette/uvicorn"),
        ("floor", "nchan", "fastsse", "sse-starlette/uvicorn", "sse-starlette/granian", "aiohttp-sse",
         "better-sse/node", "fastsse/uvicorn"),
    ),
}  # fmt: skip
# The contenders that take turns with each other, and whether they are also loaded by the clock.
_TURNS = {
    1000: ((("floor", "nchan", "fastsse"), True),
           (("sse-starlette/uvicorn", "fastsse/uvicorn", "fastsse wrapped", "sse-starlette wrapped"), False)),
    5000: ((("floor", "nchan", "fastsse"), True),),
}  # fmt: skip
_STORM = (
    ("floor", "nchan", "fastsse", "fastsse/uvicorn", "sse-starlette/granian"),
    ("floor", "nchan", "fastsse", "fastsse/uvicorn", "sse-starlette/granian", "sse-starlette/uvicorn",
     "FastAPI/uvicorn", "aiohttp-sse", "better-sse/node"),
)  # fmt: skip
_MEMORY = (("fastsse", "fastsse/uvicorn"), _STORM[1])
_STALLED = (
    ("fastsse roomy", "fastsse"),
    ("fastsse roomy", "fastsse", "nchan", "sse-starlette/uvicorn", "better-sse/node"),
)
_TOPICS = (("fastsse",), ("fastsse", "nchan", "better-sse/node"))
_REPLAY = (("fastsse",), ("fastsse", "nchan"))
_TOPIC_COUNTS = (100, 10_000)
_IDLE = 10_000

Found = dict[str, Any]
Say = Callable[[str], None]


def run(
    plan: Plan,
    wanted: Iterable[str],
    only: Iterable[str],
    say: Say,
    before: Path | None = None,
) -> Found:
    """Measure the scenarios of one run.

    Args:
        plan: how much of everything.
        wanted: names of `SCENARIOS`.
        only: names of contenders; all when empty.
        say: called with a line about each thing that is measured.
        before: another checkout, whose `fastsse serve` is compared with this one's beside the scenarios.

    Raises:
        Unavailable: the generator cannot be built.
    """
    build("sseload")
    session = _Session(plan, tuple(only), say)
    for name in wanted:
        getattr(session, name)()
    if before is not None:
        session.compare(of_checkout(before))
    return session.found


class _Session:
    """A run under way."""

    def __init__(self, plan: Plan, only: tuple[str, ...], say: Say) -> None:
        self._plan = plan
        self._only = only
        self._contenders = dict(CONTENDERS)
        self._say = say
        self._began = time.monotonic()
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
        }

    def _present(self, names: Iterable[str]) -> list[Contender]:
        """Select the names that this run asks for and that are installed."""
        present: list[Contender] = []
        for name in names:
            if self._only and name not in self._only:
                continue
            contender = self._contenders[name]
            try:
                contender.needs()
            except Unavailable as how:
                self.found["absent"][name] = str(how)
                continue
            self.found["versions"][name] = contender.version()
            present.append(contender)
        return present

    def _measure(self, what: str, name: str, measure: Callable[[], Found]) -> Found | None:
        """Measure one thing and return the result; note a failure and return None."""
        self._say(f"{time.monotonic() - self._began:5.0f} s  {what}: {name}")
        result = kept(measure, name)
        if "fault" in result:
            self.found["failed"].append(f"{what}: {result['fault']}")
            return None
        return result

    def _rounds(
        self, what: str, names: tuple[str, ...], measure: Callable[[Contender], Found]
    ) -> dict[str, list[Found]]:
        """Gather each contender's results: all are measured once, then all again, as often as there are rounds."""
        cells: dict[str, list[Found]] = {}
        present = self._present(names)
        for number in range(self._plan.rounds):
            for contender in present:
                now = f"{what}, round {number + 1} of {self._plan.rounds}"
                one = self._measure(now, contender.name, partial(measure, contender))
                if one is not None:
                    cells.setdefault(contender.name, []).append(one)
        return cells

    def fanout(self) -> None:
        for readers, names in _FANOUT.items():
            what = f"fan-out, {readers} readers"
            cells = self._rounds(
                what,
                names[self._plan.full],
                lambda c, n=readers: scenarios.fanout(c, n, self._plan),
            )
            self._note_faults(what, cells)
            self.found.setdefault("fanout", {})[str(readers)] = {
                name: _merge(rounds) for name, rounds in cells.items()
            }

    def turns(self) -> None:
        for readers, groups in _TURNS.items():
            cells: dict[str, dict[str, list[Found]]] = {}
            for names, clock in groups:
                self._take_turns(readers, self._present(names), clock, cells)
            self.found.setdefault("turns", {})[str(readers)] = cells

    def _take_turns(
        self,
        readers: int,
        present: list[Contender],
        clock: bool,
        cells: dict[str, dict[str, list[Found]]],
    ) -> None:
        """Let contenders take turns, and add to `cells` what each has done, phase by phase."""
        together = ", ".join(contender.name for contender in present)
        for number in range(self._plan.rounds if len(present) > 1 else 0):
            what = f"in turn, {readers} readers, round {number + 1} of {self._plan.rounds}"
            measure = partial(scenarios.turns, present, readers, self._plan, clock=clock)
            for name, phases in (self._measure(what, together, measure) or {}).items():
                for phase, results in phases.items():
                    self._note_faults(what, {name: [{phase: one} for one in results]})
                    cells.setdefault(name, {}).setdefault(phase, []).extend(results)

    def _note_faults(self, what: str, cells: dict[str, list[Found]]) -> None:
        """Note the faults of a phase, because a figure with lost or doubled events is worth nothing."""
        for name, rounds in cells.items():
            for one in rounds:
                for phase, result in one.items():
                    if isinstance(result, dict) and result.get("faults"):
                        self.found["failed"].append(f"{what}: {name}: {phase}: {result['faults']}")

    def inside(self) -> None:
        for contender in self._present(("fastsse probed",)):
            result = self._measure(
                "inside", contender.name, lambda c=contender: scenarios.inside(c, 1000, self._plan)
            )
            if result is not None:
                self.found["inside"] = result

    def compare(self, before: Contender) -> None:
        """Hold this checkout's server against another one's: phases in turn, fresh processes in alternating rounds."""
        self._contenders[BEFORE] = before
        pair = (BEFORE, "fastsse")
        cells: dict[str, dict[str, list[Found]]] = {}
        self._take_turns(1000, self._present(pair), True, cells)
        for name, measure in (
            ("connects", lambda c: scenarios.storm(c, self._plan.storm, self._plan)),
            ("memory", lambda c: scenarios.memory(c, self._plan.storm, self._plan)),
        ):
            for contender, rounds in self._rounds(f"before, {name}", pair, measure).items():
                cells.setdefault(contender, {})[name] = rounds
        self.found["before"] = cells

    def storm(self) -> None:
        cells = self._rounds(
            "storm",
            _STORM[self._plan.full],
            lambda c: scenarios.storm(c, self._plan.storm, self._plan),
        )
        self.found["storm"] = {
            name: medians(rounds) | {"rounds": rounds} for name, rounds in cells.items()
        }

    def memory(self) -> None:
        readers = self._plan.storm
        self._each("memory", _MEMORY, lambda c: scenarios.memory(c, readers, self._plan))

    def idle(self) -> None:
        cells = self._rounds("idle", ("fastsse",), lambda c: scenarios.idle(c, _IDLE, self._plan))
        for rounds in cells.values():
            plan = {"readers": _IDLE, "seconds": self._plan.idle}
            self.found["idle"] = medians(rounds) | plan

    def stalled(self) -> None:
        self._each("stalled", _STALLED, lambda c: scenarios.stalled(c, self._plan))

    def topics(self) -> None:
        for contender in self._present(_TOPICS[self._plan.full]):
            by_count: Found = {}
            for count in _TOPIC_COUNTS:
                result = self._measure(
                    f"{count} topics",
                    contender.name,
                    lambda c=contender, n=count: scenarios.topics(c, n, self._plan),
                )
                if result is not None:
                    by_count[str(count)] = result
            self.found.setdefault("topics", {})[contender.name] = by_count

    def replay(self) -> None:
        self._each("replay", _REPLAY, lambda c: scenarios.replay(c, 1000, 500, self._plan))

    def instructions(self) -> None:
        self._say(f"{time.monotonic() - self._began:5.0f} s  instructions of a publish")
        try:
            self.found["instructions"] = instructions.count()
        except Unavailable as reason:
            self.found["instructions"] = {"absent": str(reason)}

    def _each(
        self, name: str, names: tuple[tuple[str, ...], ...], measure: Callable[[Contender], Found]
    ) -> None:
        for contender in self._present(names[self._plan.full]):
            result = self._measure(name, contender.name, lambda c=contender: measure(c))
            if result is not None:
                self.found.setdefault(name, {})[contender.name] = result


def _merge(rounds: list[Found]) -> Found:
    """Take the medians of one contender's rounds."""
    merged: Found = {"rss": {"value": median(rounds, "rss")}}
    phases = {phase: None for one in rounds for phase in one if isinstance(one[phase], dict)}
    for phase in phases:
        results = [one[phase] for one in rounds if phase in one]
        merged[phase] = {
            name: median(results, name)
            for name in (
                "rate",
                "cost",
                "p50",
                "p90",
                "p99",
                "max",
                "server",
                "generator",
                "others",
            )
        }
        merged[phase]["best"] = max(result["rate"] for result in results)
        merged[phase]["runs"] = len(results)
        merged[phase]["calm"] = sum(result["quiet"] for result in results)
    return merged


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
