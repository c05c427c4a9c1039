"""The guard: how many times as fast the compiled twin must be as the pure one, medians inside one run.

The wanted ratios leave room for a noisy machine and for newer interpreters; what is measured lies well above.
``python -m benchmarks.guard`` prints both.
"""

from __future__ import annotations

import gc
from statistics import median

from benchmarks import contenders
from benchmarks.cells import Cell, Task
from benchmarks.compare import sample_rounds

GUARDED = {
    Task("decode", "llm", "64k"): 10.0,
    Task("decode", "llm", "event"): 7.0,
    Task("decode", "anthropic", "64k"): 7.0,
    Task("decode", "tiny", "64k"): 7.0,
    Task("decode", "full", "64k"): 4.0,
    Task("decode", "heartbeat", "64k"): 10.0,
    Task("encode", "small"): 3.0,
    Task("encode", "llm"): 3.0,
    Task("encode", "full"): 3.0,
    Task("encode_many", "llm"): 3.0,
}
"""Task and ratio."""

ROUNDS = 7
SAMPLE = 10e6  # nanoseconds of one sample of the compiled twin; the pure one makes one pass


def ratio(task: Task) -> float:
    """How many times as long the pure twin takes for `task`.

    Raises:
        Missing: the compiled twin is not built.
    """
    cells: dict[str, Cell] = {
        name: contenders.our_cell(task, contenders.twin(name))
        for name in (contenders.COMPILED, contenders.PURE)
    }
    for name, cell in cells.items():
        if not cell.right():
            raise AssertionError(f"{name} answers {task} wrongly")
    gc.collect()
    gc.freeze()
    once = cells[contenders.COMPILED].sample(1)
    passes = {contenders.COMPILED: max(1, round(SAMPLE / once)), contenders.PURE: 1}
    samples = sample_rounds(cells, passes, dict.fromkeys(cells, ROUNDS))
    gc.unfreeze()
    return median(samples[contenders.PURE]) / median(samples[contenders.COMPILED])


def main() -> int:
    """Print every ratio beside the wanted one. 1 when one is too small."""
    failed = 0
    for task, wanted in GUARDED.items():
        found = ratio(task)
        failed += found < wanted
        print(
            f"{'hold' if found >= wanted else 'fail'}  {task}: {found:.1f} (at least {wanted:.1f})"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
