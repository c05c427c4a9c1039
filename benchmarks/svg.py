"""The frame of every chart: a page with a title and a footer, bars from zero with names and values, two themes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

__all__ = [
    "BAR",
    "DARK",
    "GUTTER",
    "LIGHT",
    "MARGIN",
    "STEP",
    "WIDTH",
    "Theme",
    "axis",
    "bar",
    "column",
    "page",
    "text",
]

WIDTH = 840
MARGIN = 28
GUTTER = 40  # between two columns
BAR = 15
STEP = 23  # from bar to bar

_FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


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


def page(
    height: int, summary: str, title: str, about: str, parts: Iterable[str], theme: Theme
) -> str:
    """Write a whole picture.

    Args:
        summary: the picture in words, for readers who cannot see it.
        title, about: the heading, and the line under it.
        parts: what is drawn below them.
    """
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="{_FONT}" role="img">',
        f"<title>{escape(summary)}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="{theme.page}"/>',
        text(MARGIN, 38, title, theme.ink, 20, weight=600),
        text(MARGIN, 60, about, theme.soft, 13),
        *parts,
        "</svg>\n",
    ]
    return "\n".join(lines)


def column(number: int) -> tuple[float, float]:
    """Return the left edge and the width of the first column (0) or the second (1)."""
    width = (WIDTH - 2 * MARGIN - GUTTER) / 2
    return MARGIN + number * (width + GUTTER), width


def axis(zero: float, first: float, bars: int, theme: Theme) -> str:
    """Draw the line from which bars begin; `first` is the top of the first one."""
    bottom = first + STEP * bars - (STEP - BAR) + 3
    return (
        f'<path d="M{zero - 0.5:.1f} {first - 3:.1f}V{bottom:.1f}" '
        f'stroke="{theme.line}" fill="none"/>'
    )


def bar(
    zero: float,
    top: float,
    length: float,
    fill: str,
    name: str,
    value: str,
    ink: str,
    *,
    bold: bool = False,
) -> Iterator[str]:
    """Draw one bar, its name before it and its value behind it."""
    length, base, weight = max(length, 1.0), top + BAR - 3.5, 600 if bold else 400
    yield text(zero - 8, base, name, ink, 12, weight=weight, anchor="end")
    yield (
        f'<rect x="{zero:.1f}" y="{top:.1f}" width="{length:.1f}" height="{BAR}" '
        f'rx="{min(2.0, length / 2):.1f}" fill="{fill}"/>'
    )
    yield text(zero + length + 6, base, value, ink, 12, weight=weight)


def text(
    x: float,
    y: float,
    words: str,
    fill: str,
    size: float,
    *,
    weight: int = 400,
    anchor: str = "start",
) -> str:
    """Write a line of text."""
    more = f' font-weight="{weight}"' if weight != 400 else ""
    more += f' text-anchor="{anchor}"' if anchor != "start" else ""
    kept = ' xml:space="preserve"' if "  " in words else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}"{more}{kept}>{escape(words)}</text>'
