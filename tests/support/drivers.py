"""Every way in which the client can be driven: each library, sync and async, on asyncio and trio.

`play` runs one scenario in one of these ways and tells what came of it. Clients and loops are made once for all
scenarios, so that a scenario costs some milliseconds; no scenario may close them. The module knows the client's public
names; it must not know a scenario.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from support.neighbours import need

from fastsse import Event
from fastsse.client import AsyncEventSource, EventSource, Response

__all__ = ["WAYS", "Driver", "Outcome", "Plan", "driver_for", "each_way"]

# The loop, and the library: a sync source where there is no loop.
WAYS = (
    "stdlib",
    "httpx2",
    "httpx",
    "requests",
    "asyncio-httpx2",
    "asyncio-httpx",
    "asyncio-aiohttp",
    "trio-httpx2",
    "trio-httpx",
)
PATIENCE = 30.0  # s that a scenario may take


@dataclass
class Outcome:
    """The record of all that a source did.

    Attributes:
        events: id and data of each event.
        whole: the events.
        errors: what the iteration raised, in order.
        told: names of the exceptions that `on_error` was told.
        delays: seconds that `on_retry` was told.
        opened: the responses that `on_open` was told.
        comments: that `on_comment` was told.
        state: of the source in the end.
        last_event_id: of the source in the end.
    """

    whole: list[Event] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    opened: list[Response] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    state: str = ""
    last_event_id: str = ""

    @property
    def events(self) -> list[tuple[str, str]]:
        """Id and data of each event."""
        return [(event.id, event.data) for event in self.whole]


class Plan(NamedTuple):
    """How a source is iterated.

    Attributes:
        url: where.
        options: of the source.
        resumes: how often to go on after an exception.
        leaves: leave the loop after each event, and begin another one.
        stop_after: close the source after so many told delays; 0 for never.
    """

    url: str
    options: dict[str, Any]
    resumes: int = 0
    leaves: bool = False
    stop_after: int = 0


class Driver:
    """Plays scenarios by a sync source; the other drivers replace `play`."""

    kind: Callable[..., Any] = EventSource
    patience = PATIENCE

    def __init__(self, client: Any) -> None:
        self.client = client

    def source(self, plan: Plan, outcome: Outcome) -> Any:
        """Make a source that tells its news to `outcome`."""

        def on_retry(delay: float, _: Exception) -> None:
            outcome.delays.append(delay)
            if plan.stop_after == len(outcome.delays):
                source.close()

        options = {
            "client": self.client,
            "reconnection_time": 0.002,
            "max_delay": 0.008,
            "idle_timeout": 5.0,
            "on_open": outcome.opened.append,
            "on_error": lambda error: outcome.told.append(type(error).__name__),
            "on_retry": on_retry,
            "on_comment": outcome.comments.append,
            **plan.options,
        }
        source = self.kind(plan.url, **options)
        return source

    @contextmanager
    def _watched(self, source: Any) -> Iterator[None]:
        """Close a source that goes on for too long."""
        timer = threading.Timer(self.patience, source.close)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def play(self, plan: Plan) -> Outcome:
        """Iterate a source to its end."""
        outcome = Outcome()
        with self.source(plan, outcome) as source, self._watched(source):
            left = plan.resumes
            while True:
                try:
                    for event in source:
                        outcome.whole.append(event)
                        if plan.leaves:
                            break
                    else:
                        break
                except Exception as error:
                    outcome.errors.append(error)
                    if not left:
                        break
                    left -= 1
            _end(source, outcome)
        return outcome


def _end(source: Any, outcome: Outcome) -> None:
    outcome.state = source.state
    outcome.last_event_id = source.last_event_id


async def _play(source: Any, plan: Plan, outcome: Outcome) -> Outcome:
    async with source:
        left = plan.resumes
        while True:
            try:
                async for event in source:
                    outcome.whole.append(event)
                    if plan.leaves:
                        break
                else:
                    break
            except Exception as error:
                outcome.errors.append(error)
                if not left:
                    break
                left -= 1
        _end(source, outcome)
    return outcome


class AsyncioDriver(Driver):
    """Plays scenarios in a loop of its own thread, which goes on over all of them."""

    kind = AsyncEventSource

    def __init__(self, make: Callable[[], Any]) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        super().__init__(self.run(_made(make)))

    def run(self, coroutine: Any) -> Any:
        """Await a coroutine in the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def play(self, plan: Plan) -> Outcome:
        """Iterate a source to its end."""

        async def whole() -> Outcome:
            outcome = Outcome()
            return await _play(self.source(plan, outcome), plan, outcome)

        return self.run(whole())  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the client, which no source may have closed, and the loop."""
        client = self.client
        self.run(client.aclose() if hasattr(client, "aclose") else client.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)
        self.loop.close()


async def _made(make: Callable[[], Any]) -> Any:
    return make()


class TrioDriver(Driver):
    """Plays scenarios in a run of trio in a thread of its own."""

    kind = AsyncEventSource

    def __init__(self, make: Callable[[], Any]) -> None:
        self.trio: Any = need("trio")
        ready = threading.Event()
        self.thread = threading.Thread(target=self.trio.run, args=(self._stay, ready), daemon=True)
        self.thread.start()
        assert ready.wait(PATIENCE)
        super().__init__(self.run(_made, make))

    async def _stay(self, ready: threading.Event) -> None:
        self.token = self.trio.lowlevel.current_trio_token()
        self.over = self.trio.Event()
        ready.set()
        await self.over.wait()

    def run(self, function: Callable[..., Any], *given: Any) -> Any:
        """Await a function in the run."""
        return self.trio.from_thread.run(function, *given, trio_token=self.token)

    def play(self, plan: Plan) -> Outcome:
        """Iterate a source to its end."""
        outcome = Outcome()
        source = self.source(plan, outcome)
        return self.run(_play, source, plan, outcome)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the client, and end the run."""
        self.run(self.client.aclose)
        self.trio.from_thread.run_sync(self.over.set, trio_token=self.token)
        self.thread.join(PATIENCE)


@contextmanager
def driver_for(way: str) -> Iterator[Driver]:
    """Give the driver for one way; the test that needs it skips where the library is not installed."""
    loop, _, name = way.rpartition("-")
    with ExitStack() as stack:
        if name == "stdlib":
            yield Driver("stdlib")
            return
        library: Any = need(name)
        if loop == "trio":
            need("trio")
        if loop:
            kind = AsyncioDriver if loop == "asyncio" else TrioDriver
            make = (
                library.ClientSession
                if name == "aiohttp"
                else partial(library.AsyncClient, verify=False)
            )
            driver = kind(make)
            stack.callback(driver.close)
            yield driver
            return
        client = library.Session() if name == "requests" else library.Client(verify=False)
        stack.callback(client.close)
        yield Driver(client)


@contextmanager
def each_way() -> Iterator[Callable[[str], Driver]]:
    """Give a function that finds the driver for a way, and keeps it until the end of the block."""
    with ExitStack() as stack:
        drivers: dict[str, Driver] = {}

        def find(way: str) -> Driver:
            if way not in drivers:
                drivers[way] = stack.enter_context(driver_for(way))
            return drivers[way]

        yield find
