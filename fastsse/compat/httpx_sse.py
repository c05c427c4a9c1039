"""The names of httpx-sse 0.4: `connect_sse`, `aconnect_sse`, `EventSource`, `ServerSentEvent`, `SSEError`.

    from fastsse.compat.httpx_sse import connect_sse

    with httpx.Client() as client:
        with connect_sse(client, "GET", "http://localhost:8000/sse") as event_source:
            for sse in event_source.iter_sse():
                print(sse.event, sse.data, sse.id, sse.retry)

Kept are: the names, signatures and attributes; ``Accept`` and ``Cache-Control`` of the request; a content type that is
asked for at the first event; an iteration that ends with the response, and raises what the library raises; a client's
``stream`` method, where a subclass or a test has replaced it. A client or response may be one of httpx, or of httpx2.

Different on purpose:

- The bytes are read as the HTML standard says: a byte-order mark is no part of the first event; a heartbeat, an id or
  a ``retry`` alone makes no event; text is UTF-8 whatever the response says; ``retry`` is digits alone. A
  reconnection time that came alone is told by the next event that is given.
- Headers are copied. httpx-sse writes into the dict of the caller.
- The content type is compared word for word, in any case. httpx-sse takes ``text/event-streamx``.
- `aconnect_sse` is a class and holds no generator: one that is left alone does not meet the finaliser of the loop.
- An event over `EventSource.max_event_size` (16 MiB) raises `SSEError`. httpx-sse has no limit.
- `SSEError` has the attribute `response`.

For a client that comes back by itself there is `fastsse.client.EventSource`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Iterator
from functools import cache
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fastsse import DEFAULT_MAX_EVENT_SIZE
from fastsse.compat._reading import Reading

__all__ = ["EventSource", "SSEError", "ServerSentEvent", "aconnect_sse", "connect_sse"]

__version__ = "0.4.3"  # whose names these are

_EVENT_STREAM = "text/event-stream"
_ASKED = (("Accept", _EVENT_STREAM), ("Cache-Control", "no-store"))
_OF_SENDING = ("auth", "follow_redirects")


def _transport_error() -> Any:
    """Find the class that `SSEError` is a kind of: httpx's, otherwise httpx2's.

    Raises:
        ModuleNotFoundError: neither library is installed.
    """
    for name in ("httpx", "httpx2"):
        try:
            return import_module(name).TransportError
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise ModuleNotFoundError(
        "fastsse.compat.httpx_sse needs an HTTP library: pip install httpx (or httpx2)",
        name="httpx",
    )


if TYPE_CHECKING:
    from httpx import TransportError as _TransportError
else:
    _TransportError = _transport_error()


class SSEError(_TransportError):
    """A response that is no event stream, or an event that is too large.

    A kind of ``httpx.TransportError``, and for a response of httpx2 of ``httpx2.TransportError``, too.

    Attributes:
        response: the response; None for an error that you make yourself.
    """

    response: Any = None


@cache
def _error_of_httpx2() -> type[SSEError]:
    """Return the class of errors for responses of httpx2: made when it is first needed."""
    base = import_module("httpx2").TransportError
    if issubclass(SSEError, base):
        return SSEError
    return type("SSEError", (SSEError, base), {"__doc__": SSEError.__doc__})


def _error(response: Any, message: str) -> SSEError:
    """Make the error for a response: of the library that the response is of."""
    libraries = {base.__module__.partition(".")[0] for base in type(response).__mro__}
    error = (_error_of_httpx2() if "httpx2" in libraries else SSEError)(message)
    error.response = response
    request = getattr(response, "_request", None)
    if request is not None:
        error.request = request
    return error


class ServerSentEvent:
    """One event.

    Args:
        event: the event type; ``"message"`` when it is None or empty.
        data: the data; ``""`` when it is None.
        id: the last event ID at this event; ``""`` when it is None.
        retry: the reconnection time that came with this event, integer milliseconds, or None.
    """

    __slots__ = ("_data", "_event", "_id", "_retry")

    def __init__(
        self,
        event: str | None = None,
        data: str | None = None,
        id: str | None = None,
        retry: int | None = None,
    ) -> None:
        self._event = event or "message"
        self._data = "" if data is None else data
        self._id = "" if id is None else id
        self._retry = retry

    @property
    def event(self) -> str:
        """The event type."""
        return self._event

    @property
    def data(self) -> str:
        """The data, lines joined by LF."""
        return self._data

    @property
    def id(self) -> str:
        """The last event ID."""
        return self._id

    @property
    def retry(self) -> int | None:
        """The reconnection time in milliseconds, or None."""
        return self._retry

    def json(self) -> Any:
        """Parse the data as JSON.

        Raises:
            json.JSONDecodeError: the data is not JSON.
        """
        return json.loads(self._data)

    def __repr__(self) -> str:
        fields = [f"event={self._event!r}"]
        fields += [f"data={self._data!r}"] * (self._data != "")
        fields += [f"id={self._id!r}"] * (self._id != "")
        fields += [f"retry={self._retry!r}"] * (self._retry is not None)
        return f"ServerSentEvent({', '.join(fields)})"


class EventSource:
    """The events of a response that is open, or whose body is read already.

    Args:
        response: a ``Response`` of httpx or httpx2.

    Attributes:
        max_event_size: bytes of one event, 16 MiB; None for no limit. Set it on the object, or in a subclass.
    """

    max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE

    def __init__(self, response: Any) -> None:
        self._response = response

    @property
    def response(self) -> Any:
        """The response, for its status and headers."""
        return self._response

    def iter_sse(self) -> Iterator[ServerSentEvent]:
        """Iterate the events until the response ends; an event that the end cuts off is discarded.

        Raises:
            SSEError: at the first step, when the response is no event stream; later, when an event is too large.
        """
        reading = self._reading()
        for chunk in self._response.iter_bytes():
            events, failure = reading.read(chunk)
            for event, retry in events:
                yield ServerSentEvent(event.event, event.data, event.id, retry)
            if failure is not None:
                raise _error(self._response, str(failure)) from failure

    async def aiter_sse(self) -> AsyncGenerator[ServerSentEvent, None]:
        """Iterate the events of a response of an async client; see `iter_sse`."""
        reading = self._reading()
        chunks = self._response.aiter_bytes()
        try:
            async for chunk in chunks:
                events, failure = reading.read(chunk)
                for event, retry in events:
                    yield ServerSentEvent(event.event, event.data, event.id, retry)
                if failure is not None:
                    raise _error(self._response, str(failure)) from failure
        finally:
            await chunks.aclose()

    def _reading(self) -> Reading:
        """Check the content type, and return what reads the body."""
        given = self._response.headers.get("content-type", "")
        named = [one.partition(";")[0].strip().lower() for one in given.split(",")]
        if _EVENT_STREAM not in named:
            raise _error(
                self._response,
                f"Expected response header Content-Type to contain {_EVENT_STREAM!r}, got {given!r}",
            )
        return Reading(self.max_event_size)


class _Connecting:
    """A request that is made when a block is entered; the part that the sync and the async class share."""

    def __init__(self, client: Any, method: str, url: Any, **kwargs: Any) -> None:
        self._given = kwargs.pop("headers", None)
        self._sending = {name: kwargs.pop(name) for name in _OF_SENDING if name in kwargs}
        self._asking = {**kwargs, "method": method, "url": url}
        self._client = client
        self._response: Any = None
        self._block: Any = None  # of a client that has a way of its own

    def _request(self) -> Any:
        return self._client.build_request(**self._asking, headers=_asked(self._given))

    def _own_way(self) -> Any:
        """Return the block of a client whose ``stream`` is not the library's; None for all others.

        The library's own way holds a generator for each request, which is not needed. A subclass or a test that has
        replaced the method is asked by it.
        """
        stream: Any = self._client.stream
        function = getattr(stream, "__func__", None)
        if getattr(function, "__module__", "").partition(".")[0] in ("httpx", "httpx2"):
            return None
        asking = {**self._asking, **self._sending}
        method, url = asking.pop("method"), asking.pop("url")
        self._block = stream(method, url, headers=_named(self._given), **asking)
        return self._block


class connect_sse(_Connecting):
    """Make a request for a block: ``with connect_sse(client, "GET", url) as event_source``.

    Args:
        client: a ``Client`` of httpx or httpx2.
        method: such as ``GET``.
        url: str, or a URL of the library.
        kwargs: any others of the client's ``stream`` method. `headers` are copied; ``Accept`` and ``Cache-Control``
            are set in the copy.
    """

    def __enter__(self) -> EventSource:
        block = self._own_way()
        if block is not None:
            return EventSource(block.__enter__())
        self._response = self._client.send(self._request(), stream=True, **self._sending)
        return EventSource(self._response)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        if self._block is not None:
            return self._block.__exit__(kind, error, trace)
        self._response.close()
        return None


class aconnect_sse(_Connecting):
    """Make a request for a block: ``async with aconnect_sse(client, "GET", url) as event_source``.

    Args:
        client: an ``AsyncClient`` of httpx or httpx2.
        method, url, kwargs: as those of `connect_sse`.
    """

    async def __aenter__(self) -> EventSource:
        block = self._own_way()
        if block is not None:
            return EventSource(await block.__aenter__())
        self._response = await self._client.send(self._request(), stream=True, **self._sending)
        return EventSource(self._response)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        if self._block is not None:
            return await self._block.__aexit__(kind, error, trace)
        await self._response.aclose()
        return None


def _named(given: Any) -> dict[Any, Any]:
    """Copy the caller's headers as a mapping, and set those of an event stream in the copy."""
    copied: dict[Any, Any] = dict(given or ())
    set_here = {name.lower() for name, _ in _ASKED}
    kept = {name: value for name, value in copied.items() if _lower(name) not in set_here}
    return {**kept, **dict(_ASKED)}


def _asked(given: Any) -> list[tuple[Any, Any]]:
    """Copy the caller's headers, and set those of an event stream in the copy."""
    pairs: Iterable[tuple[Any, Any]]
    if given is None:
        pairs = ()
    elif hasattr(given, "multi_items"):  # the Headers of the library, which may repeat a name
        pairs = given.multi_items()
    else:
        pairs = given.items() if hasattr(given, "items") else given
    set_here = {name.lower() for name, _ in _ASKED}
    kept = [(name, value) for name, value in pairs if _lower(name) not in set_here]
    # The library refuses a mixture of text and bytes in one list.
    return [(_as_bytes(name), _as_bytes(value)) for name, value in (*kept, *_ASKED)]


def _lower(name: str | bytes) -> str:
    return (name.decode("latin-1") if isinstance(name, bytes) else name).lower()


def _as_bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value
