"""Draws a run: nanoseconds of one event, as bars from zero, in a light and a dark SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Any, NamedTuple

WIDTH = 840
MARGIN = 28
GUTTER = 40
HEAD = 84  # height above the first panel
FOOT = 66  # height below the last
LINE = 14  # of the footer
BAR = 15
STEP = 23  # from bar to bar
PANEL_HEAD = 46
LABEL = 118  # width of the names
VALUE = 86  # width kept free behind the longest bar
FASTEST = 3  # the fastest peers of each task, which a panel always shows

FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


class Panel(NamedTuple):
    """One group of bars: a task, and what it is in words."""

    task: str
    title: str
    about: str


PANELS = (
    Panel("decode llm 64k", "Decode an LLM stream", "300 B chat chunks, reads of 64 KiB"),
    Panel("decode llm event", "Decode, event by event", "300 B chat chunks, one a read"),
    Panel("encode llm", "Encode an LLM stream", "300 B of JSON, data only"),
    Panel("encode full", "Encode every field", "id, event, retry, 3 lines, not ASCII"),
)

OURS = {"fastsse": "fastsse", "fastsse pure": "fastsse, pure"}
NAMES = {
    **OURS,
    "launchdarkly": "LaunchDarkly",
    "fastapi": "FastAPI",
    "litestar": "Litestar",
    "node eventsource-parser": "npm, on node",
    "f-string": "bare f-string",
}
LONG = {**NAMES, "node eventsource-parser": "npm eventsource-parser"}
KNOWN = ("httpx-sse", "openai", "sse-starlette", "aiohttp-sse")
"""Peers that are drawn however slow, because people ask for them."""

NEVER = ("floor", "node eventsource-parser 3")
"""Not drawn: no user can install the floor, and one parser in node is enough."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one picture."""

    page: str
    ink: str
    soft: str
    line: str
    ours: str
    pure: str
    peer: str


LIGHT = Theme("#ffffff", "#1f2328", "#59636e", "#d1d9e0", "#0969da", "#80b6f4", "#c4ccd4")
DARK = Theme("#0d1117", "#f0f6fc", "#9198a1", "#3d444d", "#4493f8", "#265b9d", "#474f58")


class Bar(NamedTuple):
    """One contender in one panel."""

    name: str
    ns: float
    ratio: float
    right: bool


def both(found: dict[str, Any], wanted: Sequence[Panel] = PANELS) -> dict[str, str]:
    """Draw the pictures of a run (`Result.json`), by file name; none when the run has nothing to draw."""
    panels = [(panel, bars) for panel in wanted if (bars := _bars(found, panel.task))]
    if not panels:
        return {}
    return {
        "chart-light.svg": _picture(found, panels, LIGHT),
        "chart-dark.svg": _picture(found, panels, DARK),
    }


def _bars(found: dict[str, Any], task: str) -> list[Bar]:
    """Choose the bars: ours first, then the fastest right peers and the well-known ones, the fastest first."""
    row = next((row for row in found["rows"] if row["task"] == task), None)
    if row is None:
        return []
    bars = [
        Bar(name, outcome["ns"], outcome["ratio"], outcome["right"])
        for name, outcome in row["contenders"].items()
        if "ns" in outcome and name not in NEVER
    ]
    ours = [bar for name in OURS for bar in bars if bar.name == name]
    peers = sorted(
        (bar for bar in bars if bar.name not in OURS and bar.right), key=lambda bar: bar.ns
    )
    drawn = [bar for place, bar in enumerate(peers) if place < FASTEST or bar.name in KNOWN]
    return ours + drawn


def _picture(found: dict[str, Any], panels: list[tuple[Panel, list[Bar]]], theme: Theme) -> str:
    width = (WIDTH - 2 * MARGIN - GUTTER) / 2
    rows = [panels[at : at + 2] for at in range(0, len(panels), 2)]
    parts: list[str] = []
    top = float(HEAD)
    for row in rows:
        for column, (panel, bars) in enumerate(row):
            parts += _panel(panel, bars, MARGIN + column * (width + GUTTER), top, width, theme)
        top += PANEL_HEAD + STEP * max(len(bars) for _, bars in row) + 22
    height = round(top - 22 + FOOT)
    head = [
        _text(MARGIN, 38, "Time per event", theme.ink, 20, weight=600),
        _text(
            MARGIN,
            60,
            "nanoseconds, shorter is better; × is a multiple of fastsse's time",
            theme.soft,
            13,
        ),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="{FONT}" role="img">',
            f"<title>{escape(_summary(panels))}</title>",
            f'<rect width="{WIDTH}" height="{height}" rx="6" fill="{theme.page}"/>',
            *head,
            *parts,
            *_footer(found, {bar.name for _, bars in panels for bar in bars}, height, theme),
            "</svg>\n",
        ]
    )


def _panel(
    panel: Panel, bars: list[Bar], left: float, top: float, width: float, theme: Theme
) -> Iterator[str]:
    """Draw a title, and bars on a scale of their own that begins at zero."""
    yield _text(left, top + 14, panel.title, theme.ink, 14, weight=600)
    yield _text(left, top + 31, panel.about, theme.soft, 12)
    scale = (width - LABEL - VALUE) / max(bar.ns for bar in bars)
    zero = left + LABEL
    bottom = top + PANEL_HEAD + STEP * len(bars) - (STEP - BAR) + 3
    yield (
        f'<path d="M{zero - 0.5:.1f} {top + PANEL_HEAD - 3:.1f}V{bottom:.1f}" '
        f'stroke="{theme.line}" fill="none"/>'
    )
    for number, bar in enumerate(bars):
        yield from _bar(bar, zero, top + PANEL_HEAD + STEP * number, bar.ns * scale, theme)


def _bar(bar: Bar, zero: float, top: float, length: float, theme: Theme) -> Iterator[str]:
    fill = {"fastsse": theme.ours, "fastsse pure": theme.pure}.get(bar.name, theme.peer)
    mine = bar.name in OURS
    weight = 600 if bar.name == "fastsse" else 400
    ink = theme.ink if mine else theme.soft
    base = top + BAR - 3.5
    yield _text(zero - 8, base, NAMES.get(bar.name, bar.name), ink, 12, weight=weight, anchor="end")
    yield (
        f'<rect x="{zero:.1f}" y="{top:.1f}" width="{max(length, 1):.1f}" height="{BAR}" '
        f'rx="{min(2.0, max(length, 1) / 2):.1f}" fill="{fill}"/>'
    )
    value = f"{bar.ns:,.0f}" + ("" if bar.name == "fastsse" else f"  ×{_times(bar.ratio)}")
    yield _text(zero + max(length, 1) + 6, base, value, ink, 12, weight=weight)


def _times(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"


def _footer(found: dict[str, Any], drawn: set[str], height: int, theme: Theme) -> Iterator[str]:
    about = found["environment"]
    versions = found["versions"]
    named = [
        f"{LONG.get(name, name)} {version}"
        for name, version in versions.items()
        if name in drawn and name not in OURS and version
    ]
    machine = f"{about['python']} on {about['processor']}, one core, {about['date']}"
    lines = [f"fastsse {versions.get('fastsse', '')}, {machine}. Medians of one interleaved run."]
    lines += wrap(", ".join(named) + ".", 150)
    for number, line in enumerate(lines):
        yield _text(MARGIN, height - FOOT + 24 + LINE * number, line, theme.soft, 10.5)


def _summary(panels: list[tuple[Panel, list[Bar]]]) -> str:
    """Write the picture in words, for readers who cannot see it."""
    parts = []
    for panel, bars in panels:
        values = ", ".join(f"{NAMES.get(bar.name, bar.name)} {bar.ns:,.0f} ns" for bar in bars)
        parts.append(f"{panel.title}: {values}")
    return "Time per event. " + ". ".join(parts) + "."


def _text(
    x: float,
    y: float,
    text: str,
    fill: str,
    size: float,
    *,
    weight: int = 400,
    anchor: str = "start",
) -> str:
    more = f' font-weight="{weight}"' if weight != 400 else ""
    more += f' text-anchor="{anchor}"' if anchor != "start" else ""
    kept = ' xml:space="preserve"' if "  " in text else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}"{more}{kept}>{escape(text)}</text>'
