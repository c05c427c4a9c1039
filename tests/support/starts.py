"""Programs that hang while they start: ended, started again, and named at the end of the run.

A test is never repeated: a program that is not ready in time says nothing about what the test claims. Only a start is
repeated, at most twice, and each time leaves a note, which `tests/conftest.py` prints in the summary.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

__all__ = [
    "STARTS",
    "Hung",
    "bounded",
    "children",
    "children_of",
    "kill",
    "note",
    "notes",
    "running",
    "started",
    "started_async",
    "tree",
]

STARTS = 20.0  # s: for whatever starts within one or two on a quiet machine
TRIES = 3
Started = TypeVar("Started")
Ready = TypeVar("Ready")

_notes: list[str] = []


class Hung(AssertionError):
    """A program that was not ready in time, or ended before it was."""


def notes() -> list[str]:
    """Take the notes that were made since the last call."""
    taken = _notes.copy()
    _notes.clear()
    return taken


def note(what: str, why: str) -> None:
    """Note that something is started again, and say so on stderr at once."""
    _notes.append(f"{what}: {why}")
    print(f"started again: {what}: {why}", file=sys.stderr)


@contextmanager
def started(
    what: str,
    start: Callable[[], AbstractContextManager[Started]],
    ready: Callable[[Started], Ready],
) -> Iterator[Ready]:
    """Run a program until the block ends; one that hangs while it starts is ended, and started again.

    Args:
        what: its name in a note.
        start: starts it, and ends it however it is.
        ready: waits until it is ready, and returns what the block gets; raises `Hung` when that takes too long.
    """
    for left in reversed(range(TRIES)):
        with ExitStack() as stack:
            thing = stack.enter_context(start())
            try:
                found = ready(thing)
            except Hung as error:
                if not left:
                    raise
                note(what, str(error))
                continue
            yield found
            return


async def started_async(
    what: str,
    start: Callable[[], Coroutine[Any, Any, Started]],
    end: Callable[[], Awaitable[None]],
    within: float = STARTS,
) -> Started:
    """Start something, and return it; when that hangs, `end` clears away what there is of it, and it is started again.

    A busy machine is not a hang: the first start may take `within` seconds, each other half as long again.

    Raises:
        Hung: it has hung three times.
    """
    for left in reversed(range(TRIES)):
        try:
            return await bounded(start(), within)
        except (Hung, TimeoutError) as error:
            await end()
            if not left:
                raise Hung(f"{what} has hung {TRIES} times; at last: {error}") from error
            note(what, str(error))
            within *= 1.5
    raise AssertionError("not reached")


async def bounded(work: Coroutine[Any, Any, Started], seconds: float) -> Started:
    """Return what some work comes to, or raise TimeoutError and leave it alone.

    `asyncio.timeout` would wait until the work has ended, and playwright's does not end: cancelled, it tells its driver
    so, and awaits the answer.
    """
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=seconds)
    if done:
        return task.result()
    task.add_done_callback(lambda task: task.cancelled() or task.exception())
    task.cancel()
    raise TimeoutError(f"not ready within {seconds:g} s")


def children() -> set[int]:
    """Find the children of this process, where there is /proc."""
    return {pid for pid, (parent, _) in _parents().items() if parent == os.getpid()}


def children_of(pid: int) -> set[int]:
    """Find the children of a process, where there is /proc."""
    return {child for child, (parent, _) in _parents().items() if parent == pid}


def tree(roots: set[int]) -> set[int]:
    """Find these processes, their descendants, and all that is left in the sessions that those lead.

    Where there is no /proc, these processes alone.
    """
    found, more, parents = set(roots), set(roots), _parents()
    while more:
        more = {pid for pid, of in parents.items() if found.intersection(of)} - found
        found |= more
    return found


def running(pids: set[int]) -> set[int]:
    """Find which of these processes have not ended."""
    return pids & _parents().keys()


def kill(pids: set[int]) -> None:
    """Kill processes, and wait until none of them runs, but no longer than for a start."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + STARTS
    while running(pids) and time.monotonic() < end:
        time.sleep(0.01)


def _parents() -> dict[int, tuple[int, int]]:
    """Read the parent and the session of each process that is not a zombie."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            # "pid (name) state parent group session ..."; the name may have blanks and brackets
            state, parent, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if state != "Z":
                found[int(stat.parent.name)] = (int(parent), int(session))
    return found
