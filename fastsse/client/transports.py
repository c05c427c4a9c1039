"""The contract of a transport, and which one serves a client object.

A transport moves bytes by one HTTP library. Each stands in a file of its own, and knows how its library is asked for a
body as it comes, in large pieces, and which of its exceptions mean that the network failed. A transport follows no
redirect, raises for no status, and never closes a client object that the caller has made.

The module knows names of libraries and imports one when it is needed; it must not know when a request is made.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Protocol

from fastsse.client.messages import Request, Response

__all__ = ["Answer", "AsyncAnswer", "AsyncTransport", "Transport", "find", "find_async"]


class Answer(Protocol):
    """One answer while it is read."""

    response: Response

    def read(self) -> bytes:
        """Return the bytes that have come, as soon as there are any; b"" at the end.

        Raises:
            NetworkError: the connection broke off, or `IdleTimeout`.
        """
        ...

    def interrupt(self) -> None:
        """Make a `read` of another thread return or raise at once. Must not raise."""
        ...

    def close(self) -> None:
        """Close the connection. Must not raise."""
        ...


class Transport(Protocol):
    """The maker of requests, one at a time."""

    def open(self, request: Request, idle_timeout: float | None) -> Answer:
        """Send a request and return the answer once its head is there; `body` of the request is bytes or None.

        Args:
            request: what to send.
            idle_timeout: seconds without a byte after which the connection counts as lost; None for never.

        Raises:
            NetworkError: there is no answer.
        """
        ...

    def interrupt(self) -> None:
        """Make an `open` of another thread fail soon, where the library lets us. Must not raise."""
        ...

    def close(self) -> None:
        """Close what the transport has made itself. Must not raise."""
        ...


class AsyncAnswer(Protocol):
    """One answer while it is read in a task."""

    response: Response

    async def read(self) -> bytes:
        """Return the bytes that have come, as `Answer.read` does; a cancellation may lose the connection."""
        ...

    async def close(self) -> None:
        """Close the connection. Must not raise, but for a cancellation."""
        ...


class AsyncTransport(Protocol):
    """The maker of requests in a task, one at a time."""

    async def open(self, request: Request, idle_timeout: float | None) -> AsyncAnswer:
        """Send a request, as `Transport.open` does."""
        ...

    async def close(self) -> None:
        """Close what the transport has made itself."""
        ...


# Library: module of ours, class there for the sync client, class there for the async one.
_LIBRARIES: dict[str, tuple[str, str, str]] = {
    "stdlib": ("fastsse.client._stdlib", "StdlibTransport", ""),
    "httpx2": ("fastsse.client._httpx2", "Httpx2Transport", "AsyncHttpx2Transport"),
    "httpx": ("fastsse.client._httpx", "HttpxTransport", "AsyncHttpxTransport"),
    "aiohttp": ("fastsse.client._aiohttp", "", "AiohttpTransport"),
    "requests": ("fastsse.client._requests", "RequestsTransport", ""),
}
_ASYNC_CHOICE = ("httpx2", "httpx", "aiohttp")


def find(client: Any) -> Transport:
    """Return the transport for a client object, the name of a library, or None: the standard library.

    Raises:
        TypeError: nothing is known about such an object.
        ModuleNotFoundError: the library is not installed.
    """
    return _found(client, "stdlib" if client is None else client, 1)  # type: ignore[no-any-return]


def find_async(client: Any) -> AsyncTransport:
    """Return the transport for an async client object, the name of a library, or None: the first one installed.

    Raises:
        TypeError: nothing is known about such an object.
        ModuleNotFoundError: the library is not installed, or none is.
    """
    return _found(client, _installed() if client is None else client, 2)  # type: ignore[no-any-return]


_SOURCES = ("", "EventSource", "AsyncEventSource")
_FIT = (
    "",
    "a Client of httpx2 or httpx, a Session of requests",
    "an AsyncClient of httpx2 or httpx, a ClientSession of aiohttp",
)


def _found(given: Any, client: Any, column: int) -> Any:
    if isinstance(client, str):
        return _load(_checked(client, column), column)(None)
    library = _library_of(client)
    if library is None and _has(client, "open", "close"):
        return given
    is_async = hasattr(client, "__aenter__")
    if library is None or not _LIBRARIES[library][column] or is_async is (column == 1):
        kind: Any = type(client)  # pyright: ignore[reportUnknownVariableType]
        raise TypeError(
            f"{_SOURCES[column]} cannot use a {kind.__module__}.{kind.__qualname__}: client must be {_FIT[column]}, "
            "the name of a library, or an object with open() and close()"
        )
    return _load(library, column)(client)


def _load(library: str, column: int) -> Any:
    entry = _LIBRARIES[library]
    return getattr(import_module(entry[0]), entry[column])


def _checked(name: str, column: int) -> str:
    known = [library for library, entry in _LIBRARIES.items() if entry[column]]
    if name not in known:
        raise TypeError(f"client {name!r}: must be one of {', '.join(map(repr, known))}")
    return name


def _library_of(client: Any) -> str | None:
    """Find the library by the modules of the object's classes, so that nothing is imported to ask."""
    roots = [base.__module__.partition(".")[0] for base in type(client).__mro__]
    return next((root for root in roots if root in _LIBRARIES and root != "stdlib"), None)


def _has(client: Any, *names: str) -> bool:
    return all(callable(getattr(client, name, None)) for name in names)


def _installed() -> str:
    """Choose the library for an async source that is given none: one that is imported already, otherwise installed."""
    for library in _ASYNC_CHOICE:
        if library in sys.modules:
            return library
    for library in _ASYNC_CHOICE:
        try:
            import_module(library)
        except ModuleNotFoundError:
            continue
        return library
    raise ModuleNotFoundError(
        "AsyncEventSource needs an HTTP library: pip install httpx2 (or httpx, or aiohttp)",
        name="httpx2",
    )
