"""Hooks that wait, fail or close their source, and sources that are closed meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from support.misbehaving import Misbehaving, answer, send, stream
from support.neighbours import need

from fastsse.client import AsyncEventSource, EventSource

HOOKS = ["auth", "body", "on_open", "on_error", "on_retry"]
SCRIPTS = [[stream(b"data: a\n\n")], [send(answer(204))]]
SOON = 10.0  # s, within which something must happen that happens at once


@pytest.fixture(params=["httpx2", "aiohttp"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Give a client object without certificates, which take a tenth of a second to load."""
    module: Any = need(request.param)
    if request.param == "aiohttp":
        async with module.ClientSession() as session:
            yield session
    else:
        async with module.AsyncClient(verify=False) as made:
            yield made


def source(url: str, client: Any, **options: Any) -> AsyncEventSource:
    return AsyncEventSource(url, client=client, **{"reconnection_time": 0.002, **options})


class Waiting:
    """A hook that waits for ever; `began` is set when it is called, and `ended` when it is cancelled."""

    def __init__(self, event: Callable[[], Any]) -> None:
        self.began, self.ended, self.never = event(), event(), event()

    async def __call__(self, *_: object) -> None:
        self.began.set()
        try:
            await self.never.wait()
        finally:
            self.ended.set()


@pytest.mark.parametrize("name", HOOKS)
async def test_close_ends_a_hook_that_waits(name: str, client: Any) -> None:
    hook = Waiting(asyncio.Event)
    with Misbehaving(*SCRIPTS) as server:
        async with source(server.url, client, **{name: hook}) as events:

            async def iterate() -> None:
                async for _ in events:
                    pass

            task = asyncio.create_task(iterate())
            async with asyncio.timeout(SOON):
                await hook.began.wait()
                events.close()
                await task

            assert hook.ended.is_set()
            assert (0, "stopped") == (task.cancelling(), events.state)


async def test_close_by_another_thread_ends_a_hook_that_waits(client: Any) -> None:
    hook = Waiting(asyncio.Event)
    with Misbehaving(*SCRIPTS) as server:
        async with source(server.url, client, auth=hook) as events:
            task = asyncio.ensure_future(anext(events, None))
            async with asyncio.timeout(SOON):
                await hook.began.wait()
                threading.Thread(target=events.close).start()

                assert await task is None
        assert [] == server.requests


async def test_a_cancellation_goes_through_a_hook_that_waits(client: Any) -> None:
    hook = Waiting(asyncio.Event)
    with Misbehaving(*SCRIPTS) as server:
        async with source(server.url, client, auth=hook) as events:
            task = asyncio.ensure_future(anext(events))
            async with asyncio.timeout(SOON):
                await hook.began.wait()
                task.cancel()

                with pytest.raises(asyncio.CancelledError):
                    await task
            assert hook.ended.is_set()


@pytest.mark.parametrize("name", HOOKS)
async def test_a_hook_that_closes_its_source_goes_on_to_its_end(name: str, client: Any) -> None:
    ended: list[str] = []

    async def hook(*_: object) -> None:
        events.close()
        await asyncio.sleep(0)
        ended.append(name)

    with Misbehaving(*SCRIPTS) as server:
        events = source(server.url, client, **{name: hook})
        async with events, asyncio.timeout(SOON):
            async for _ in events:
                pass

        assert [name] == ended
        assert "stopped" == events.state
        assert (0 if name in ("auth", "body") else 1) == len(server.requests)
        task = asyncio.current_task()
        assert task is not None
        assert 0 == task.cancelling()
        await asyncio.sleep(0)  # raises, if a cancellation were left behind


@pytest.mark.parametrize("name", HOOKS)
async def test_what_a_hook_raises_after_a_close_reaches_the_caller(name: str, client: Any) -> None:
    async def hook(*_: object) -> None:
        events.close()
        raise LookupError(name)

    with Misbehaving(*SCRIPTS) as server:
        events = source(server.url, client, **{name: hook})
        async with events:
            with pytest.raises(LookupError, match=name):
                async for _ in events:
                    pass


async def test_a_time_out_of_a_hook_is_its_own(client: Any) -> None:
    async def hook(*_: object) -> None:
        raise TimeoutError("of the hook")

    with Misbehaving(*SCRIPTS) as server:
        async with source(server.url, client, auth=hook, max_time=60.0) as events:
            with pytest.raises(TimeoutError, match="of the hook"):
                await anext(events)


class TestTrio:
    def run(self, function: Callable[..., Awaitable[Any]], *given: Any) -> Any:
        trio = need("trio")

        async def bounded() -> Any:
            with trio.fail_after(SOON):
                return await function(*given)

        return trio.run(bounded)

    @pytest.mark.parametrize("name", HOOKS)
    def test_close_ends_a_hook_that_waits(self, name: str) -> None:
        trio = need("trio")

        async def whole(url: str) -> bool:
            hook = Waiting(trio.Event)

            async def closing() -> None:
                await hook.began.wait()
                events.close()

            async with need("httpx2").AsyncClient(verify=False) as client:
                events = source(url, client, **{name: hook})
                async with events, trio.open_nursery() as nursery:
                    nursery.start_soon(closing)
                    async for _ in events:
                        pass
            return bool(hook.ended.is_set())

        with Misbehaving(*SCRIPTS) as server:
            assert self.run(whole, server.url)

    def test_a_hook_that_closes_its_source_goes_on_to_its_end(self) -> None:
        trio = need("trio")
        ended: list[str] = []

        async def whole(url: str) -> None:
            async def hook(*_: object) -> None:
                events.close()
                await trio.sleep(0)
                ended.append("on_open")

            async with need("httpx2").AsyncClient(verify=False) as client:
                events = source(url, client, on_open=hook)
                async with events:
                    async for _ in events:
                        pass

        with Misbehaving(*SCRIPTS) as server:
            self.run(whole, server.url)
        assert ["on_open"] == ended


@pytest.mark.parametrize("name", ["auth", "body"])
@pytest.mark.parametrize("library", ["stdlib", "httpx2", "requests"])
def test_no_request_follows_a_hook_that_closes_its_source(name: str, library: str) -> None:
    if library != "stdlib":
        need(library)

    def hook(*_: object) -> None:
        events.close()

    with Misbehaving(*SCRIPTS) as server:
        events = EventSource(server.url, client=library, **{name: hook})
        with events:
            assert [] == list(events)

    assert [] == server.requests
