"""Draws a run: deliveries a second, one event at a time and in bursts, as bars from zero. Light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Any, NamedTuple

from benchmarks.svg import DARK, LIGHT, MARGIN, STEP, Theme, axis, bar, column, page, text

__all__ = ["both"]

HEAD = 84  # height above the panels
FOOT = 64  # height below them
FOOT_LINE = 135  # letters of a line of names and versions
PANEL_HEAD = 46
LABEL = 150  # width of the names
VALUE = 84  # width kept free behind the longest bar

READERS = "1000"
PANELS = (
    ("single", "One event at a time", "the next when all have the last"),
    ("burst", "Bursts", "16 publishes under way"),
)
OURS = "fastsse"
NEVER = ("fastsse wrapped", "fastsse bypass", "sse-starlette wrapped", "floor joined")
NAMES = {
    "floor": "C, one send each",
    "nchan": "nginx + nchan",
    "fastsse": "fastsse",
    "fastsse/uvicorn": "fastsse, uvicorn",
    "sse-starlette/uvicorn": "sse-starlette",
    "sse-starlette/granian": "sse-starlette, granian",
    "FastAPI/uvicorn": "FastAPI",
    "better-sse/node": "better-sse, node",
}


class Bar(NamedTuple):
    """One contender in one panel."""

    name: str
    rate: float


def both(found: dict[str, Any]) -> dict[str, str]:
    """Draw the pictures of a run, by file name; none when the run has nothing to draw."""
    cells = found.get("fanout", {}).get(READERS, {})
    panels = {phase: _bars(cells, phase) for phase, _, _ in PANELS}
    if len(cells) < 2 or any(OURS not in [bar.name for bar in bars] for bars in panels.values()):
        return {}
    return {
        "load-light.svg": _picture(found, panels, LIGHT),
        "load-dark.svg": _picture(found, panels, DARK),
    }


def _bars(cells: dict[str, Any], phase: str) -> list[Bar]:
    """Choose the bars of one panel, the fastest first."""
    bars = [
        Bar(name, cell[phase]["rate"])
        for name, cell in cells.items()
        if name not in NEVER and cell.get(phase, {}).get("rate")
    ]
    return sorted(bars, key=lambda bar: -bar.rate)


def _picture(found: dict[str, Any], panels: dict[str, list[Bar]], theme: Theme) -> str:
    most = max(len(bars) for bars in panels.values())
    height = HEAD + PANEL_HEAD + STEP * most + FOOT
    about = "thousand deliveries a second to 1,000 readers, longer is better; ×: fastsse's as a multiple of it"
    parts: list[str] = []
    for number, (phase, title, under) in enumerate(PANELS):
        parts += _panel(panels[phase], title, under, *column(number), theme)
    parts += _footer(found, height, theme)
    return page(height, _summary(panels), "Broadcast", about, parts, theme)


def _panel(
    bars: list[Bar], title: str, under: str, left: float, width: float, theme: Theme
) -> Iterator[str]:
    """Draw a title, and bars on a scale of their own that begins at zero."""
    yield text(left, HEAD + 14, title, theme.ink, 14, weight=600)
    yield text(left, HEAD + 31, under, theme.soft, 12)
    ours = next(one.rate for one in bars if one.name == OURS)
    scale = (width - LABEL - VALUE) / max(one.rate for one in bars)
    yield axis(left + LABEL, HEAD + PANEL_HEAD, len(bars), theme)
    for number, one in enumerate(bars):
        mine = one.name.startswith(OURS)
        yield from bar(
            left + LABEL,
            HEAD + PANEL_HEAD + STEP * number,
            one.rate * scale,
            theme.ours if one.name == OURS else theme.pure if mine else theme.peer,
            NAMES.get(one.name, one.name),
            _written(one, ours),
            theme.ink if mine else theme.soft,
            bold=one.name == OURS,
        )


def _written(one: Bar, ours: float) -> str:
    rate = one.rate / 1000
    value = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
    return value + ("" if one.name == OURS else f"  ×{ours / one.rate:.1f}")


def _footer(found: dict[str, Any], height: int, theme: Theme) -> Iterator[str]:
    about = found["environment"]
    versions = found["versions"]
    first = (
        f"{about['processors']} cores of {about['processor']}, {about['python']}, {about['date']}. "
        "Publishes by HTTP counted in, every event checked at every reader."
    )
    parts = [v for n, v in versions.items() if n not in NEVER and n != "floor"]
    named = ", ".join(dict.fromkeys(part for v in parts for part in v.split(", ")))
    yield text(MARGIN, height - 46, first, theme.soft, 11)
    for number, line in enumerate(wrap(named, FOOT_LINE)[:2]):
        yield text(MARGIN, height - 30 + 14 * number, line, theme.soft, 10)


def _summary(panels: dict[str, list[Bar]]) -> str:
    """Write the picture in words, for readers who cannot see it."""
    parts = []
    for phase, title, _ in PANELS:
        values = ", ".join(
            f"{NAMES.get(bar.name, bar.name)} {bar.rate / 1000:,.0f}" for bar in panels[phase]
        )
        parts.append(f"{title}: {values}")
    return "Thousand deliveries a second to 1,000 readers. " + ". ".join(parts) + "."
