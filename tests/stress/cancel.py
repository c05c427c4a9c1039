"""Cancel open streams at random moments under real servers: ``python tests/stress/cancel.py --rounds 1000``.

An application answers with one of `CASES`, and is itself cancelled by one of `CANCELLATIONS` after some milliseconds,
or its client leaves. In the end each source of items must have been closed once, where it was iterated, each `on_close`
must have been told once, a hub must have no stream and have counted each once, and no task of ours may be left.

A new way to hold a stream is one more function in `CASES`: it gets a `Ledger`'s entry, and notes there what it did.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import anyio

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

from support.middlewares import passed
from support.servers import ROOT, Server, serve_granian, serve_hypercorn, serve_uvicorn

from fastsse import EventSourceResponse, aiter_blocks, in_thread
from fastsse.broadcast import Hub, Settings

SERVERS = {"granian": serve_granian, "uvicorn": serve_uvicorn, "hypercorn": serve_hypercorn}
QUIET = {
    "granian": ("--log-level", "critical")
}  # each send to a client that has left is a line, and nobody reads them
AT_ONCE = 20  # connections
MOMENTS = 0.06  # s: a stream is cancelled within them
SETTLED = 15.0  # s that everything may take to be closed in the end


class Entry:
    """The fate of one stream: where its items ran and were closed, and what `on_close` was told."""

    def __init__(self, case: str, cancellation: str) -> None:
        self.name = f"{case}, {cancellation}"
        self.began: list[object] = []
        self.closed: list[object] = []
        self.told: list[str] = []
        self.tells = False  # its case has an on_close

    def begin(self) -> None:
        self.began.append(_here())

    def close(self) -> None:
        self.closed.append(_here())

    async def on_close(self, reason: str) -> None:
        await asyncio.sleep(0)
        self.told.append(reason)

    def faults(self) -> Iterator[str]:
        if len(self.began) != len(self.closed):
            yield f"{self.name}: begun {len(self.began)} times, closed {len(self.closed)} times"
        elif self.began != self.closed:
            yield f"{self.name}: closed elsewhere than begun"
        if self.tells and len(self.told) != 1:
            yield f"{self.name}: on_close was told {len(self.told)} times"


def _here() -> object:
    """Name the task, or the thread where there is no task."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return threading.get_ident()


# Ways of an endpoint to answer. Each is called with the entry, the scope and the server's two functions.

Case = Callable[[Entry, Any, Any, Any], Awaitable[None]]


def _response(make: Callable[[Entry], Any]) -> Case:
    async def case(entry: Entry, scope: Any, receive: Any, send: Any) -> None:
        entry.tells = True
        await EventSourceResponse(make(entry), on_close=entry.on_close)(scope, receive, send)

    return case


async def _items(entry: Entry, block: str, pause: float, closing: int) -> AsyncIterator[str]:
    entry.begin()
    try:
        while True:
            yield block
            await asyncio.sleep(pause)
    finally:
        for _ in range(closing):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.002)
        entry.close()


def _stepped(entry: Entry, pause: float) -> Iterator[str]:
    if pause:
        entry.begin()
    try:
        while True:
            yield "x"
            time.sleep(pause)
    finally:
        if pause:
            entry.close()


async def _iterator(entry: Entry, _scope: Any, _receive: Any, send: Any) -> None:
    """Answer by iterating `aiter_blocks`, as a framework's streaming response does."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async with contextlib.aclosing(aiter_blocks(_items(entry, "x", 0.005, 2))) as blocks:
        async for block in blocks:
            await send({"type": "http.response.body", "body": block, "more_body": True})


HUB = Hub(Settings(heartbeat=0.05, lifetime=0.1, lag_bytes=2**16, slow_policy="skip"))


def _of_the_hub(around: Callable[[Any], Any] = lambda app: app) -> Case:
    async def case(_: Entry, scope: Any, receive: Any, send: Any) -> None:
        await around(HUB.response("a"))(scope, receive, send)

    return case


def _wrapped(app: Any) -> Any:
    async def call(scope: Any, receive: Any, send: Any) -> None:
        async def later(message: Any) -> None:
            await asyncio.sleep(0)
            await send(message)

        await app(scope, receive, later)

    return call


async def _subscription(entry: Entry) -> AsyncIterator[Any]:
    entry.begin()
    try:
        async for event in HUB.subscribe("a"):
            yield event
    finally:
        entry.close()


async def _followed(entry: Entry, _scope: Any, _receive: Any, send: Any) -> None:
    """Answer by iterating a subscription, and let it go."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    entry.begin()
    try:
        async for event in HUB.subscribe("a"):
            body = {"type": "http.response.body", "body": event.encode(), "more_body": True}
            await send(body)
            await asyncio.sleep(0.005)
    finally:
        entry.close()


async def _publish() -> None:
    """Publish small events and large ones, with pauses and without."""
    for number in range(10**9):
        await HUB.publish("a", "x" * (50_000 if number % 50 == 0 else 50))
        if number % 10 == 0:
            await asyncio.sleep(0.001)


CASES: dict[str, Case] = {
    "fast": _response(lambda entry: _items(entry, "x", 0, 0)),
    "slow": _response(lambda entry: _items(entry, "x", 0.005, 1)),
    "large": _response(lambda entry: _items(entry, "x" * 100_000, 0, 1)),
    "slow to close": _response(lambda entry: _items(entry, "x", 0.001, 10)),
    "aiter_blocks": _response(lambda entry: _as_blocks(_items(entry, "x", 0.001, 2))),
    "in_thread": _response(lambda entry: in_thread(_stepped(entry, 0))),
    "a generator": _response(lambda entry: _stepped(entry, 0.002)),
    "an iterator": _iterator,
    "a hub's stream": _of_the_hub(),
    "a hub's stream, wrapped": _of_the_hub(_wrapped),
    "a hub's stream, past middlewares": _of_the_hub(passed),
    "a subscription as items": _response(_subscription),
    "a subscription": _followed,
}


async def _as_blocks(items: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(aiter_blocks(items)) as blocks:
        async for block in blocks:
            yield block


# Ways to cancel it.

Call = Callable[[], Awaitable[None]]


async def _never(call: Call, after: float) -> None:
    """Cancel nothing: the client leaves."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(call(), after + 0.5)


async def _cancel(call: Call, after: float, times: int = 1) -> None:
    task = asyncio.ensure_future(call())
    for _ in range(times):
        await asyncio.wait([task], timeout=after)
        task.cancel()
        after = 0.001
    await asyncio.wait([task])


async def _cancel_twice(call: Call, after: float) -> None:
    await _cancel(call, after, times=2)


async def _move_on_after(call: Call, after: float) -> None:
    with anyio.move_on_after(after):
        await call()


async def _fail_after(call: Call, after: float) -> None:
    with contextlib.suppress(TimeoutError), anyio.fail_after(after):
        await call()


async def _failing_group(call: Call, after: float) -> None:
    async def fail() -> None:
        await asyncio.sleep(after)
        raise KeyError("of a sibling")

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            group.start_soon(fail)
    except* KeyError:
        pass


CANCELLATIONS: dict[str, Callable[[Call, float], Awaitable[None]]] = {
    "the client leaves": _never,
    "cancel": _cancel,
    "cancel twice": _cancel_twice,
    "move_on_after": _move_on_after,
    "fail_after": _fail_after,
    "a failing group": _failing_group,
}


class App:
    """The application under stress, and its judgement of itself."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.open = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["path"] == "/case":
            query = dict(parse_qsl(scope["query_string"].decode()))
            self.open += 1
            try:
                await self._run(query, scope, receive, send)
            finally:
                self.open -= 1
        else:
            await _answer(send, await self._judge() if scope["path"] == "/faults" else {})

    async def _run(self, query: dict[str, str], scope: Any, receive: Any, send: Any) -> None:
        entry = Entry(query["case"], query["cancellation"])
        self.entries.append(entry)
        case, cancel = CASES[query["case"]], CANCELLATIONS[query["cancellation"]]
        await cancel(lambda: case(entry, scope, receive, send), float(query["after"]))

    async def _judge(self) -> dict[str, Any]:
        """Wait until all is settled, or long enough, and say what is wrong."""
        deadline = time.monotonic() + SETTLED
        while faults := self._faults():
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)
        return {"streams": len(self.entries), "faults": faults}

    def _faults(self) -> list[str]:
        faults = [fault for entry in self.entries for fault in entry.faults()]
        if self.open:
            faults.append(f"{self.open} requests are not over")
        opened, ended = sum(HUB.stats.openings.values()), sum(HUB.stats.ended.values())
        if HUB.open_streams or HUB.blocked or opened != ended:
            faults.append(
                f"hub: {HUB.open_streams} of {opened} left, {HUB.blocked} blocked, {ended} ended"
            )
        return faults + [f"left: {task!r}" for task in asyncio.all_tasks() if _is_ours(task)]


def _is_ours(task: asyncio.Task[Any]) -> bool:
    code: Any = getattr(task.get_coro(), "cr_code", None)
    if code is None or task is asyncio.current_task():
        return False
    return bool(code.co_filename.startswith(str(ROOT / "fastsse"))) or code.co_name == "_items"


async def _live(receive: Any, send: Any) -> None:
    await receive()
    async with HUB:
        publishing = asyncio.create_task(_publish())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        publishing.cancel()
    await send({"type": "lifespan.shutdown.complete"})


async def _answer(send: Any, content: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


app = App()


# The client.


async def _one(server: Server, chance: random.Random, case: str, cancellation: str) -> None:
    """Open one stream, read or do not, and stay until it ends, or leave."""
    after = chance.random() * MOMENTS
    query = f"case={case}&cancellation={cancellation}&after={after}".replace(" ", "%20")
    try:
        reader, writer = await asyncio.open_connection(server.host, server.port)
    except OSError:
        return
    writer.write(f"GET /case?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    reads = case != "large" or chance.random() < 0.5
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        async with asyncio.timeout(after + (0 if cancellation == "the client leaves" else 0.3)):
            while reads and await reader.read(2**16):
                pass
            await asyncio.sleep(1)
    writer.transport.abort()


async def _rounds(server: Server, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    pairs = [(case, cancellation) for case in CASES for cancellation in CANCELLATIONS]
    pairs = [pairs[n % len(pairs)] for n in range(rounds)]
    chance.shuffle(pairs)
    places = asyncio.Semaphore(AT_ONCE)

    async def one(case: str, cancellation: str) -> None:
        async with places:
            await _one(server, chance, case, cancellation)

    await asyncio.gather(*(one(*pair) for pair in pairs))


def run(name: str, rounds: int, seed: int = 1) -> dict[str, Any]:
    """Cancel `rounds` streams under a server; return how many there were and what was wrong."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    with SERVERS[name](*QUIET.get(name, ()), app="stress.cancel:app", PYTHONPATH=path) as server:
        asyncio.run(_rounds(server, rounds, seed))
        verdict: dict[str, Any] = server.request("GET", "/faults").json
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1000, help="streams under each server")
    parser.add_argument("--server", choices=SERVERS, action="append", help="default: all of them")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    failed = False
    for name in arguments.server or SERVERS:
        verdict = run(name, arguments.rounds, arguments.seed)
        print(f"{name}: {verdict['streams']} streams, {len(verdict['faults'])} faults", flush=True)
        for fault, count in Counter(verdict["faults"]).most_common(20):
            print(f"  {count} times: {fault}")
        failed = failed or bool(verdict["faults"])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
