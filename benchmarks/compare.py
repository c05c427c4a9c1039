"""One run that compares everybody: one process, one core, interleaved, answers checked.

In every round each contender does the same task once, in an order that moves on by one from round to round. A
contender's ratio is the median of its rounds' ratios to fastsse, so a slow minute of the machine slows both sides of
each ratio. The clock shows nanoseconds; believe the ratios.
"""

from __future__ import annotations

import gc
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks.cells import Cell, Task, settle
from benchmarks.contenders import COMPILED, FLOOR, PURE, Field
from benchmarks.corpora import CHUNKINGS, DECODED, ENCODED, corpus

QUICK_CORPORA = ("llm", "llm-cjk", "anthropic", "tiny", "full", "big1")
SLOW = 60e6  # nanoseconds: a task whose pass takes longer gets three rounds only
CLOSE = 3  # times as many rounds for the floor, whose ratio is near 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The tasks of a run, and how long each takes.

    Attributes:
        tasks: in this order.
        rounds: odd, so that a median is one of them.
        sample: nanoseconds that one sample should take; short passes are repeated.
        quick: True for the two-minute run.
    """

    tasks: tuple[Task, ...]
    rounds: int
    sample: float
    quick: bool


def full() -> Plan:
    decode = [Task("decode", name, cut) for name in DECODED for cut in CHUNKINGS]
    encode = [Task("encode", name) for name in ENCODED]
    more = [Task("encode_many", name) for name in ("llm", "small", "full")]
    more += [Task("encode_json", name) for name in ("llm", "anthropic")]
    more += [Task("split", name, cut) for name in ("llm", "tiny") for cut in ("64k", "event")]
    return Plan(tuple(decode + encode + more), rounds=7, sample=8e6, quick=False)


def quick() -> Plan:
    names = QUICK_CORPORA
    decode = [Task("decode", name, cut) for name in names for cut in ("64k", "event")]
    encode = [Task("encode", name) for name in (*names, "small") if name in ENCODED]
    more = [Task("encode_many", "llm"), Task("encode_json", "llm"), Task("split", "llm", "64k")]
    return Plan(tuple(decode + encode + more), rounds=3, sample=3e6, quick=True)


@dataclass(slots=True)
class Outcome:
    """How one contender did at one task.

    Attributes:
        ns: nanoseconds an event, the median of the rounds; None when it failed.
        ratio: its time as a multiple of the base's.
        low, high: the least and the greatest of its rounds' ratios.
        right: True when its answer was right.
        error: why it could not do the task, "" when it could.
    """

    ns: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    right: bool = False
    error: str = ""


@dataclass(slots=True)
class Row:
    """One task and everybody's outcome."""

    task: Task
    events: int
    bytes: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)


@dataclass(slots=True)
class Result:
    """One run."""

    base: str
    quick: bool
    rounds: int
    environment: dict[str, str]
    versions: dict[str, str]
    absent: dict[str, str]
    rows: list[Row] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """Turn the run into objects for JSON, times rounded to a tenth of a nanosecond, ratios to a thousandth."""
        found = asdict(self)
        found["rows"] = [
            {
                "task": str(row.task),
                "events": row.events,
                "bytes": row.bytes,
                "contenders": {name: _rounded(outcome) for name, outcome in row.outcomes.items()},
            }
            for row in self.rows
        ]
        return found


def _rounded(outcome: Outcome) -> dict[str, Any]:
    if outcome.ns is None:
        return {"error": outcome.error}
    assert outcome.ratio is not None
    assert outcome.low is not None
    assert outcome.high is not None
    return {
        "ns": round(outcome.ns, 1),
        "ratio": round(outcome.ratio, 3),
        "low": round(outcome.low, 3),
        "high": round(outcome.high, 3),
        "right": outcome.right,
    }


def run(field: Field, plan: Plan, progress: Callable[[str], None], pinned: bool) -> Result:
    """Do the tasks of `plan` with everybody in `field`; `progress` gets a line for each task.

    The base of the ratios is the compiled twin, or the first contender when ``--only`` leaves the twin out.
    """
    base = COMPILED if COMPILED in field.names else PURE if PURE in field.names else field.names[0]
    environment = {**describe_machine(), "pinned": "yes" if pinned else "no"}
    result = Result(base, plan.quick, plan.rounds, environment, field.versions, field.absent)
    begin = time.monotonic()
    for number, task in enumerate(plan.tasks, 1):
        progress(f"[{number}/{len(plan.tasks)}] {_clock(time.monotonic() - begin)}  {task}")
        row = _row(task)
        cells = field.cells(task)
        if base in cells:
            row.outcomes = measure(cells, base, row.events, plan)
            result.rows.append(row)
    return result


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _row(task: Task) -> Row:
    source = corpus(task.corpus)
    if task.chunking:
        cut = source.cut(task.chunking)
        return Row(task, len(cut.events), cut.size)
    return Row(task, len(source.fields), sum(map(len, source.blocks)))


def measure(cells: Mapping[str, Cell], base: str, events: int, plan: Plan) -> dict[str, Outcome]:
    """Check everybody's answer, then time those that gave one, round by round."""
    outcomes = {name: _checked(cell) for name, cell in cells.items()}
    timed = [name for name, outcome in outcomes.items() if not outcome.error]
    if base not in timed:
        raise RuntimeError(f"{base} cannot do this: {outcomes[base].error}")
    gc.collect()
    gc.freeze()  # objects that live by now are no contender's garbage; looking at them would only take time
    once = {name: min(cells[name].sample(1), cells[name].sample(1)) for name in timed}
    passes = {name: max(1, min(10_000, round(plan.sample / once[name]))) for name in timed}
    samples = sample_rounds(
        {name: cells[name] for name in timed}, passes, _rounds(once, plan.rounds)
    )
    for name in timed:
        ratios = [mine / its for mine, its in zip(samples[name], samples[base], strict=False)]
        outcome = outcomes[name]
        outcome.ns = median(samples[name]) / events
        outcome.ratio, outcome.low, outcome.high = median(ratios), min(ratios), max(ratios)
    if base == COMPILED and FLOOR in timed:
        _hold_close({name: cells[name] for name in (base, FLOOR)}, passes, plan, outcomes[FLOOR])
    return outcomes


def _hold_close(
    cells: Mapping[str, Cell], passes: dict[str, int], plan: Plan, outcome: Outcome
) -> None:
    """Measure the floor's ratio, which is near 1, again: in more rounds, with no peer's memory in between."""
    rounds = dict.fromkeys(cells, CLOSE * plan.rounds)
    samples = sample_rounds(cells, passes, rounds)
    ratios = [its / mine for mine, its in zip(samples[COMPILED], samples[FLOOR], strict=True)]
    outcome.ratio, outcome.low, outcome.high = median(ratios), min(ratios), max(ratios)


def _checked(cell: Cell) -> Outcome:
    try:
        return Outcome(right=cell.right())
    except Exception as error:  # a peer may fail in any way; that is its result
        return Outcome(error=f"{type(error).__name__}: {error}"[:120])


def _rounds(once: dict[str, float], rounds: int) -> dict[str, int]:
    return {name: rounds if spent < SLOW else min(3, rounds) for name, spent in once.items()}


def sample_rounds(
    cells: Mapping[str, Cell], passes: dict[str, int], rounds: dict[str, int]
) -> dict[str, list[float]]:
    """Take samples of each cell, in nanoseconds a pass, in the order of the rounds; interleaved and rotated."""
    samples: dict[str, list[float]] = {name: [] for name in cells}
    for number in range(max(rounds.values())):
        for name in _rotated(tuple(cells), number):
            if number < rounds[name]:
                settle()
                samples[name].append(cells[name].sample(passes[name]))
    return samples


def _rotated(names: Sequence[str], by: int) -> Iterator[str]:
    by %= len(names)
    yield from names[by:]
    yield from names[:by]


def describe_machine() -> dict[str, str]:
    """Return the processor, the interpreter and the date."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": platform.python_compiler(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = (line.partition(":")[2].strip() for line in lines if "model name" in line)
            return next(names, platform.machine())
    except OSError:
        return platform.processor() or platform.machine()


def chosen(tasks: Iterable[Task], wanted: Sequence[str]) -> tuple[Task, ...]:
    """Select the tasks whose names begin with one of `wanted`; all tasks when that is empty.

    Raises:
        ValueError: nothing begins so.
    """
    all_tasks = tuple(tasks)
    if not wanted:
        return all_tasks
    for one in wanted:
        if not any(str(task).startswith(one) for task in all_tasks):
            raise ValueError(f"no task begins with {one!r}; there is, for example, {all_tasks[0]}")
    return tuple(task for task in all_tasks if any(str(task).startswith(one) for one in wanted))


def to_stderr(line: str) -> None:
    """Show progress: over the last line on a terminal, below it in a log."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)
