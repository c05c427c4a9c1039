"""Write the settings where people read them: ``python docs/settings.py``.

The table in operating.md and the attributes in the docstrings of `Settings` and `Admission`, which editors show, are
made from the settings' own descriptions. With ``--check`` nothing is written, and the command fails where one of them
says anything else.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Set
from functools import partial
from pathlib import Path

from fastsse.broadcast import admission, settings
from fastsse.broadcast.knobs import Knob, Number
from fastsse.broadcast.settings import KNOBS, PER_TOPIC

_PAGE = Path(__file__).with_name("operating.md")
_MODULE = Path(settings.__file__)
_ADMISSION = Path(admission.__file__)
_OF_ADMISSION = set(admission.Admission.__annotations__)
_WIDTH = 120  # columns of a docstring's line


def main() -> int:
    """Write both places, or check them; return the exit code."""
    places: list[tuple[Path, str, str, Callable[[], str]]] = [
        (
            _PAGE,
            "<!-- settings: written by docs/settings.py -->\n",
            "<!-- end of settings -->\n",
            _table,
        ),
        (
            _MODULE,
            "    Attributes:\n",
            "\n    Raises:\n",
            partial(_attributes, KNOBS.keys() - _OF_ADMISSION),
        ),
        (_ADMISSION, "    Attributes:\n", "\n    Raises:\n", partial(_attributes, _OF_ADMISSION)),
    ]
    code = 0
    for path, begin, end, write in places:
        old = path.read_text(encoding="utf-8")
        before, rest = old.split(begin, 1)
        _, after = rest.split(end, 1)
        new = f"{before}{begin}{write()}{end}{after}"
        if "--check" not in sys.argv:
            path.write_text(new, encoding="utf-8")
        elif old != new:
            print(
                f"{path.name}: what it says of the settings is not so; python docs/settings.py writes it"
            )
            code = 1
    return code


def _table() -> str:
    rows = (
        f"| `{name}` | {knob.shown} | {knob.allowed} | {'yes' if name in PER_TOPIC else ''} | {knob.help} |\n"
        for name, knob in KNOBS.items()
    )
    return "| setting | default | allowed | for topics | |\n|---|---|---|---|---|\n" + "".join(rows)


def _attributes(names: Set[str]) -> str:
    return "".join(_attribute(name, knob) for name, knob in KNOBS.items() if name in names)


def _attribute(name: str, knob: Knob) -> str:
    unit = f" {knob.unit}" if isinstance(knob, Number) else ""
    text = f"{name}: {knob.help} (default: {knob.shown}{unit})."
    lines = textwrap.wrap(
        text, _WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 12, break_long_words=False
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
