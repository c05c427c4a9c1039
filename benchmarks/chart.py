"""Draws a run: nanoseconds of one event, as bars from zero, in a light and a dark SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any, NamedTuple

from benchmarks.svg import DARK, LIGHT, MARGIN, STEP, Theme, axis, bar, column, page, text

HEAD = 84  # height above the first panel
FOOT = 66  # height below the last
LINE = 14  # of the footer
PANEL_HEAD = 46
LABEL = 118  # width of the names
VALUE = 86  # width kept free behind the longest bar
FASTEST = 3  # the fastest peers of each task, which a panel always shows


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
    rows = [panels[at : at + 2] for at in range(0, len(panels), 2)]
    parts: list[str] = []
    top = float(HEAD)
    for row in rows:
        for number, (panel, bars) in enumerate(row):
            parts += _panel(panel, bars, *column(number), top, theme)
        top += PANEL_HEAD + STEP * max(len(bars) for _, bars in row) + 22
    height = round(top - 22 + FOOT)
    about = "nanoseconds, shorter is better; × is a multiple of fastsse's time"
    drawn = {one.name for _, bars in panels for one in bars}
    parts += _footer(found, drawn, height, theme)
    return page(height, _summary(panels), "Time per event", about, parts, theme)


def _panel(
    panel: Panel, bars: list[Bar], left: float, width: float, top: float, theme: Theme
) -> Iterator[str]:
    """Draw a title, and bars on a scale of their own that begins at zero."""
    yield text(left, top + 14, panel.title, theme.ink, 14, weight=600)
    yield text(left, top + 31, panel.about, theme.soft, 12)
    scale = (width - LABEL - VALUE) / max(one.ns for one in bars)
    yield axis(left + LABEL, top + PANEL_HEAD, len(bars), theme)
    for number, one in enumerate(bars):
        fill = {"fastsse": theme.ours, "fastsse pure": theme.pure}.get(one.name, theme.peer)
        value = f"{one.ns:,.0f}" + ("" if one.name == "fastsse" else f"  ×{_times(one.ratio)}")
        yield from bar(
            left + LABEL,
            top + PANEL_HEAD + STEP * number,
            one.ns * scale,
            fill,
            NAMES.get(one.name, one.name),
            value,
            theme.ink if one.name in OURS else theme.soft,
            bold=one.name == "fastsse",
        )


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
        yield text(MARGIN, height - FOOT + 24 + LINE * number, line, theme.soft, 10.5)


def _summary(panels: list[tuple[Panel, list[Bar]]]) -> str:
    """Write the picture in words, for readers who cannot see it."""
    parts = []
    for panel, bars in panels:
        values = ", ".join(f"{NAMES.get(bar.name, bar.name)} {bar.ns:,.0f} ns" for bar in bars)
        parts.append(f"{panel.title}: {values}")
    return "Time per event. " + ". ".join(parts) + "."
