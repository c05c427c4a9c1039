"""Measures one answer to one request, token by token, beside the peers: ``python -m benchmarks.response``.

Every contender is a process of its own on the loopback, and all are up at once. They are measured in turn, in short
phases, so that a slow minute of the machine is slow for all of them. Linux only, with gcc.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import sys
from pathlib import Path

from benchmarks.load.build import Unavailable
from benchmarks.response import chart, report
from benchmarks.response.judge import judge
from benchmarks.response.phases import QUICK, Plan
from benchmarks.response.run import run, to_stderr
from benchmarks.response.servers import CONTENDERS

OUT = Path(__file__).parents[2] / "build" / "bench-response"
NICE = -10  # lets other processes disturb less; left as it is where that is not allowed


def main(arguments: list[str] | None = None) -> int:
    """Run, print, write. Return 1 when a bar does not hold under ``--judge``, 2 when nothing could be run."""
    given = _parser().parse_args(arguments)
    with contextlib.suppress(PermissionError):
        os.nice(NICE)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    plan = QUICK if given.quick else Plan()
    if given.rounds is not None:
        plan = plan._replace(rounds=max(1, given.rounds))
    try:
        found = run(plan, given.only, to_stderr)
    except Unavailable as reason:
        print(f"cannot run: {reason}", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    files = {"results.json": json.dumps(found, indent=1) + "\n"} | chart.both(found)
    for name, content in files.items():
        (given.out / name).write_text(content, encoding="utf-8")
    print(report.text(found))
    bars = judge(found)
    print("", *bars, sep="\n")
    print(f"\nwritten to {given.out}: {', '.join(files)}")
    return 1 if given.judge and any(bar.holds is False for bar in bars) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.response",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="two rounds, in a minute and a half")
    add("--judge", action="store_true", help="status 1 when a bar does not hold")
    add("--rounds", type=int, help="rounds of tokens (5; 2 when quick)")
    add("--only", action="append", default=[], metavar="NAME", choices=list(CONTENDERS),
        help="measure this contender only (again for more): " + ", ".join(CONTENDERS))  # fmt: skip
    add("--out", type=Path, default=OUT, help="where results.json and the charts go (%(default)s)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
