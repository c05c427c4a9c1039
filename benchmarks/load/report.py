"""Writes a run as text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.load.measure import median, paired
from benchmarks.load.servers import BEFORE

__all__ = ["text"]

Found = dict[str, Any]
AGAINST = ("nchan", "sse-starlette/uvicorn", "floor")


def text(found: Found) -> str:
    """Write all tables of a run (see `run.run`)."""
    parts: list[str] = []
    for readers, cells in found.get("fanout", {}).items():
        parts += [f"Fan-out, {int(readers):,} readers, events of 100 B, publishes by POST", ""]
        parts += [*_table(_fanout(cells)), ""]
    for readers, cells in found.get("turns", {}).items():
        parts += [
            f"In turn, all up at once, {int(readers):,} readers; x: of floor, of sse-starlette/uvicorn, by pairs",
            "",
        ]
        parts += [*_table(_turns(cells)), ""]
    for name, title, rows in (
        (
            "storm",
            f"{found['plan']['storm']:,} readers come at once, stay, and leave at once",
            _storm,
        ),
        ("memory", f"{found['plan']['storm']:,} readers who came a few at a time", _memory),
        ("stalled", "20 of 100 readers stall, 100 events/s of 10 kB", _stalled),
        ("topics", "Many topics with one reader each, 16 publishes under way", _topics),
        ("replay", "All come back with the same old id", _replay),
    ):
        if found.get(name):
            parts += [title, "", *_table(rows(found[name])), ""]
    if found.get("before"):
        parts += [
            "This checkout and another one, in turn",
            "",
            *_table(_before(found["before"])),
            "",
        ]
    parts += _rest(found)
    if found.get("failed"):
        parts += ["Failed:", *(f"  {fault}" for fault in found["failed"]), ""]
    if found.get("absent"):
        parts += ["Not here:", *(f"  {name}: {how}" for name, how in found["absent"].items()), ""]
    return "\n".join(parts).rstrip()


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = (
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(["", first, *rest]).rstrip()


def _fanout(cells: Found) -> list[list[str]]:
    rates = sorted({int(p[3:]) for cell in cells.values() for p in cell if p.startswith("at ")})
    head = ["", "single k/s", "burst k/s"]
    head += [f"/ {short}" for name in AGAINST if (short := _short_name(name))]
    head += [
        "CPU us",
        "p50/p99 ms",
        "KiB/reader",
        *(f"@{rate // 1000}k/s" for rate in rates),
        "runs",
    ]
    rows = [head]
    for name, cell in cells.items():
        if "single" not in cell:
            continue
        single, burst = cell["single"], cell["burst"]
        row = [name, f"{single['rate'] / 1000:.1f}", f"{burst['rate'] / 1000:.0f}"]
        row += [_against(cell, cells.get(other)) for other in AGAINST]
        row += [
            f"{single['cost']:.1f}, {burst['cost']:.1f}",
            _delays(single),
            f"{cell['rss']['value']:.1f}",
        ]
        row += [_delays(cell.get(f"at {rate}")) for rate in rates]
        rows.append([*row, f"{single['runs']} ({single['calm']})"])
    return rows


def _turns(cells: Found) -> list[list[str]]:
    """Write the contenders that took turns, each as a multiple of the floor or of sse-starlette in the next phases."""
    phases = list(dict.fromkeys(phase for cell in cells.values() for phase in cell))
    rows = [["", *(head for p in phases for head in _turn_heads(p)), "CPU us", "turns"]]
    for name, cell in cells.items():
        row = [name]
        least = "floor" if name in ("floor", "nchan", "fastsse") else "sse-starlette/uvicorn"
        for phase in phases:
            value, scale = ("p99", 1.0) if phase.startswith("at ") else ("rate", 1000.0)
            found = median(cell.get(phase, []), value)
            ratio = paired(cell.get(phase, []), cells.get(least, {}).get(phase, []), value)
            row.append("-" if found is None else f"{found / scale:.1f}")
            row.append("-" if ratio is None else f"{ratio:.2f}")
        costs = ", ".join(f"{median(results, 'cost') or 0.0:.1f}" for results in cell.values())
        rows.append([*row, costs, str(len(next(iter(cell.values()))))])
    return rows


def _turn_heads(phase: str) -> tuple[str, str]:
    rate = phase.removeprefix("at ")
    name = f"{phase} k/s" if rate == phase else f"@{int(rate) // 1000}k/s, p99 ms"
    return name, "x"


_COMPARED = (  # what a row is called, the phase, the value, and what it is divided by
    ("single events, k deliveries/s", "single", "rate", 1000.0),
    ("single events, us of CPU a delivery", "single", "cost", 1.0),
    ("bursts, k deliveries/s", "burst", "rate", 1000.0),
    ("bursts, us of CPU a delivery", "burst", "cost", 1.0),
    ("60,000 deliveries/s, p50 ms", "at 60000", "p50", 1.0),
    ("60,000 deliveries/s, p99 ms", "at 60000", "p99", 1.0),
    ("connects at once, us of CPU each", "connects", "cost", 1.0),
    ("connects at once, s for all", "connects", "seconds", 1.0),
    ("idle stream, KiB", "memory", "rss", 1.0),
)


def _before(cells: Found) -> list[list[str]]:
    """Write the figures of both checkouts, and the median ratios of this one's to their neighbours in time."""
    rows = [["", "before", "after", "after / before", "pairs"]]
    old, new = cells.get(BEFORE, {}), cells.get("fastsse", {})
    for what, phase, value, scale in _COMPARED:
        pair = old.get(phase, []), new.get(phase, [])
        figures = [median(results, value) for results in pair]
        ratio = paired(pair[1], pair[0], value)
        rows.append(
            [
                what,
                *("-" if figure is None else f"{figure / scale:.2f}" for figure in figures),
                "-" if ratio is None else f"{ratio:.3f}",
                str(min(map(len, pair))),
            ]
        )
    return rows


def _short_name(name: str) -> str:
    return {"sse-starlette/uvicorn": "sse-st."}.get(name, name)


def _against(cell: Found, other: Found | None) -> str:
    """Write singles and bursts as multiples of another contender's."""
    if other is None or "single" not in other:
        return "-"
    pair = (cell[phase]["rate"] / max(1.0, other[phase]["rate"]) for phase in ("single", "burst"))
    return ", ".join(f"{ratio:.2f}" for ratio in pair)


def _delays(phase: Found | None) -> str:
    if phase is None:
        return "-"
    return "over" if phase["p50"] > 1000 else f"{phase['p50']:.1f}/{phase['p99']:.1f}"


def _storm(cells: Found) -> list[list[str]]:
    rows = [["", "s", "CPU us/connect", "KiB/reader", "kernel KiB", "gone, s", "MB after"]]
    for name, cell in cells.items():
        gone = "-" if cell["gone"] is None else f"{cell['gone']:.2f}"
        rows.append(
            [
                name,
                f"{cell['seconds']:.2f}",
                f"{cell['cost']:.0f}",
                f"{cell['rss']:.1f}",
                f"{cell['buffers']:.1f}",
                gone,
                f"{cell['grown']:+.0f}",
            ]
        )
    return rows


def _memory(cells: Found) -> list[list[str]]:
    return [["", "KiB/reader"], *([name, f"{cell['rss']:.1f}"] for name, cell in cells.items())]


def _stalled(cells: Found) -> list[list[str]]:
    rows = [
        [
            "",
            "MB before",
            "MB/stalled",
            "MB caught up",
            "MB later",
            "others before",
            "while stalled",
            "ended",
            "lost",
            "gaps",
        ]
    ]
    for name, cell in cells.items():
        rows.append(
            [
                name,
                f"{cell['before']:.0f}",
                f"{cell['grown']:.2f}",
                f"{cell['peak']:.0f}",
                f"{cell['after']:.0f}",
                _delays(cell["calm"]),
                _delays(cell["stalled"]),
                *(str(cell[count]) for count in ("ended", "lost", "gaps")),
            ]
        )
    return rows


def _topics(cells: Found) -> list[list[str]]:
    rows = [["", "topics", "publishes/s", "CPU us", "p50/p99 ms"]]
    for name, by_count in cells.items():
        for count, cell in by_count.items():
            rows.append(
                [
                    name,
                    f"{int(count):,}",
                    f"{cell['rate']:.0f}",
                    f"{cell['cost']:.0f}",
                    _delays(cell),
                ]
            )
    return rows


def _replay(cells: Found) -> list[list[str]]:
    rows = [["", "readers", "events", "s", "deliveries k/s", "CPU us", "gaps", "faults"]]
    for name, cell in cells.items():
        rows.append(
            [
                name,
                f"{cell['open']:,}",
                f"{cell['delivered']:,}",
                f"{cell['seconds']:.2f}",
                f"{cell['rate'] / 1000:.0f}",
                f"{cell['cost']:.2f}",
                str(cell["gaps"]),
                str(len(cell["faults"])),
            ]
        )
    return rows


def _rest(found: Found) -> list[str]:
    lines: list[str] = []
    inside = found.get("inside", {})
    for name in ("single", "burst"):
        if name in inside:
            pump = inside[name]
            lines.append(
                f"  pump, {name}: {pump['cpu']:.2f} us of CPU, {pump['wall']:.2f} us by the clock for a send, "
                f"{pump['joined']:.1f} events a send"
            )
    if "share" in inside:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in inside["share"].items())
        lines.append(f"  the server's CPU, single events: {shares}")
    if "tasks" in inside:
        lines.append(f"  tasks per stream: {inside['tasks']:.3f}")
    idle = found.get("idle")
    if idle:
        lines.append(
            f"  {idle['readers']:,} idle streams: {idle['cpu']:.2%} of a processor, {idle['rss']:.1f} KiB each, "
            f"{idle['comments']:.1f} heartbeats each in {idle['seconds']:.0f} s, {idle['runs']} runs"
        )
    counted = found.get("instructions", {})
    if "10" in counted:
        lines.append(
            f"  instructions of a publish: {counted['10']:,.0f} beside 10 topics, {counted['10000']:,.0f} beside 10,000"
        )
    return ["Inside fastsse", "", *lines, ""] if lines else []
