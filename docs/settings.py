"""Writes the table of settings in operating.md from the settings themselves: ``python docs/settings.py``.

With ``--check`` it writes nothing, and fails when the table says anything else than the settings do.
"""

from __future__ import annotations

import sys
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from fastsse.broadcast import Settings

_PAGE = Path(__file__).with_name("operating.md")
_BEGIN = "<!-- settings: written by docs/settings.py -->\n"
_END = "<!-- end of settings -->\n"
_HEAD = "| setting | default | allowed | for topics | |\n|---|---|---|---|---|\n"


def main() -> int:
    page = _PAGE.read_text(encoding="utf-8")
    before, rest = page.split(_BEGIN)
    _, behind = rest.split(_END)
    rows = "".join(map(_row, fields(Settings)))
    written = f"{before}{_BEGIN}{_HEAD}{rows}{_END}{behind}"
    if "--check" not in sys.argv:
        _PAGE.write_text(written, encoding="utf-8")
    elif page != written:
        print(
            f"{_PAGE.name}: the table of settings is not theirs; python docs/settings.py writes it"
        )
        return 1
    return 0


def _row(knob: Field[Any]) -> str:
    about = knob.metadata
    several = isinstance(knob.default, tuple)
    default = "none" if several else _show(knob.default)
    if about["choices"]:
        allowed = ", ".join(about["choices"])
    elif several:
        allowed = about["unit"] if knob.name != "topics" else f"`{about['unit']}`"
    else:
        allowed = f"{_show(about['low'])} to {_show(about['high'])} {about['unit']}"
    topics = "yes" if about["per_topic"] else ""
    return f"| `{knob.name}` | {default} | {allowed} | {topics} | {about['help']} |\n"


def _show(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,g}" if value != int(value) else f"{int(value):,}"


if __name__ == "__main__":
    sys.exit(main())
