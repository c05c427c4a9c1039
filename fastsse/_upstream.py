"""Upstreams: the responses of any HTTP client, opened, read and closed in one manner, without importing a client.

    httpx, httpx2      client.stream(...), client.send(request, stream=True), or the response
    aiohttp            session.get(...), session.post(...), or the response
    the openai SDK     client.chat.completions.with_streaming_response.create(...)
    requests           the response of a call with stream=True, read in threads
    urllib             the response of urlopen, read in threads
    anything else      an async or sync iterable of bytes; `status` and `headers` count where the object has them

An upstream that is not open yet is opened here, so that one task opens, reads and closes the response.

The module knows responses by their methods, and what their errors mean; it must not know ASGI, blocks or heartbeats.
"""

from __future__ import annotations

import functools
import inspect
import io
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple, cast

from fastsse._items import aclose, as_async
from fastsse.streams import in_thread

__all__ = [
    "Upstream",
    "answer_of",
    "close_unused",
    "failure",
    "open_upstream",
    "require_upstream",
]

_READ = 65_536  # bytes that one read in a thread asks for
_UNKNOWN = "must be a response, what opens one, or an iterable of bytes"
_TIMED_OUT = frozenset({"TimeoutError", "TimeoutException", "Timeout"})
_FAILED = frozenset(
    {"OSError", "HTTPError", "TransportError", "ClientError", "RequestException", "APIError"}
)


class Upstream(NamedTuple):
    """A response whose headers are known.

    Attributes:
        status: the status code.
        headers: names in lower case, and values, in the order of the response.
        chunks: the body, without its content encoding; cut anywhere.
    """

    status: int
    headers: list[tuple[str, str]]
    chunks: AsyncIterable[bytes]


def require_upstream(upstream: object) -> None:
    """Refuse what cannot be an upstream, before anything is opened.

    Raises:
        TypeError: `upstream` is neither a response nor anything that opens or iterates one.
    """
    kind = type(upstream)
    if isinstance(upstream, (str, bytes, bytearray, memoryview, Mapping)) or not (
        _opens(upstream) or _is_response(upstream)
    ):
        raise TypeError(f"upstream {_UNKNOWN}, not {kind.__name__}")


@asynccontextmanager
async def open_upstream(upstream: object) -> AsyncGenerator[Upstream]:
    """Open an upstream unless it is open, and close it in the end, at once where its body was not read to its end."""
    response: Any = upstream
    while inspect.isroutine(response) or isinstance(response, functools.partial):
        response = cast("Any", response)()
    if isinstance(response, AbstractAsyncContextManager):
        entering = cast("AbstractAsyncContextManager[Any]", response)
        async with entering as entered, _reading(entered) as found:
            yield found
        return
    if inspect.isawaitable(response):
        response = await response
    async with _reading(response) as found:
        yield found


def failure(error: BaseException) -> int | None:
    """Return the status that tells of an upstream's error: 504 for a time-out, 502 for others; None for no such error.

    Clients' exceptions are known by the names of their classes, because none of the clients is imported.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _TIMED_OUT:
        return 504
    return 502 if names & _FAILED else None


def answer_of(error: BaseException) -> Upstream | None:
    """Return the response that an error brings with its body read, as those of SDKs do; None without one."""
    response: Any = getattr(error, "response", None)
    try:
        body = response.content
        found = Upstream(_status(response), _headers(response), as_async([body]))
    except Exception:  # there is none, or its body was not read
        return None
    return found if isinstance(body, bytes) else None


async def close_unused(upstream: Any) -> None:
    """Close an upstream that was never iterated."""
    if inspect.iscoroutine(upstream):
        upstream.close()
    elif not _opens(upstream) or hasattr(upstream, "release"):
        # aiohttp's response can be entered, too.
        await _release(upstream)


@asynccontextmanager
async def _reading(response: Any) -> AsyncGenerator[Upstream]:
    response = getattr(response, "http_response", response)
    if not _is_response(response):
        raise TypeError(f"what an upstream opens {_UNKNOWN}, not {type(response).__name__}")
    chunks = _async_chunks(response)
    blocking = _sync_chunks(response) if chunks is None else None
    if chunks is None:
        chunks = in_thread(cast("Iterable[bytes]", blocking))
    try:
        yield Upstream(_status(response), _headers(response), chunks)
    finally:
        try:
            await aclose(chunks)
        finally:
            # A thread that reads holds a lock of the response, and closes it after the read.
            if blocking is None or inspect.getgeneratorstate(blocking) == inspect.GEN_CREATED:
                await _release(response)


async def _release(response: Any) -> None:
    """Close a response. Where its body was not read to its end, that drops the connection."""
    if hasattr(response, "release"):  # aiohttp's
        response.release()
    elif hasattr(response, "aclose"):
        await response.aclose()
    else:
        _close(response)


def _close(response: Any) -> None:
    """Close a sync response; a plain file, which is the caller's, stays open."""
    file = isinstance(response, io.IOBase) and not hasattr(response, "status")
    if hasattr(response, "close") and not file:
        response.close()


def _async_chunks(response: Any) -> AsyncIterator[bytes] | None:
    """Return the chunks of a body as they come, by the method that the client has for that; None for a sync body."""
    if hasattr(response, "aiter_bytes") and hasattr(response.stream, "__aiter__"):
        return cast("AsyncIterator[bytes]", response.aiter_bytes())
    if hasattr(response, "iter_bytes") or hasattr(response, "iter_content"):
        return None  # before `content` is asked for, which would read the body
    if hasattr(response, "content") and hasattr(response.content, "iter_any"):
        return cast("AsyncIterator[bytes]", response.content.iter_any())
    return as_async(response) if hasattr(response, "__aiter__") else None


def _sync_chunks(response: Any) -> Generator[bytes]:
    """Yield the chunks of a body that is read by calls that block, and close the response in the same thread."""
    try:
        if hasattr(response, "iter_bytes"):  # httpx, sync
            yield from response.iter_bytes()
        elif hasattr(response, "iter_content") and hasattr(response.raw, "read1"):  # requests
            yield from _reads(functools.partial(response.raw.read1, decode_content=True))
        elif hasattr(response, "iter_content"):
            yield from response.iter_content(None)
        elif hasattr(response, "read1"):  # urllib, http.client
            yield from _reads(response.read1)
        else:
            yield from response
    finally:
        _close(response)


def _reads(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while chunk := read(_READ):
        yield chunk


def _opens(upstream: object) -> bool:
    """Return True for what gives a response only when it is called, entered or awaited."""
    return (
        inspect.isroutine(upstream)
        or isinstance(upstream, (functools.partial, AbstractAsyncContextManager))
        or inspect.isawaitable(upstream)
    )


def _is_response(response: object) -> bool:
    kinds = ("aiter_bytes", "iter_content", "read1", "__aiter__", "__iter__")
    return any(hasattr(response, name) for name in kinds) or hasattr(
        getattr(response, "content", None), "iter_any"
    )


def _status(response: Any) -> int:
    status = getattr(response, "status_code", None) or getattr(response, "status", None)
    return status if isinstance(status, int) else 200


def _headers(response: Any) -> list[tuple[str, str]]:
    """Return a response's headers; a bare iterable, which has none, is taken for an event stream."""
    given: Any = getattr(response, "headers", None)
    if given is None:
        return [("content-type", "text/event-stream")]
    if hasattr(given, "multi_items"):
        given = given.multi_items()
    elif hasattr(given, "items"):
        given = given.items()
    return [(_text(name).lower(), _text(value)) for name, value in given]


def _text(part: str | bytes) -> str:
    return part.decode("latin-1") if isinstance(part, bytes) else part
