"""Writes a run as text, for a terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.response.judge import ratio
from benchmarks.response.phases import IDLE, PATIENCE, STREAMS
from benchmarks.response.servers import NAMES, SERVERS

__all__ = ["text"]

Found = dict[str, Any]


def text(found: Found) -> str:
    """Write the table of a run under each server (see `run.run`)."""
    parts: list[str] = []
    for server in SERVERS:
        rows = list(_rows(found["cells"], server))
        if len(rows) > 1:
            parts += [f"{server}: {STREAMS} streams of 40 tokens/s; {IDLE} idle ones", ""]
            parts += [*_table(rows), ""]
    if found["failed"]:
        parts += ["Failed:", *(f"  {fault}" for fault in found["failed"]), ""]
    if found["absent"]:
        parts += ["Not here:", *(f"  {name}: {how}" for name, how in found["absent"].items()), ""]
    return "\n".join(parts).rstrip()


def _rows(cells: Found, server: str) -> Iterator[list[str]]:
    yield [
        "",
        "CPU us/token",
        "fastsse is x",
        "firehose, k/s",
        "fastsse is x",
        "KiB/stream",
        "stops, s",
    ]
    for name in NAMES:
        cell = cells.get(f"{name}/{server}")
        if cell is None:
            continue
        yield [
            name,
            _figure(cell.get("cost"), 1),
            _figure(ratio(cells, "costs", name, server), 2),
            _figure(cell.get("hose"), 1, 1000),
            _figure(ratio(cells, "hoses", name, server), 1),
            _figure(cell.get("kib"), 1),
            f"over {PATIENCE:g}" if cell["stop"] is None else f"{cell['stop']:.2f}",
        ]


def _figure(value: float | None, digits: int, scale: float = 1.0) -> str:
    return "-" if value is None else f"{value / scale:.{digits}f}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        yield "  ".join(["", first.ljust(widths[0]), *cells]).rstrip()
