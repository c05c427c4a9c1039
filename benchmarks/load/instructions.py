"""Counts the instructions of one publish by callgrind, beside few and beside many other topics.

``python -m benchmarks.load.instructions`` prints them, which takes a minute or two.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import floor
from benchmarks.load.build import Unavailable

__all__ = ["count"]

FRAME = "floor_measured"  # the C function whose callee is counted
EVENTS = 200  # published in a count
TOPICS = (10, 10_000)  # with one subscriber each
ROOT = Path(__file__).parents[2]


def count() -> dict[str, float]:
    """Count the instructions of one publish to a topic with one reader, by how many other topics have a reader.

    Raises:
        Unavailable: there is no valgrind, or the floor cannot be built.
    """
    try:
        floor.load()
    except floor.FloorUnavailable as reason:
        raise Unavailable(str(reason)) from reason
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += [f"--toggle-collect={FRAME}", f"--dump-after={FRAME}"]
        command += [sys.executable, "-m", "benchmarks.load.instructions", "--here"]
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise Unavailable("apt-get install valgrind") from None
        if done.returncode:
            raise Unavailable(f"callgrind failed: {done.stderr[-800:]}")
        dumps = sorted(out.parent.glob("out.*"), key=lambda path: int(path.suffix[1:]))
        totals = [_total(dump) for dump in dumps[: len(TOPICS)]]
    return {str(topics): round(n / EVENTS) for topics, n in zip(TOPICS, totals, strict=True)}


def _total(dump: Path) -> int:
    with dump.open() as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("summary:"))


def _count_here() -> None:
    """Publish under callgrind: once to warm up, once to be counted."""
    measured = floor.load().measured
    loop = asyncio.new_event_loop()
    for topics in TOPICS:
        stop = loop.run_until_complete(_prepare(topics))
        loop.run_until_complete(_publish())
        gc.collect()
        gc.disable()
        measured(lambda: loop.run_until_complete(_publish()))
        gc.enable()
        loop.run_until_complete(stop())
    loop.close()


async def _send(_: Any) -> None: ...


async def _prepare(topics: int) -> Any:
    """Start a hub with one stream, and many other topics with a subscriber each; return what ends the hub."""
    from fastsse.broadcast.hub.hub import Hub
    from fastsse.broadcast.settings import Settings

    global _hub
    _hub = Hub(Settings(heartbeat=0.0, max_streams=2 * max(TOPICS)), step_sends=True)
    await _hub.start()
    gone = asyncio.get_running_loop().create_future()
    others = [_hub.subscribe(f"other {number}") for number in range(topics)]

    async def receive() -> Any:
        return await gone

    stream = asyncio.create_task(_hub.stream(receive, _send, "measured"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    stop_timer = _hub._fanout.undo[0]
    stop_timer()  # or it would look at every stream once a second, whoever publishes

    async def stop() -> None:
        gone.set_result({"type": "http.disconnect"})
        await stream
        for other in others:
            other.close()
        await _hub.stop()

    return stop


_hub: Any = None


async def _publish() -> None:
    for number in range(EVENTS):
        await _hub.publish("measured", f"event {number}")
        await asyncio.sleep(0)


if __name__ == "__main__":
    if sys.argv[1:] == ["--here"]:
        _count_here()
    else:
        print(json.dumps(count()))
