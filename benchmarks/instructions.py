"""Instructions per event, counted by callgrind: ``python -m benchmarks.instructions [--check]``.

Seconds depend on who else uses the machine; instructions hardly do. They do depend on the compiler and on the
interpreter, so the ratio to the floor, counted in the same run, is kept as well. Where compiler, interpreter and
valgrind are those of the record, counts and ratios may grow by 5 %. Elsewhere only ratios are compared, and may grow by
15 %, because another compiler makes other code of both. Where the processor needs another build of the floor, nothing
is compared.

The record is `instructions.json`; without ``--check`` it is written anew.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import contenders, floor
from benchmarks.cells import (
    Pushed,
    PythonCell,
    Task,
    decode_cell,
    encode_cell,
    json_cell,
    many_cell,
    split_cell,
)
from benchmarks.corpora import corpus

RECORD = Path(__file__).parent / "instructions.json"
LIMIT = 1.05  # what a count or a ratio may grow by
ELSEWHERE = 1.15  # what a ratio may grow by with another compiler or interpreter
EVENTS = 800  # of each corpus, so that callgrind needs seconds and not minutes
FRAME = "floor_measured"  # the C function whose callee is counted

TASKS = (
    Task("decode", "llm", "64k"),
    Task("decode", "llm", "event"),
    Task("decode", "llm", "16b"),
    Task("decode", "llm-cjk", "64k"),
    Task("decode", "llm-crlf", "64k"),
    Task("decode", "anthropic", "64k"),
    Task("decode", "tiny", "64k"),
    Task("decode", "tiny", "event"),
    Task("decode", "small", "event"),
    Task("decode", "full", "64k"),
    Task("decode", "bigml", "64k"),
    Task("decode", "heartbeat", "64k"),
    Task("encode", "llm"),
    Task("encode", "llm-cjk"),
    Task("encode", "anthropic"),
    Task("encode", "tiny"),
    Task("encode", "small"),
    Task("encode", "full"),
    Task("encode", "bigml"),
    Task("encode_many", "llm"),
    Task("encode_many", "small"),
    Task("encode_many", "full"),
    Task("encode_json", "llm"),
    Task("split", "llm", "64k"),
)

NAMES = {"compiled": contenders.COMPILED, "pure": contenders.PURE, "floor": contenders.FLOOR}


def main(arguments: list[str] | None = None) -> int:
    """Count, then write the record or compare with it. Return 1 when something has grown past `LIMIT`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare with the record, fail where something has grown",
    )
    parser.add_argument("--record", type=Path, default=RECORD, help="the record (%(default)s)")
    parser.add_argument("--count", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.count:
        _count_here(json.loads(given.count))
        return 0
    found = measure()
    print(table(found))
    if given.check:
        faults = compare(json.loads(given.record.read_text()), found)
        print("\n".join(faults) or "nothing has grown past its limit")
        return 1 if faults else 0
    given.record.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def measure(
    names: tuple[str, ...] = tuple(NAMES), tasks: tuple[Task, ...] = TASKS
) -> dict[str, Any]:
    """Count the instructions of one event for each task and each of `names`.

    Raises:
        SystemExit: valgrind or one of the contenders is not here.
    """
    try:
        for name in names:
            contenders.twin(NAMES[name])
        contenders.twin(contenders.FLOOR)
    except contenders.Missing as error:
        raise SystemExit(f"cannot count: {error}") from error
    totals = _callgrind(names, tasks)
    wanted = [(task, name) for task in tasks for name in names]
    cells: dict[str, dict[str, float]] = {str(task): {} for task in tasks}
    for (task, name), total in zip(wanted, totals, strict=True):
        cells[str(task)][name] = round(total / _events(task), 1)
    for counts in cells.values():
        if "compiled" in counts and "floor" in counts:
            counts["ratio"] = round(counts["compiled"] / counts["floor"], 3)
    return {"environment": _environment(), "cells": cells}


def _events(task: Task) -> int:
    part = corpus(task.corpus).part(EVENTS)
    return len(part.cut(task.chunking).events) if task.chunking else len(part.fields)


def _callgrind(names: tuple[str, ...], tasks: tuple[Task, ...]) -> list[int]:
    """Run callgrind and return its count for each cell, in order; callgrind dumps and clears the counts after each."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += [f"--toggle-collect={FRAME}", f"--dump-after={FRAME}"]
        request = json.dumps({"names": names, "tasks": tasks})
        command += [sys.executable, "-m", "benchmarks.instructions", "--count", request]
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command,
                cwd=RECORD.parent.parent,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise SystemExit("cannot count: valgrind is not installed") from error
        if done.returncode:
            raise SystemExit(f"callgrind failed: {done.stderr[-800:]}")
        dumps = sorted(out.parent.glob("out.*"), key=lambda path: int(path.suffix[1:]))
        return [_total(dump) for dump in dumps[: len(names) * len(tasks)]]


def _total(dump: Path) -> int:
    with dump.open() as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("summary:"))


def _count_here(request: dict[str, Any]) -> None:
    """Run each cell under callgrind: once to warm up, once to be counted."""
    measured = floor.load().measured
    gc.disable()
    for task in request["tasks"]:
        for cell in _cells(Task(*task), request["names"]):
            cell.prepare()()
            run = cell.prepare()
            measured(run)


def _cells(task: Task, names: list[str]) -> Iterator[PythonCell]:
    part = corpus(task.corpus).part(EVENTS)
    for name in names:
        module = contenders.twin(NAMES[name])
        if task.verb == "decode":
            yield decode_cell(Pushed(module.Decoder), part.cut(task.chunking))
        elif task.verb == "split":
            yield split_cell(module.LineSplitter, part.cut(task.chunking))
        elif task.verb == "encode":
            yield encode_cell(contenders.encoding_of(module), part.fields)
        elif task.verb == "encode_json":
            yield json_cell(module.encode_json, part)
        else:
            yield many_cell(module.encode_many, contenders.decoder_of(module), part)


def _environment() -> dict[str, str]:
    """Describe everything that counts depend on."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return {
        "python": platform.python_version(),
        "compiler": _first_line(compiler, "--version"),
        "valgrind": _first_line("valgrind", "--version"),
        "floor": floor.level(),
    }


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "absent"
    return (done.stdout.splitlines() or [""])[0]


def compare(record: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """List what has grown past its limit since the record, of the counts and ratios that can be compared."""
    names, limit = _comparable(record["environment"], found["environment"])
    faults = []
    for task, before in record["cells"].items():
        now = found["cells"].get(task)
        if now is None:
            faults.append(f"{task}: not counted any more")
            continue
        for name in names:
            if now[name] > before[name] * limit:
                grown = now[name] / before[name] - 1
                faults.append(f"{task}: {name} {before[name]} -> {now[name]}, +{grown:.1%}")
    return faults


def _comparable(before: dict[str, str], now: dict[str, str]) -> tuple[tuple[str, ...], float]:
    """Pick the numbers to compare: all with equal tools, ratios alone when only the floor is the same."""
    if before == now:
        return ("ratio", "compiled", "pure"), LIMIT
    if before.get("floor") == now.get("floor"):
        print(f"counted elsewhere ({before}): only ratios to the floor are compared")
        return ("ratio",), ELSEWHERE
    print(f"counted elsewhere ({before}), for another floor: nothing can be compared")
    return (), LIMIT


def table(found: dict[str, Any]) -> str:
    """Write the instructions of an event as a table to read."""
    lines = [
        f"{'instructions an event':24} {'compiled':>10} {'pure':>12} {'floor':>10} {'ratio':>7}"
    ]
    for task, counts in found["cells"].items():
        numbers = [counts.get(name) for name in ("compiled", "pure", "floor", "ratio")]
        widths = (10, 12, 10, 7)
        shown = (
            f"{'-' if number is None else format(number, ',')}".rjust(width)
            for number, width in zip(numbers, widths, strict=True)
        )
        lines.append(f"{task:24} " + " ".join(shown))
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
