"""Draws a run: deliveries a second, one event at a time and in bursts, as bars from zero. Light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from textwrap import wrap
from typing import Any, NamedTuple

from benchmarks.chart import DARK, FONT, LIGHT, Theme

__all__ = ["both"]

WIDTH = 840
MARGIN = 28
GUTTER = 40
HEAD = 84  # height above the panels
FOOT = 64  # height below them
FOOT_LINE = 135  # letters of a line of names and versions
BAR = 15
STEP = 23  # from bar to bar
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
    width = (WIDTH - 2 * MARGIN - GUTTER) / 2
    most = max(len(bars) for bars in panels.values())
    height = HEAD + PANEL_HEAD + STEP * most + FOOT
    about = "thousand deliveries a second to 1,000 readers, longer is better; ×: fastsse's as a multiple of it"
    parts: list[str] = []
    for column, (phase, title, under) in enumerate(PANELS):
        left = MARGIN + column * (width + GUTTER)
        parts += _panel(panels[phase], title, under, left, width, theme)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="{FONT}" role="img">',
            f"<title>{escape(_summary(panels))}</title>",
            f'<rect width="{WIDTH}" height="{height}" rx="6" fill="{theme.page}"/>',
            _text(MARGIN, 38, "Broadcast", theme.ink, 20, weight=600),
            _text(MARGIN, 60, about, theme.soft, 13),
            *parts,
            *_footer(found, height, theme),
            "</svg>\n",
        ]
    )


def _panel(
    bars: list[Bar], title: str, under: str, left: float, width: float, theme: Theme
) -> Iterator[str]:
    """Draw a title, and bars on a scale of their own that begins at zero."""
    yield _text(left, HEAD + 14, title, theme.ink, 14, weight=600)
    yield _text(left, HEAD + 31, under, theme.soft, 12)
    ours = next(bar.rate for bar in bars if bar.name == OURS)
    scale = (width - LABEL - VALUE) / max(bar.rate for bar in bars)
    zero = left + LABEL
    top = HEAD + PANEL_HEAD
    bottom = top + STEP * len(bars) - (STEP - BAR) + 3
    yield f'<path d="M{zero - 0.5:.1f} {top - 3}V{bottom}" stroke="{theme.line}" fill="none"/>'
    for number, bar in enumerate(bars):
        yield from _bar(bar, ours, zero, top + STEP * number, bar.rate * scale, theme)


def _bar(
    bar: Bar, ours: float, zero: float, top: float, length: float, theme: Theme
) -> Iterator[str]:
    mine = bar.name.startswith(OURS)
    fill = theme.ours if bar.name == OURS else theme.pure if mine else theme.peer
    weight = 600 if bar.name == OURS else 400
    ink = theme.ink if mine else theme.soft
    base = top + BAR - 3.5
    length = max(length, 1.0)
    yield _text(zero - 8, base, NAMES.get(bar.name, bar.name), ink, 12, weight=weight, anchor="end")
    yield (
        f'<rect x="{zero:.1f}" y="{top:.1f}" width="{length:.1f}" height="{BAR}" '
        f'rx="{min(2.0, length / 2):.1f}" fill="{fill}"/>'
    )
    rate = bar.rate / 1000
    value = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
    value += "" if bar.name == OURS else f"  ×{ours / bar.rate:.1f}"
    yield _text(zero + length + 6, base, value, ink, 12, weight=weight)


def _footer(found: dict[str, Any], height: int, theme: Theme) -> Iterator[str]:
    about = found["environment"]
    versions = found["versions"]
    first = (
        f"{about['processors']} cores of {about['processor']}, {about['python']}, {about['date']}. "
        "Publishes by HTTP counted in, every event checked at every reader."
    )
    parts = [v for n, v in versions.items() if n not in NEVER and n != "floor"]
    named = ", ".join(dict.fromkeys(part for v in parts for part in v.split(", ")))
    yield _text(MARGIN, height - 46, first, theme.soft, 11)
    for number, line in enumerate(wrap(named, FOOT_LINE)[:2]):
        yield _text(MARGIN, height - 30 + 14 * number, line, theme.soft, 10)


def _summary(panels: dict[str, list[Bar]]) -> str:
    """Write the picture in words, for readers who cannot see it."""
    parts = []
    for phase, title, _ in PANELS:
        values = ", ".join(
            f"{NAMES.get(bar.name, bar.name)} {bar.rate / 1000:,.0f}" for bar in panels[phase]
        )
        parts.append(f"{title}: {values}")
    return "Thousand deliveries a second to 1,000 readers. " + ". ".join(parts) + "."


def _text(
    x: float, y: float, text: str, fill: str, size: int, *, weight: int = 400, anchor: str = "start"
) -> str:
    more = f' font-weight="{weight}"' if weight != 400 else ""
    more += f' text-anchor="{anchor}"' if anchor != "start" else ""
    kept = ' xml:space="preserve"' if "  " in text else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}"{more}{kept}>{escape(text)}</text>'
