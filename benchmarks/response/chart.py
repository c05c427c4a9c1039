"""Draws a run: what a token costs, and what a generator that never waits gives, as bars from zero. Light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Any, NamedTuple

from benchmarks.response.servers import NAMES, SERVERS
from benchmarks.svg import DARK, LIGHT, MARGIN, STEP, Theme, axis, bar, column, page, text

__all__ = ["both"]

HEAD = 84  # height above the panels
FOOT = 64  # height below them
FOOT_LINE = 135  # letters of a line of versions
PANEL = 46 + STEP * len(NAMES) + 18  # height of a panel
LABEL = 130  # width of the names
VALUE = 84  # width kept free behind the longest bar
OURS = "fastsse"
SHOWN = {
    "floor": "raw ASGI, no library",
    "FastAPI": "FastAPI's own",
    "Litestar": "Litestar's own",
}


class Panel(NamedTuple):
    """One value under one server, and how it is written."""

    value: str
    title: str
    scale: float
    digits: int


PANELS = (
    Panel("cost", "CPU of a token, µs: shorter is better", 1.0, 0),
    Panel("hose", "Thousand events/s, never waiting: longer is better", 1000.0, 0),
)


def both(found: dict[str, Any]) -> dict[str, str]:
    """Draw the pictures of a run, by file name; none when fastsse or its peers are not in it."""
    cells = found["cells"]
    servers = [server for server in SERVERS if _complete(cells, server)]
    if not servers:
        return {}
    return {
        "chart-light.svg": _picture(found, servers, LIGHT),
        "chart-dark.svg": _picture(found, servers, DARK),
    }


def _complete(cells: dict[str, Any], server: str) -> bool:
    names = [name for name in NAMES if all(_value(cells, name, server, p) for p in PANELS)]
    return OURS in names and len(names) > 1


def _value(cells: dict[str, Any], name: str, server: str, panel: Panel) -> float | None:
    value: float | None = cells.get(f"{name}/{server}", {}).get(panel.value)
    return value


def _picture(found: dict[str, Any], servers: list[str], theme: Theme) -> str:
    height = HEAD + PANEL * len(servers) + FOOT
    about = "300 streams of 40 tokens a second; one stream of a generator that never waits. ×: fastsse as a multiple"
    parts: list[str] = []
    for row, server in enumerate(servers):
        for number, panel in enumerate(PANELS):
            values = {name: _value(found["cells"], name, server, panel) for name in NAMES}
            bars = {name: value for name, value in values.items() if value}
            parts += _panel(bars, server, panel, *column(number), HEAD + PANEL * row, theme)
    parts += _footer(found, height, theme)
    summary = _summary(found["cells"], servers)
    return page(height, summary, "One answer, token by token", about, parts, theme)


def _panel(
    bars: dict[str, float],
    server: str,
    panel: Panel,
    left: float,
    width: float,
    top: float,
    theme: Theme,
) -> Iterator[str]:
    """Draw a title, and bars on a scale of their own that begins at zero."""
    yield text(left, top + 14, panel.title, theme.ink, 13, weight=600)
    yield text(left, top + 31, f"under {server}", theme.soft, 12)
    scale = (width - LABEL - VALUE) / max(bars.values())
    yield axis(left + LABEL, top + 46, len(bars), theme)
    for number, (name, value) in enumerate(bars.items()):
        mine = name == OURS
        written = f"{value / panel.scale:,.{panel.digits}f}"
        if not mine:
            written += f"  ×{bars[OURS] / value:.{2 if panel.value == 'cost' else 1}f}"
        yield from bar(
            left + LABEL,
            top + 46 + STEP * number,
            value * scale,
            theme.ours if mine else theme.peer,
            SHOWN.get(name, name),
            written,
            theme.ink if mine else theme.soft,
            bold=mine,
        )


def _footer(found: dict[str, Any], height: int, theme: Theme) -> Iterator[str]:
    about = found["environment"]
    first = (
        f"{about['processors']} cores of {about['processor']}, {about['python']}, {about['date']}. "
        "All contenders up at once, measured in turn."
    )
    parts = [part for said in found["versions"].values() for part in said.split(", ")]
    yield text(MARGIN, height - 46, first, theme.soft, 11)
    for number, line in enumerate(wrap(", ".join(dict.fromkeys(parts)), FOOT_LINE)[:2]):
        yield text(MARGIN, height - 30 + 14 * number, line, theme.soft, 10)


def _summary(cells: dict[str, Any], servers: list[str]) -> str:
    """Write the picture in words, for readers who cannot see it."""
    parts = []
    for server in servers:
        for panel in PANELS:
            values = ", ".join(
                f"{name} {value / panel.scale:,.0f}"
                for name in NAMES
                if (value := _value(cells, name, server, panel))
            )
            parts.append(f"{panel.title.partition(':')[0]}, under {server}: {values}.")
    return " ".join(parts)
