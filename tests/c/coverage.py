"""Reports what gcov has counted, by file: C line by line, a .pyx by the comments that Cython writes above its C.

    python tests/c/coverage.py      in the folder of a build with FASTSSE_COVERAGE=1 whose tests have run

A line that is compiled into several functions (a body of a kernel for each instruction set) counts once for each.
Prints what never ran and a table, and fails where less has run than `FLOOR` and `FLOORS` say.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FLOOR = 99.0  # percent of a file
FLOORS = {
    "csrc/choose.c": 85.0,  # asks for a processor's abilities, and one processor gives one answer
    "fastsse/_call.h": 75.0,  # these two check at the import what another Cython would break
    "fastsse/_event.h": 90.0,
    "fastsse/_flow_c.pyx": 93.0,  # attributes that Python sees, and that only C reads and sets
    "build/cython/fastsse/_flow_c.c": 95.0,  # of a generator whose iteration is broken
}

BUILT = "build/cython/"  # where setup.py lets Cython write, and copy the headers to
_SOURCE = re.compile(r'\s*/\* "(fastsse/[\w/]+\.pyx)":(\d+)$')
_END = "/* function exit code */"


class Line(NamedTuple):
    """One line in one function."""

    file: str
    number: int
    function: str


Counts = dict[Line, int]


def main() -> int:
    counts: Counts = {}
    for data in sorted(Path().rglob("*.gcda")):
        for file in gcov(data):
            for line, count in lines_of(file):
                counts[line] = max(count, counts.get(line, 0))
    files = sorted({line.file for line in counts})
    for line in sorted(line for line, count in counts.items() if count == 0):
        print(f"never ran: {line.file}:{line.number}: {text_of(line)}  [{line.function}]")
    print(f"{'file':42} {'lines':>6} {'run':>6} {'%':>6}")
    low = [
        file for file in files if report(file, [n for it, n in counts.items() if it.file == file])
    ]
    if low:
        print(f"too little is run of {', '.join(low)}: test it, or say in FLOORS why not")
    return 1 if low else 0


def gcov(data: Path) -> list[Any]:
    """Read the counters of one object file: a member for each source file."""
    done = subprocess.run(
        ["gcov", "--json-format", "--stdout", str(data)], capture_output=True, check=True, text=True
    )
    return [file for part in done.stdout.splitlines() for file in json.loads(part)["files"]]


def lines_of(file: Any) -> Iterator[tuple[Line, int]]:
    name = file["file"].removeprefix(BUILT)
    if not name.startswith(("csrc/", "fastsse/")):
        return  # the system's headers, the tests themselves
    generated = name.endswith(".c") and name != file["file"]
    places = places_in(Path(file["file"])) if generated else {}
    for line in file["lines"]:
        number, function = line["line_number"], line.get("function_name", "")
        if number in places:
            yield places[number], line["count"]
        elif not generated or function.startswith("fastsse_"):  # C that stands in a .pyx
            yield Line(file["file"] if generated else name, number, function), line["count"]


def places_in(generated: Path) -> dict[int, Line]:
    """Map each line of generated C to the .pyx line that it was made from; Cython's own lines have none."""
    places: dict[int, Line] = {}
    place: Line | None = None
    for number, text in enumerate(generated.read_text().splitlines(), 1):
        source = _SOURCE.match(text)
        if source is not None:
            place = Line(source[1], int(source[2]), "")
        elif _END in text or text.startswith("}"):
            place = None
        elif place is not None:
            places[number] = place
    return places


def report(file: str, counts: list[int]) -> bool:
    """Print a file's row, and return True when too little of the file has run."""
    run = sum(1 for count in counts if count)
    percent = 100 * run / len(counts)
    print(f"{file:42} {len(counts):6} {run:6} {percent:6.1f}")
    return percent < FLOORS.get(file, FLOOR)


def text_of(line: Line) -> str:
    return Path(line.file).read_text().splitlines()[line.number - 1].strip()


if __name__ == "__main__":
    raise SystemExit(main())
