"""``fastsse store``: look at a log, copy it out and in as lines of JSON, let its oldest entries go.

    fastsse store info   sqlite:///events.db
    fastsse store export sqlite:///events.db > events.jsonl        while a server writes to it, too
    fastsse store import redis://host/0 < events.jsonl             into a log that never had an entry
    fastsse store trim   sqlite:///events.db --retain-events 1000

A copy keeps ids: its first line has the name of the numbering, and each entry has its position, so readers go on where
they were. Long work says on stderr how far it is. The module knows stores by their contract alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic

from fastsse import _json
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.stores import Entry, Log, Portable, Store, Watched
from fastsse.broadcast.stores.opening import Address, open_url
from fastsse.broadcast.stores.retention import Retention
from fastsse.cli.copies import PIECE, Damage, entry_of, head_of, line_of, log_of
from fastsse.cli.filters import without_mark
from fastsse.cli.knobs import add_knobs, given_knobs
from fastsse.cli.terminal import WARNING, Failure, show, standard_input

__all__ = ["add_arguments"]

_EVERY = 2.0  # s between two words on how far the work is
_RETAIN = ("retain_events", "retain_bytes", "retain_seconds", "topics")

_Work = Callable[[Store, argparse.Namespace], Awaitable[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of `store`, and their options."""
    parser.description = "Look at a log, copy it, or let its oldest entries go."
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    works: dict[str, tuple[str, _Work]] = {
        "info": ("print what a log holds, as JSON", _info),
        "export": ("write a log to stdout as lines of JSON", _export),
        "import": ("put lines of JSON from stdin into a log that never had an entry", _import),
        "trim": ("let go what is over the retention", _trim),
    }
    for name, (summary, work) in works.items():
        verb = verbs.add_parser(name, help=summary, description=summary)
        verb.set_defaults(run=partial(_run, work))
        verb.add_argument("url", metavar="URL", nargs="?", default=os.environ.get("FASTSSE_STORE"),
            help="the store, as for serve --store (default: FASTSSE_STORE)")  # fmt: skip
        if name == "export":
            verb.add_argument("--skip-damaged", action="store_true",
                help="go on after entries that cannot be read, and say which places they had")  # fmt: skip
        if name == "trim":
            add_knobs(verb, _RETAIN)


def _run(work: _Work, given: argparse.Namespace) -> int:
    if given.url is None:
        raise Failure("store: give a URL, or set FASTSSE_STORE")
    retention = Retention()
    if work is _trim:
        retention = Retention.of(Settings.load(environ={}, **given_knobs(given)))
    try:
        store = open_url(given.url, retention=retention)
    except ImportError as error:
        raise Failure(str(error)) from error
    if not isinstance(store, Portable):
        raise Failure(
            f"store {Address.of(given.url).shown}: this kind cannot be copied or looked at"
        )
    try:
        return asyncio.run(_closing(work, store, given))
    except _Unwritten as failed:
        raise failed.error from None
    except OSError as error:
        raise Failure(f"store: {error}") from error


async def _closing(work: _Work, store: Store, given: argparse.Namespace) -> int:
    try:
        return await work(store, given)
    finally:
        await store.close()


# The verbs.


async def _info(store: Store, given: argparse.Namespace) -> int:  # noqa: ARG001 - a verb like the others
    assert isinstance(store, Portable)
    log = await store.open_to_read()
    found: dict[str, object] = {"epoch": log.epoch, "floor": log.floor, "head": log.head}
    if isinstance(store, Watched):
        found |= store.state()._asdict()
    print(_json.dumps(found).decode())
    return 0


async def _export(store: Store, given: argparse.Namespace) -> int:
    assert isinstance(store, Portable)
    log = await store.open_to_read()
    _write(head_of(log))
    return await _copy_out(store, log, Damage(given.skip_damaged))


async def _copy_out(store: Portable, log: Log, damage: Damage) -> int:
    at, count = log.floor, 0
    progress = _Progress(log.head - log.floor)
    while at < log.head:
        try:
            page = await store.scan(at, damage.limit)
        except OSError as error:
            at = damage.after(error, at, log.head)
            continue
        damage.over()
        if page.epoch != log.epoch:
            raise Failure("store: the log has become another one meanwhile: begin the copy again")
        for entry in page.entries:
            if entry.position > log.head:  # came while the copy was made
                break
            _write(line_of(entry))
            count += 1
        at = page.end
        progress.say(min(at, log.head) - log.floor, "entries")
    _write(_json.dumps({"entries": count}) + b"\n")
    for first, last in damage.lost:
        show(f"could not be read: {first} to {last}", sys.stderr, WARNING)
    return 1 if damage.lost else 0


async def _import(store: Store, given: argparse.Namespace) -> int:  # noqa: ARG001
    assert isinstance(store, Portable)
    lines = standard_input()
    log = log_of(without_mark(lines.readline()))
    await store.open_to_change()
    await store.adopt(log)
    progress = _Progress(log.head - log.floor)
    count = size = 0
    some: list[Entry] = []
    for number, line in enumerate(lines, 2):
        entry = entry_of(line, number)
        if isinstance(entry, int):
            await store.put(some)
            count += len(some)
            if count != entry:
                raise Failure(f"line {number}: {entry} entries were written, and {count} are here")
            await store.complete()
            print(f"{count} entries", file=sys.stderr)
            return 0
        some.append(entry)
        size += len(entry.block)
        if size >= PIECE or len(some) >= 1000:
            await store.put(some)
            count += len(some)
            progress.say(entry.position - log.floor, "entries")
            size, some = 0, []
    await store.put(some)
    raise Failure(
        f"the lines end too early: {count + len(some)} entries were put in, more are missing"
    )


async def _trim(store: Store, given: argparse.Namespace) -> int:  # noqa: ARG001
    assert isinstance(store, Portable)
    log = await store.open_to_change()
    progress = _Progress(log.head - log.floor)
    gone = 0
    while some := await store.trim():
        gone += some
        progress.say(gone, "entries have gone")
    print(f"{gone} entries have gone", file=sys.stderr)
    return 0


class _Unwritten(Exception):
    """Stdout takes no more, which is no fault of the store.

    Attributes:
        error: what stdout has raised.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


def _write(line: bytes) -> None:
    try:
        sys.stdout.buffer.write(line)
    except OSError as error:
        raise _Unwritten(error) from error


class _Progress:
    """Words on stderr on how far long work is, every `_EVERY` seconds."""

    def __init__(self, whole: int) -> None:
        self._whole = whole
        self._next = monotonic() + _EVERY

    def say(self, done: int, what: str) -> None:
        """Say how much is done, if it is time to."""
        if monotonic() >= self._next:
            self._next = monotonic() + _EVERY
            print(f"{done:,} of {self._whole:,} {what}", file=sys.stderr, flush=True)
