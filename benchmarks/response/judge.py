"""The bars: what a token may cost beside the floor and the peers, each as a ratio within one run."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

from benchmarks.response.servers import SERVERS

__all__ = ["BARS", "Bar", "judge", "ratio"]

Found = dict[str, Any]

# Each has the value, with whom it is compared, the limit, and the side of it on which the ratio must stay.
BARS = (
    ("costs", "floor", 1.15, "at most"),
    ("costs", "StreamingResponse", 0.8, "at most"),
    ("costs", "sse-starlette", 0.5, "at most"),
    ("costs", "FastAPI", 0.15, "at most"),
    ("hoses", "sse-starlette", 15.0, "at least"),
    ("hoses", "StreamingResponse", 8.0, "at least"),
    ("kib", "StreamingResponse", 1.0, "at most"),
)
WORDS = {"costs": "CPU of a token", "hoses": "firehose", "kib": "an open stream"}


class Bar(NamedTuple):
    """One bar; `found` is None where one side of the ratio was not measured."""

    what: str
    limit: float
    sense: str
    found: float | None

    @property
    def holds(self) -> bool | None:
        """True when the ratio keeps the limit; None when there is no ratio."""
        if self.found is None:
            return None
        return self.found <= self.limit if self.sense == "at most" else self.found >= self.limit

    def __str__(self) -> str:
        verdict = {True: "hold", False: "FAIL", None: "-"}[self.holds]
        found = "not measured" if self.found is None else f"{self.found:.2f}"
        return f"{verdict:5} {self.what}: {found}, {self.sense} {self.limit}"


def judge(found: Found) -> list[Bar]:
    """Hold a run against the bars, under each server."""
    return [
        Bar(
            f"{WORDS[value]}, fastsse / {other}, {server}",
            limit,
            sense,
            ratio(found["cells"], value, other, server),
        )
        for server in SERVERS
        for value, other, limit, sense in BARS
    ]


def ratio(cells: Found, value: str, other: str, server: str) -> float | None:
    """Take the ratio of ours to another contender's: the median over the rounds, where there are rounds."""
    ours, theirs = cells.get(f"fastsse/{server}", {}), cells.get(f"{other}/{server}", {})
    mine, yours = ours.get(value), theirs.get(value)
    if not mine or not yours:
        return None
    if isinstance(mine, list):
        return statistics.median(a / b for a, b in zip(mine, yours, strict=False))
    return float(mine / yours)
