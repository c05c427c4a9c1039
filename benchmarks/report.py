"""Writes a run as text: how many times as long as fastsse each contender took, and in how many nanoseconds."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.compare import Outcome, Result, Row

LEGEND = (
    "Multiples of {base}'s time in the same round, the median of {rounds} rounds: 20.0 took twenty times as long.",
    "* its answer was wrong; - it could not do it at all.",
)


def table(result: Result) -> str:
    """Write the tables of ratios, one for each verb, and below each the time of one event in fastsse."""
    verbs = list(dict.fromkeys(row.task.verb for row in result.rows))
    parts = [line.format(base=result.base, rounds=result.rounds) for line in LEGEND]
    for verb in verbs:
        rows = [row for row in result.rows if row.task.verb == verb]
        parts += ["", *_verb(result, verb, rows)]
    parts += ["", *_footer(result)]
    return "\n".join(parts)


def _verb(result: Result, verb: str, rows: list[Row]) -> Iterator[str]:
    """Write one table: tasks down, contenders across, in groups that fit a terminal."""
    names = list(dict.fromkeys(name for row in rows for name in row.outcomes))
    names.remove(result.base)
    label = max(len(_label(row)) for row in rows)
    yield f"{verb:{label}}  {result.base + ' ns':>12}" + "".join(
        f"  {_short(name):>9}" for name in names
    )
    for row in rows:
        base = row.outcomes[result.base]
        cells = "".join(f"  {_cell(row.outcomes.get(name)):>9}" for name in names)
        yield f"{_label(row):{label}}  {_number(base.ns):>12}{cells}"


def _label(row: Row) -> str:
    return " ".join(filter(None, row.task[1:]))


def _short(name: str) -> str:
    """Shorten a name to nine characters."""
    return SHORT.get(name, name)[:9]


SHORT = {
    "fastsse": "fastsse",
    "fastsse pure": "pure",
    "launchdarkly": "launchdk",
    "sseclient-py": "sseclient",
    "requests-sse": "requests",
    "aiohttp-sse-client": "aiohttp",
    "sse-starlette": "starlette",
    "orjson + bytes": "orjson+b",
    "node eventsource-parser": "node es-p",
    "node eventsource-parser 3": "node es-3",
}


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    if outcome.ratio is None:
        return "-"
    return _number(outcome.ratio) + ("" if outcome.right else "*")


def _number(value: float | None) -> str:
    """Write a number with three figures, more where the value has them."""
    if value is None:
        return "-"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def _footer(result: Result) -> Iterator[str]:
    about = result.environment
    yield f"{about['python']}, {about['processor']}, {about['system']}, {about['date']}"
    yield "measured: " + ", ".join(f"{n} {v}".strip() for n, v in result.versions.items())
    for name, how in result.absent.items():
        yield f"absent: {name}: {how}"
