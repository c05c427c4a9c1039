"""The bars: what fastsse promises, as ratios inside one run. A bar that was not measured does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks import peers
from benchmarks.compare import Result, Row
from benchmarks.contenders import COMPILED, FLOOR, PURE
from benchmarks.corpora import ENCODED

NEAR_FLOOR = 1.2  # times the floor
LARGE = ("whole", "64k")

LEADS = (
    ("decode llm 64k", "launchdarkly", 14.0),
    ("decode llm 64k", "httpx-sse", 22.0),
    ("decode llm 64k", "openai", 55.0),
    ("encode llm", "sse-starlette", 38.0),
    ("encode llm", "fastapi", 14.0),
    ("encode llm", "f-string", 1.8),
)
"""The compiled twin must be this many times as fast."""

PURE_LEADS = (
    "decode llm 64k",
    "decode tiny 64k",
    "decode full 64k",
    "encode llm",
    "encode tiny",
    "encode full",
)
"""Where the pure twin must be ahead of every peer in pure Python."""

NOT_PURE = ("f-string", *peers.NODE)
"""The f-string does nothing that takes time, and is wrong for it; node is not Python."""


class Bar(NamedTuple):
    """One promise, judged.

    Attributes:
        text: what is promised.
        wanted: the ratio that the promise needs.
        found: the ratio that was measured; None when none was.
    """

    text: str
    wanted: float
    found: float | None

    @property
    def holds(self) -> bool:
        return self.found is not None and self.found >= self.wanted

    def __str__(self) -> str:
        verdict = "hold" if self.holds else "fail" if self.found is not None else "absent"
        found = "not measured" if self.found is None else f"{self.found:.2f}"
        return f"{verdict:6}  {self.text}: {found} (at least {self.wanted:.2f})"


def judge(result: Result) -> list[Bar]:
    """Judge every bar that concerns the tasks of this run.

    Raises:
        ValueError: there is nothing to judge: no task, or the base of the run is not the compiled twin.
    """
    if result.base != COMPILED:
        raise ValueError(f"bars are about {COMPILED}, and this run measured {result.base}")
    if not result.rows:
        raise ValueError("nothing was measured")
    bars = list(_leads(result))
    for row in result.rows:
        bars += _against_node(row)
        bars += _against_f_string(row)
        bars += _against_floor(row)
        bars += _pure_against_peers(row)
    return bars


def _leads(result: Result) -> Iterator[Bar]:
    rows = {str(row.task): row for row in result.rows}
    for task, name, wanted in LEADS:
        if task in rows:
            yield Bar(f"{task}: {COMPILED} against {name}", wanted, _ratio(rows[task], name))


def _ratio(row: Row, name: str) -> float | None:
    outcome = row.outcomes.get(name)
    return outcome.ratio if outcome else None


def _against_node(row: Row) -> Iterator[Bar]:
    if row.task.verb != "decode":
        return
    level = row.task.corpus == "tiny" and row.task.chunking in LARGE
    for name in peers.NODE:
        outcome = row.outcomes.get(name)
        if outcome is not None and not outcome.right:
            continue  # a wrong answer sets no bar
        yield Bar(
            f"{row.task}: {COMPILED} against {name}", 1 / 1.2 if level else 1.0, _ratio(row, name)
        )


def _against_f_string(row: Row) -> Iterator[Bar]:
    if row.task.verb == "encode" and row.task.corpus in ENCODED:
        outcome = row.outcomes.get("f-string")
        if outcome is None or outcome.right:
            yield Bar(f"{row.task}: {COMPILED} against f-string", 1.0, _ratio(row, "f-string"))


def _against_floor(row: Row) -> Iterator[Bar]:
    yield Bar(f"{row.task}: {COMPILED} near {FLOOR}", 1 / NEAR_FLOOR, _ratio(row, FLOOR))


def _pure_against_peers(row: Row) -> Iterator[Bar]:
    if str(row.task) not in PURE_LEADS:
        return
    pure = _ratio(row, PURE)
    for name, outcome in row.outcomes.items():
        if name in (COMPILED, PURE, FLOOR, *NOT_PURE) or outcome.ratio is None:
            continue
        found = outcome.ratio / pure if pure else None
        yield Bar(f"{row.task}: {PURE} against {name}", 1.0, found)
