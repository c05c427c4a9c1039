"""Measures the broadcast under load, beside its peers: ``python -m benchmarks.load``.

Every contender is a process of its own on the loopback. The load generator publishes by POST, reads, checks every
event at every reader, and times both ends by one clock. Linux only, with gcc.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import sys
from pathlib import Path

from benchmarks.load import chart, report
from benchmarks.load.build import Unavailable
from benchmarks.load.judge import judge
from benchmarks.load.run import SCENARIOS, run, to_stderr
from benchmarks.load.scenarios import QUICK, Plan
from benchmarks.load.servers import CONTENDERS

OUT = Path(__file__).parents[2] / "build" / "bench-load"
NICE = -10  # lets other processes disturb less; left as it is where that is not allowed


def main(arguments: list[str] | None = None) -> int:
    """Run, print, write. Return 1 when a bar does not hold under ``--judge``, 2 when nothing could be run."""
    given = _parser().parse_args(arguments)
    _prepare()
    plan = QUICK if given.quick else Plan()
    if given.rounds is not None:
        plan = plan._replace(rounds=max(1, given.rounds))
    try:
        wanted = given.scenario or (() if given.before else SCENARIOS)
        found = run(plan, wanted, given.only, to_stderr, given.before)
    except Unavailable as reason:
        print(f"cannot run: {reason}", file=sys.stderr)
        return 2
    written = _write(found, given.out)  # first of all: a run takes long
    print(report.text(found))
    print(f"\nwritten to {given.out}: {', '.join(written)}")
    return _judge(found) if given.judge else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="the main cells once, in some minutes")
    add(
        "--judge",
        action="store_true",
        help="print each bar with hold or FAIL; status 1 when one fails",
    )
    add("--rounds", type=int, help="rounds of each fan-out (3; 1 when quick)")
    add("--only", action="append", default=[], metavar="NAME", choices=list(CONTENDERS),
        help="measure this contender only (again for more): " + ", ".join(CONTENDERS))  # fmt: skip
    add("--scenario", action="append", default=[], metavar="NAME", choices=SCENARIOS,
        help="only this scenario (again for more): " + ", ".join(SCENARIOS))  # fmt: skip
    add("--before", type=Path, metavar="FOLDER",
        help="another checkout, set up by make: its fastsse serve takes turns with this one's, and nothing else is "
        "measured unless a scenario is named")  # fmt: skip
    add("--out", type=Path, default=OUT, help="where results.json and the charts go (%(default)s)")
    return parser


def _prepare() -> None:
    with contextlib.suppress(PermissionError):
        os.nice(NICE)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _write(found: dict[str, object], out: Path) -> list[str]:
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    written = ["results.json"]
    for name, drawn in chart.both(found).items():
        (out / name).write_text(drawn, encoding="utf-8")
        written.append(name)
    return written


def _judge(found: dict[str, object]) -> int:
    bars = judge(found)
    print()
    for bar in sorted(bars, key=lambda bar: (bar.holds is not None, bool(bar.holds))):
        print(bar)
    failed = sum(bar.holds is False for bar in bars)
    held = sum(bar.holds is True for bar in bars)
    print(
        f"{held} of {len(bars)} bars hold, {failed} fail, {len(bars) - held - failed} were not measured"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
