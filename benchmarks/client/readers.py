"""The readers that are compared, each written as its library's users write it.

A reader takes an address and a number of events, reads so many in a ``for`` loop that looks at each event's data, and
returns the characters of all data. Readers of one library share a client object, which is made once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastsse.client import AsyncEventSource, EventSource

__all__ = ["TASKS", "Reader", "readers", "versions"]

Reader = Callable[[str, int], int]

# Which transport of ours, and which peers, read the same thing.
TASKS: dict[str, tuple[str, ...]] = {
    "httpx2": ("httpx2", "httpx-sse"),
    "httpx2 async": ("httpx2", "httpx-sse"),
    "aiohttp": ("aiohttp-sse-client",),
    "stdlib": ("sseclient-py",),
}


def _in_thread(make: Callable[[str], Any]) -> Reader:
    def read(url: str, _: int) -> int:
        size = 0
        with make(url) as events:
            for event in events:
                size += len(event.data)
        return size

    return read


def _in_task(follow: Callable[[str, int], Awaitable[int]]) -> Reader:
    return lambda url, count: asyncio.run(follow(url, count))  # type: ignore[arg-type]


def _ours_async(client: Callable[[], Any]) -> Reader:
    async def follow(url: str, _: int) -> int:
        size = 0
        async with client() as made, AsyncEventSource(url, client=made, max_retries=0) as events:
            async for event in events:
                size += len(event.data)
        return size

    return _in_task(follow)


def _httpx2_async(library: Any) -> Reader:
    async def follow(url: str, _: int) -> int:
        size = 0
        async with library.AsyncClient(verify=False) as client, client.sse(url) as events:
            async for event in events:
                size += len(event.data)
        return size

    return _in_task(follow)


def _httpx_sse() -> Reader:
    httpx: Any = import_module("httpx")
    sse: Any = import_module("httpx_sse")
    client = httpx.Client(verify=False)

    def read(url: str, _: int) -> int:
        size = 0
        with sse.connect_sse(client, "GET", url) as source:
            for event in source.iter_sse():
                size += len(event.data)
        return size

    return read


def _httpx_sse_async() -> Reader:
    httpx: Any = import_module("httpx")
    sse: Any = import_module("httpx_sse")

    async def follow(url: str, _: int) -> int:
        size = 0
        async with (
            httpx.AsyncClient(verify=False) as client,
            sse.aconnect_sse(client, "GET", url) as source,
        ):
            async for event in source.aiter_sse():
                size += len(event.data)
        return size

    return _in_task(follow)


def _aiohttp_sse_client() -> Reader:
    library: Any = import_module("aiohttp_sse_client.client")

    async def follow(url: str, count: int) -> int:
        size = 0
        async with library.EventSource(url) as events:
            async for event in events:
                size += len(event.data)
                count -= 1
                if not count:  # it would come again
                    break
        return size

    return _in_task(follow)


def _sseclient() -> Reader:
    requests: Any = import_module("requests")
    library: Any = import_module("sseclient")
    session = requests.Session()

    def read(url: str, _: int) -> int:
        size = 0
        with session.get(url, stream=True) as response:
            for event in library.SSEClient(response).events():
                size += len(event.data)
        return size

    return read


def readers(task: str) -> dict[str, Reader]:
    """Make the readers of a task, ours first; a peer that is not installed is left out."""
    made: dict[str, Reader] = {}
    for name in ("fastsse", *TASKS[task]):
        with suppress(ModuleNotFoundError):
            made[name] = _MAKERS[task, name]()
    return made


def _sync(name: str) -> Reader:
    library: Any = import_module(name) if name != "stdlib" else None
    client = "stdlib" if library is None else library.Client(verify=False)
    return _in_thread(lambda url: EventSource(url, client=client, max_retries=0))


def _httpx2() -> Reader:
    client = import_module("httpx2").Client(verify=False)
    return _in_thread(lambda url: client.sse(url))


def _client_of(name: str) -> Callable[[], Any]:
    library: Any = import_module(name)
    if name == "aiohttp":
        return library.ClientSession  # type: ignore[no-any-return]
    return lambda: library.AsyncClient(verify=False)


_MAKERS: dict[tuple[str, str], Callable[[], Reader]] = {
    ("httpx2", "fastsse"): lambda: _sync("httpx2"),
    ("httpx2", "httpx2"): _httpx2,
    ("httpx2", "httpx-sse"): _httpx_sse,
    ("httpx2 async", "fastsse"): lambda: _ours_async(_client_of("httpx2")),
    ("httpx2 async", "httpx2"): lambda: _httpx2_async(import_module("httpx2")),
    ("httpx2 async", "httpx-sse"): _httpx_sse_async,
    ("aiohttp", "fastsse"): lambda: _ours_async(_client_of("aiohttp")),
    ("aiohttp", "aiohttp-sse-client"): _aiohttp_sse_client,
    ("stdlib", "fastsse"): lambda: _sync("stdlib"),
    ("stdlib", "sseclient-py"): _sseclient,
}


def versions() -> dict[str, str]:
    """Return the versions of everybody."""
    found: dict[str, str] = {}
    for name in ("httpx2", "httpx-sse", "aiohttp-sse-client", "sseclient-py"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
