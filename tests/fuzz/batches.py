"""The command of a fuzzer that runs batches in processes: options, progress, and the first failure."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["BATCH", "run"]

BATCH = 2000  # executions between two looks at the clock and at the queue

_Failure = TypeVar("_Failure")
_Work = Callable[[tuple[int, int]], tuple[int, _Failure | None]]


def run(
    work: _Work[_Failure],
    report: Callable[[_Failure], object],
    agreed: str,
    doc: str | None,
    arguments: list[str] | None,
) -> int:
    """Run executions until all are done or one fails; return the exit code.

    Args:
        work: runs the executions of one seed; takes the seed and their number, and returns how many there were, and
            the first failure.
        report: prints a failure.
        agreed: the last line when nothing failed.
        doc: the fuzzer's docstring, whose first line describes the command.
        arguments: of the command line; None: those of the process.
    """
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument(
        "--executions", type=int, default=1_000_000, help="how many (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="where to begin (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    given = parser.parse_args(arguments)
    batches = [
        (given.seed * 2**32 + number, min(BATCH, given.executions - number * BATCH))
        for number in range(-(-given.executions // BATCH))
    ]
    start, period = ("\r", 1) if sys.stdout.isatty() else ("\n", 60)
    began = told = time.monotonic()
    done = 0
    with multiprocessing.Pool(given.jobs) as pool:
        for ran, failed in pool.imap_unordered(work, batches):
            done += ran
            now = time.monotonic()
            if now - told > period or done == given.executions or failed:
                told = now
                print(
                    f"{start}{done:,} executions, {done / (now - began):,.0f}/s", end="", flush=True
                )
            if failed:
                pool.terminate()
                report(failed)
                return 1
    print(f"\n{agreed}")
    return 0
