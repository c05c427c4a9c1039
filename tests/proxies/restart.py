"""A hub that restarts behind proxies, and readers that come back: for the tests and for the table."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import NamedTuple

from proxies.documented import Proxy, run
from proxies.measure import HUB, Reader
from support.servers import DEADLINE, Server, free_port, serve

__all__ = ["House", "house", "restarted", "survivors"]

AWAY = 3.0  # s: for which connections to the hub are refused; readers ask each half second


class House(NamedTuple):
    """A port for the hub, what serves there now, and the proxies in front of it by their names."""

    port: int
    hub: Server
    fronts: dict[str, tuple[Proxy, Server]]


@contextmanager
def house(proxies: Iterable[Proxy]) -> Iterator[House]:
    """Start a hub and proxies in front of it."""
    port = free_port()
    with ExitStack() as stack:
        hub = stack.enter_context(serve_at(port))
        fronts = {
            proxy.name: (proxy, stack.enter_context(run(proxy, free_port(), hub)))
            for proxy in proxies
        }
        yield House(port, hub, fronts)


def serve_at(port: int) -> contextlib.AbstractContextManager[Server]:
    return serve(*HUB, "--max-streams", "100", "--port", str(port))


@asynccontextmanager
async def restarted(house: House, signum: str) -> AsyncIterator[Server]:
    """End the hub, leave its port alone for a while, and start a new one."""
    house.hub.signal(signal.Signals[signum], group=signum == "SIGKILL")
    await asyncio.to_thread(house.hub.wait)
    await asyncio.sleep(AWAY)
    with serve_at(house.port) as hub:
        yield hub


async def survivors(house: House, signum: str) -> dict[str, Reader]:
    """Restart the hub and return the readers by their proxies' names, each dead or with what came after."""
    readers = {
        name: Reader(front, "a", proxy.host) for name, (proxy, front) in house.fronts.items()
    }
    async with following(readers):
        await until(lambda: all(reader.last_event_id for reader in readers.values()))
        house.hub.publish("a", "first")
        await until(lambda: all(reader.data == ["first"] for reader in readers.values()))
        async with restarted(house, signum) as hub:
            hub.publish("a", "second")
            await until(lambda: all(reader.dead or reader.data[1:] for reader in readers.values()))
    return readers


@asynccontextmanager
async def following(readers: dict[str, Reader]) -> AsyncIterator[None]:
    """Run readers for as long as the block lasts."""
    tasks = [asyncio.ensure_future(reader.run()) for reader in readers.values()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until(happened: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    end = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < end, f"not within {DEADLINE} s"
        await asyncio.sleep(0.01)
