"""Draws a run: what a token costs, and what a generator that never waits gives, as bars from zero. Light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from textwrap import wrap
from typing import Any, NamedTuple

from benchmarks.chart import DARK, FONT, LIGHT, Theme
from benchmarks.response.servers import NAMES, SERVERS

__all__ = ["both"]

WIDTH = 840
MARGIN = 28
GUTTER = 40
HEAD = 84  # height above the panels
FOOT = 64  # height below them
FOOT_LINE = 135  # letters of a line of versions
BAR = 15
STEP = 23  # from bar to bar
PANEL = 46 + STEP * len(NAMES) + 18  # height of a panel
LABEL = 130  # width of the names
VALUE = 84  # width kept free behind the longest bar
OURS = "fastsse"
SHOWN = {
    "floor": "no library, no framework",
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
    width = (WIDTH - 2 * MARGIN - GUTTER) / 2
    height = HEAD + PANEL * len(servers) + FOOT
    about = "300 streams of 40 tokens a second; one stream of a generator that never waits. ×: fastsse as a multiple"
    parts: list[str] = []
    for row, server in enumerate(servers):
        for column, panel in enumerate(PANELS):
            left = MARGIN + column * (width + GUTTER)
            top = HEAD + PANEL * row
            parts += _panel(found["cells"], server, panel, left, top, width, theme)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="{FONT}" role="img">',
            f"<title>{escape(_summary(found['cells'], servers))}</title>",
            f'<rect width="{WIDTH}" height="{height}" rx="6" fill="{theme.page}"/>',
            _text(MARGIN, 38, "One answer, token by token", theme.ink, 20, weight=600),
            _text(MARGIN, 60, about, theme.soft, 13),
            *parts,
            *_footer(found, height, theme),
            "</svg>\n",
        ]
    )


def _panel(
    cells: dict[str, Any],
    server: str,
    panel: Panel,
    left: float,
    top: float,
    width: float,
    theme: Theme,
) -> Iterator[str]:
    """Draw a title, and bars on a scale of their own that begins at zero."""
    found = {name: _value(cells, name, server, panel) for name in NAMES}
    bars = {name: value for name, value in found.items() if value}
    yield _text(left, top + 14, f"{panel.title}", theme.ink, 13, weight=600)
    yield _text(left, top + 31, f"under {server}", theme.soft, 12)
    scale = (width - LABEL - VALUE) / max(bars.values())
    zero = left + LABEL
    first = top + 46
    bottom = first + STEP * len(bars) - (STEP - BAR) + 3
    yield f'<path d="M{zero - 0.5:.1f} {first - 3}V{bottom}" stroke="{theme.line}" fill="none"/>'
    for number, (name, value) in enumerate(bars.items()):
        y = first + STEP * number
        mine = name == OURS
        fill = theme.ours if mine else theme.peer
        weight = 600 if mine else 400
        ink = theme.ink if mine else theme.soft
        label = SHOWN.get(name, name)
        written = f"{value / panel.scale:,.{panel.digits}f}"
        written += (
            ""
            if mine
            else f"  ×{bars[OURS] / value:.2f}"
            if panel.value == "cost"
            else f"  ×{bars[OURS] / value:.1f}"
        )
        yield _text(zero - 8, y + BAR - 3.5, label, ink, 12, weight=weight, anchor="end")
        yield (
            f'<rect x="{zero:.1f}" y="{y:.1f}" width="{max(1.0, value * scale):.1f}" '
            f'height="{BAR}" rx="2.0" fill="{fill}"/>'
        )
        end = zero + max(1.0, value * scale) + 6
        yield _text(end, y + BAR - 3.5, written, ink, 12, weight=weight)


def _footer(found: dict[str, Any], height: int, theme: Theme) -> Iterator[str]:
    about = found["environment"]
    first = (
        f"{about['processors']} cores of {about['processor']}, {about['python']}, {about['date']}. "
        "All contenders up at once, measured in turn."
    )
    parts = [part for said in found["versions"].values() for part in said.split(", ")]
    yield _text(MARGIN, height - 46, first, theme.soft, 11)
    for number, line in enumerate(wrap(", ".join(dict.fromkeys(parts)), FOOT_LINE)[:2]):
        yield _text(MARGIN, height - 30 + 14 * number, line, theme.soft, 10)


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


def _text(
    x: float, y: float, text: str, fill: str, size: int, *, weight: int = 400, anchor: str = "start"
) -> str:
    more = f' font-weight="{weight}"' if weight != 400 else ""
    more += f' text-anchor="{anchor}"' if anchor != "start" else ""
    kept = ' xml:space="preserve"' if "  " in text else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}"{more}{kept}>{escape(text)}</text>'
