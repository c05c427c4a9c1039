"""Count what access control adds to a delivery and to an idle stream: ``python -m benchmarks.access.streams``.

Two apps in one process have the same readers, one app without keys, the other with keys and a token of its own for each
reader. Callgrind counts the instructions of publishing to all of them. The grant is in the terms when a stream begins,
so the second app may need 1 % more instructions for a delivery, and no more. `tracemalloc` says what the open streams
hold: a stream may hold 300 bytes more where it has a token. The tokens that the app knows are told apart from that,
because there are at most 4,096 of them, however many streams there are.

Exit with 1 where a figure is over its bar. Callgrind (valgrind) must be installed; ``--no-counts`` leaves it out.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import floor
from benchmarks.access.__main__ import SECRET, scope_of, token_of
from benchmarks.instructions import FRAME
from fastsse.broadcast import Settings
from fastsse.broadcast.app import Broadcast, create_app

_READERS = 100  # of each app, where instructions are counted
_EVENTS = 50
_STREAMS = 2000  # of each app, where bytes are
_GROWN = 1.01  # what a delivery's instructions may be multiplied by
_HELD = 300  # bytes of an idle stream that access control may add
_OPEN = Settings(heartbeat=0, lifetime=0)
_CLOSED = replace(_OPEN, keys=(f"secret:{SECRET}",))


def main() -> None:
    """Measure, print, and exit with 1 where a figure is over its bar."""
    if "--count" in sys.argv:
        _deliver()
        return
    over = False
    if "--no-counts" not in sys.argv:
        free, closed = _counts()
        over |= closed > free * _GROWN
        told = f"{free:,.0f} instructions without keys, {closed:,.0f} with"
        print(f"a delivery: {told}: {closed / free - 1:+.2%}; the bar is {_GROWN - 1:+.0%}")
    free, closed, known = asyncio.run(_bytes())
    over |= closed - free > _HELD
    told = f"{free:,.0f} bytes without a token, {closed - free:+,.0f} with"
    print(f"an idle stream: {told}; the bar is {_HELD:+}")
    print(f"a token that is known: {known:,.0f} bytes")
    sys.exit(over)


class _Reader:
    """One request for a stream, whose client takes everything at once and never leaves."""

    __module__ = "granian.benchmark"  # its send may be stepped, as that of a server

    def __init__(self, number: int) -> None:
        self.scope = scope_of(token_of("HS256", SECRET, number, f"reader-{number}")) | {
            "path": "/events",
            "root_path": "",
            "query_string": b"topic=news",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "client": ("127.0.0.1", 10_000 + number),
        }
        self.sent = 0  # bytes
        self.taken = asyncio.Event()

    async def send(self, message: Any) -> None:
        self.sent += len(message.get("body", b""))
        self.taken.set()

    async def receive(self) -> Any:
        await asyncio.get_running_loop().create_future()


async def _open(app: Broadcast, readers: list[_Reader]) -> list[asyncio.Task[None]]:
    """Open the streams of all readers."""
    before = app.hub.open_streams
    tasks = [asyncio.create_task(_ask(app, reader)) for reader in readers]
    while app.hub.open_streams < before + len(readers):
        await asyncio.sleep(0)
        if over := [task for task in tasks if task.done()]:
            raise SystemExit(f"a stream has ended: {over[0]}")
    return tasks


async def _ask(app: Broadcast, reader: _Reader) -> None:
    await app(reader.scope, reader.receive, reader.send)


async def _leave(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# --- instructions: in a process under callgrind ---------------------------------------------------------------


def _counts() -> tuple[float, float]:
    """Return the instructions of one event to one reader, without keys and with."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += [f"--toggle-collect={FRAME}", f"--dump-after={FRAME}"]
        command += [sys.executable, "-m", "benchmarks.access.streams", "--count"]
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            check=False,
        )
        if done.returncode:
            raise SystemExit("callgrind has failed")
        dumps = sorted(out.parent.glob("out.*"), key=lambda path: int(path.suffix[1:]))
        free, closed = (_total(dump) / (_EVENTS * _READERS) for dump in dumps[:2])
        return free, closed


def _total(dump: Path) -> int:
    with dump.open() as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("summary:"))


def _deliver() -> None:
    """Publish to the readers of each app: some events to warm up, and some to be counted."""
    measured = floor.load().measured
    loop = asyncio.new_event_loop()
    for settings in (_OPEN, _CLOSED):
        app = create_app(settings)
        readers = [_Reader(number) for number in range(_READERS)]
        context = app.lifespan()
        loop.run_until_complete(context.__aenter__())
        tasks = loop.run_until_complete(_open(app, readers))
        loop.run_until_complete(_publish(app, readers))
        gc.collect()
        gc.disable()
        measured(lambda app=app, readers=readers: loop.run_until_complete(_publish(app, readers)))
        gc.enable()
        loop.run_until_complete(_leave(tasks))
        loop.run_until_complete(context.__aexit__(None, None, None))
    loop.close()


async def _publish(app: Broadcast, readers: list[_Reader]) -> None:
    """Publish some events, each once all readers have the one before."""
    for number in range(_EVENTS):
        for reader in readers:
            reader.taken.clear()
        await app.hub.publish("news", f"event {number:03}")
        for reader in readers:
            await reader.taken.wait()
    assert len({reader.sent for reader in readers}) == 1, "each reader has each event"


# --- bytes ----------------------------------------------------------------------------------------------------


async def _bytes() -> tuple[float, float, float]:
    """Return the bytes of an idle stream without keys, of one with a token, and of a token that is known."""
    free, _ = await _held(_OPEN)
    closed, known = await _held(_CLOSED)
    return free, closed, known


async def _held(settings: Settings) -> tuple[float, float]:
    app = create_app(settings)
    async with app.lifespan():
        tasks = await _open(app, [_Reader(_STREAMS)])  # what is made once
        readers = [_Reader(number) for number in range(_STREAMS)]
        tracemalloc.start()
        before = _now()
        tasks += await _open(app, readers)
        all_held = _now() - before
        if (tokens := app._guard._tokens) is not None:
            tokens.forget()
        streams = _now() - before
        tracemalloc.stop()
        await _leave(tasks)
    return streams / _STREAMS, (all_held - streams) / _STREAMS


def _now() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


if __name__ == "__main__":
    main()
