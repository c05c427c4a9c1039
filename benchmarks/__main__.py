"""``python -m benchmarks``: compare fastsse with its floor and its peers. ``--help`` says how."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import bars, chart, compare, report
from benchmarks.contenders import COMPILED, Field, Missing, keep_memory, pin

OUT = Path(__file__).parent.parent / "build" / "bench"


def main(arguments: list[str] | None = None) -> int:
    """Run, print, write. Return 1 when a bar does not hold under ``--judge``, 2 when nothing could be run."""
    given = _parser().parse_args(arguments)
    try:
        plan = _plan(given)
        processors = pin()
        keep_memory()
        field = Field(given.only, processors)
    except (Missing, ValueError) as error:
        print(f"cannot run: {error}", file=sys.stderr)
        return 2
    try:
        if not given.only and COMPILED in field.absent:
            print(f"cannot run: {COMPILED} is not built: {field.absent[COMPILED]}", file=sys.stderr)
            return 2
        result = compare.run(field, plan, compare.to_stderr, pinned=processors is not None)
    finally:
        field.close()
    print("", file=sys.stderr)
    print(report.table(result))
    _write(result, given.out)
    return _judge(result) if given.judge else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=compare.__doc__)
    parser.add_argument("--quick", action="store_true", help="the main tasks, in two minutes")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="measure this contender only (again for more); an error when it is not installed",
    )
    parser.add_argument(
        "--task",
        action="append",
        default=[],
        metavar="START",
        help="only tasks whose names begin so, such as 'decode llm' (again for more)",
    )
    parser.add_argument("--rounds", type=int, help="rounds of each task (7; 3 when quick)")
    parser.add_argument(
        "--judge",
        action="store_true",
        help="print each bar with hold or fail; status 1 when one fails",
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, help="where results.json and the charts go (%(default)s)"
    )
    return parser


def _plan(given: argparse.Namespace) -> compare.Plan:
    plan = compare.quick() if given.quick else compare.full()
    if given.rounds is not None and given.rounds < 1:
        raise ValueError(f"--rounds must be at least 1, not {given.rounds}")
    return replace(
        plan, tasks=compare.chosen(plan.tasks, given.task), rounds=given.rounds or plan.rounds
    )


def _write(result: compare.Result, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    found = result.json()
    (out / "results.json").write_text(_one_line_each(found), encoding="utf-8")
    written = ["results.json"]
    for name, drawn in chart.both(found).items():
        (out / name).write_text(drawn, encoding="utf-8")
        written.append(name)
    print(f"\nwritten to {out}: {', '.join(written)}")


def _one_line_each(found: dict[str, Any]) -> str:
    """Write a run as JSON with a line for each contender, so that two runs can be compared line by line."""
    rows = []
    for row in found["rows"]:
        about = json.dumps({name: row[name] for name in ("task", "events", "bytes")})[:-1]
        lines = ",\n".join(
            f"   {json.dumps(name)}: {json.dumps(outcome)}"
            for name, outcome in row["contenders"].items()
        )
        rows.append(f'  {about}, "contenders": {{\n{lines}\n  }}}}')
    head = json.dumps({**found, "rows": None}, indent=1)
    return head.replace('"rows": null', '"rows": [\n' + ",\n".join(rows) + "\n ]") + "\n"


def _judge(result: compare.Result) -> int:
    try:
        judged = bars.judge(result)
    except ValueError as error:
        print(f"cannot judge: {error}", file=sys.stderr)
        return 1
    print()
    for bar in sorted(judged, key=lambda bar: bar.holds):
        print(bar)
    failed = sum(not bar.holds for bar in judged)
    print(f"{len(judged) - failed} of {len(judged)} bars hold")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
