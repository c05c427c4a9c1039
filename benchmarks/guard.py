"""The guard: the compiled twin must be so many times as fast as the pure one, by medians inside one run.

A relay, which only cuts a stream into blocks, must be so many times as fast as to decode and encode each event.

The ratios that are asked for leave room for a noisy machine and for newer interpreters; measured ratios lie well
above. ``python -m benchmarks.guard`` prints both.
"""

from __future__ import annotations

import gc
from statistics import median

from benchmarks import contenders
from benchmarks.cells import Cell, Task, blocks_cell, rewrite_cell
from benchmarks.compare import sample_rounds
from benchmarks.corpora import corpus

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

RELAYED = {
    Task("relay", "llm", "64k"): 5.0,
    Task("relay", "llm", "event"): 5.0,
    Task("relay", "llm-crlf", "64k"): 5.0,
    Task("relay", "anthropic", "4k"): 5.0,
}
"""Task of a splitter, and how many times as long decode and encode may take at least."""

ROUNDS = 7
SAMPLE = 10e6  # nanoseconds of one sample of the compiled twin; the pure one makes one pass


def ratio(task: Task) -> float:
    """Measure how many times as long the pure twin takes for `task`.

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


def relay_ratio(task: Task) -> float:
    """Measure how many times as long the compiled twin takes to decode and encode as to split into blocks.

    Raises:
        Missing: the compiled twin is not built.
    """
    module = contenders.twin(contenders.COMPILED)
    cut = corpus(task.corpus).cut(task.chunking)
    cells: dict[str, Cell] = {
        "blocks": blocks_cell(module.BlockSplitter, cut),
        "events": rewrite_cell(module.Decoder, cut),
    }
    for name, cell in cells.items():
        if not cell.right():
            raise AssertionError(f"{name} answer {task} wrongly")
    passes = {name: max(1, round(SAMPLE / cell.sample(1))) for name, cell in cells.items()}
    samples = sample_rounds(cells, passes, dict.fromkeys(cells, ROUNDS))
    return median(samples["events"]) / median(samples["blocks"])


def main() -> int:
    """Print every ratio beside the one that is asked for. Return 1 when one is too small."""
    failed = 0
    for task, wanted in GUARDED.items():
        found = ratio(task)
        failed += found < wanted
        print(
            f"{'hold' if found >= wanted else 'fail'}  {task}: {found:.1f} (at least {wanted:.1f})"
        )
    for task, wanted in RELAYED.items():
        found = relay_ratio(task)
        failed += found < wanted
        print(
            f"{'hold' if found >= wanted else 'fail'}  {task}: {found:.1f} (at least {wanted:.1f})"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
