"""The names of aiohttp-sse, of its versions 2.2 and 3: event streams that an aiohttp handler writes.

    from fastsse.compat.aiohttp_sse import sse_response

    async def clock(request):
        async with sse_response(request) as response:
            while response.is_connected():
                await response.send(str(datetime.now()), event="tick")
                await asyncio.sleep(1)
        return response

Kept are: both versions' arguments and attributes; the bytes: ``id``, ``event``, ``data``, ``retry`` in this order,
CRLF unless `sep` says otherwise; the headers; ``: ping`` at every interval; version 2.2's ``await
sse_response(request)`` and attribute `ping_interval`; version 3's `send_timeout`. Where the versions conflict, version
2.2 decides: every method is answered, which version 3 does with ``allow_all_methods=True`` alone.

Different on purpose:

- An id or event type with a line end, and an id with NUL, are refused (`InvalidField`, a ValueError), as in version 3.
  Version 2.2 takes the line end out. A reconnection time must be an integer, 0 or more.
- The attribute `ping_interval` set to 0 sends no pings; version 2.2 sends pings without a pause.
- `is_connected` is False as soon as the connection is closed, not only after the next ping.
- `send_timeout` holds for version 2.2's users, too: 120 s, after which a client that does not read is cut off.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Generator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from aiohttp.abc import AbstractStreamWriter
from aiohttp.web import BaseRequest, ContentCoding, HTTPMethodNotAllowed, Request, StreamResponse

from fastsse.compat._fields import check_retry, encoded, lines, one_line

__all__ = ["EventSourceResponse", "sse_response"]

__version__ = "3.0"  # whose names and bytes these are

_ROOM = 2**14  # bytes, well below the 64 KiB at which asyncio's transports make a writer wait
_TCP_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)


class EventSourceResponse(StreamResponse):
    """An event stream as a response of aiohttp: prepare it, enter it, send to it.

    Args:
        status: the status code.
        reason: the reason phrase.
        headers: more headers; those of an event stream cannot be changed.
        sep: the line end: CRLF by default, LF or CR.
        allow_all_methods: False to answer GET alone.
        send_timeout: seconds that one send, or the acknowledgement of what was sent, may take; None for no limit.
        ping_interval: seconds between two pings, 15 by default; more than 0.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    DEFAULT_PING_INTERVAL: float = 15
    DEFAULT_SEND_TIMEOUT: float | None = 120
    DEFAULT_SEPARATOR = "\r\n"
    DEFAULT_LAST_EVENT_HEADER = "Last-Event-Id"
    LINE_SEP_EXPR = re.compile(r"\r\n|\r|\n")

    def __init__(
        self,
        *,
        status: int = 200,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
        sep: str | None = None,
        allow_all_methods: bool = True,
        send_timeout: float | None = DEFAULT_SEND_TIMEOUT,
        ping_interval: float | None = None,
    ) -> None:
        super().__init__(status=status, reason=reason)
        if sep is not None and not sep.startswith(("\r", "\n")):
            raise ValueError(f"sep must be a line end, CRLF, LF or CR, not {sep!r}")
        if headers is not None:
            self.headers.extend(headers)
        self.headers["Content-Type"] = "text/event-stream"
        self.headers["Cache-Control"] = "no-cache"
        self.headers["Connection"] = "keep-alive"
        self.headers["X-Accel-Buffering"] = "no"
        if ping_interval is not None and ping_interval <= 0:
            raise ValueError("ping interval must be positive")
        self.ping_interval = self.DEFAULT_PING_INTERVAL if ping_interval is None else ping_interval
        self._sep = sep or self.DEFAULT_SEPARATOR
        self._allow_all_methods = allow_all_methods
        self._send_timeout = send_timeout
        self._ping_task: asyncio.Task[None] | None = None
        self._tcp_socket: socket.socket | None = None
        self._tcp_timeout = 0  # ms, of the socket before the response

    @property
    def ping_interval(self) -> float:
        """Seconds between two pings; 0 for none. A change counts from the next ping on."""
        return self._ping_interval

    @ping_interval.setter
    def ping_interval(self, value: float) -> None:
        if not isinstance(value, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError("ping interval must be int or float")
        if value < 0:
            raise ValueError("ping interval must be greater then 0")
        self._ping_interval = value

    @property
    def last_event_id(self) -> str | None:
        """The last event ID of a client that reconnects, or None.

        Raises:
            RuntimeError: the response is not prepared.
        """
        if self._req is None:
            raise RuntimeError("EventSource request must be prepared first")
        return self._req.headers.get(self.DEFAULT_LAST_EVENT_HEADER)

    def is_connected(self) -> bool:
        """Return True while the stream is open and its client is there."""
        if not self.prepared or self._ping_task is None or self._ping_task.done():
            return False
        transport = None if self._req is None else self._req.transport
        return transport is not None and not transport.is_closing()

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send the headers, and begin to ping.

        Raises:
            HTTPMethodNotAllowed: the method is not GET, and `allow_all_methods` is False.
            asyncio.CancelledError: the response was prepared before, and its client has gone since.
        """
        if not self._allow_all_methods and request.method != "GET":
            raise HTTPMethodNotAllowed(request.method, ("GET",))
        if self.prepared:
            if request.protocol.transport is None:
                raise asyncio.CancelledError
            return self._payload_writer
        self._set_tcp_user_timeout(request)
        writer = await super().prepare(request)
        self._ping_task = asyncio.create_task(self._ping())
        self.enable_chunked_encoding()
        return writer

    async def send(
        self,
        data: str,
        id: str | None = None,
        event: str | None = None,
        retry: int | None = None,
    ) -> None:
        """Send one event.

        Args:
            data: text, each of its lines on a ``data`` line.
            id: the last event ID, one line without NUL.
            event: the event type, one line.
            retry: the reconnection time, integer milliseconds.

        Raises:
            InvalidField: a field cannot be written without a change of its meaning.
            TypeError: a field has another type.
            ConnectionResetError: the client has gone.
            TimeoutError: the client did not read for `send_timeout` seconds, and was cut off.
        """
        end = self._sep
        block = "" if id is None else one_line("id", id, end)
        if event is not None:
            block += one_line("event", event, end)
        block += lines("data: ", data, end)
        if retry is not None:
            block += f"retry: {check_retry(retry)}{end}"
        await self._send_block(encoded(block + end))

    async def _send_block(self, block: bytes) -> None:
        try:
            if self._has_room(block):
                await self.write(block)
            else:
                async with asyncio.timeout(self._send_timeout):
                    await self.write(block)
        except ConnectionResetError:
            self.stop_streaming()
            raise
        except TimeoutError:
            self.stop_streaming()
            self._abort_transport()
            raise

    def _has_room(self, block: bytes) -> bool:
        """Return True when the transport takes the block without a wait, which then needs no timeout."""
        transport = None if self._req is None else self._req.transport
        return (
            isinstance(transport, asyncio.WriteTransport)
            and len(block) <= _ROOM
            and transport.get_write_buffer_size() == 0
        )

    async def wait(self) -> None:
        """Wait until a ping finds the client gone, or `stop_streaming` is called.

        Raises:
            RuntimeError: the response is not prepared.
        """
        if self._ping_task is None:
            raise RuntimeError("Response is not started")
        try:
            await self._ping_task
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise

    def stop_streaming(self) -> None:
        """End the pings, and with them `wait`.

        Raises:
            RuntimeError: the response is not prepared.
        """
        if self._ping_task is None:
            raise RuntimeError("Response is not started")
        self._ping_task.cancel()

    def enable_compression(
        self, force: bool | ContentCoding | None = None, strategy: int | None = None
    ) -> None:
        """Refuse: a compressor keeps events back.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError

    async def write_eof(self, data: bytes = b"") -> None:
        """End the body."""
        await super().write_eof(data)
        self._restore_tcp_user_timeout()

    async def _ping(self) -> None:
        while True:
            if not self._ping_interval:
                await asyncio.Future()
            await asyncio.sleep(self._ping_interval)
            try:
                async with asyncio.timeout(self._send_timeout):
                    await self.write(encoded(f": ping{self._sep}{self._sep}"))
            except TimeoutError:
                self._abort_transport()
                return
            except (ConnectionResetError, RuntimeError):  # the client has gone, or the body is over
                return

    def _abort_transport(self) -> None:
        """Drop the connection: its buffer is full, and nobody reads it."""
        if self._req is not None and self._req.transport is not None:
            self._req.transport.abort()

    def _set_tcp_user_timeout(self, request: BaseRequest) -> None:
        """Have the kernel drop the connection when nothing is acknowledged for `send_timeout` seconds (Linux)."""
        if self._send_timeout is None or _TCP_USER_TIMEOUT is None or request.transport is None:
            return
        found = request.transport.get_extra_info("socket")
        if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
            return
        self._tcp_socket = found
        self._tcp_timeout = found.getsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT)
        found.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(self._send_timeout * 1000))

    def _restore_tcp_user_timeout(self) -> None:
        found, self._tcp_socket = self._tcp_socket, None
        if found is not None and _TCP_USER_TIMEOUT is not None and found.fileno() >= 0:
            found.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, self._tcp_timeout)

    async def __aenter__(self) -> Self:
        """Enter the block in which events are sent."""
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End the pings, and wait for their end."""
        self.stop_streaming()
        await self.wait()


R = TypeVar("R", bound=EventSourceResponse)


class _Opening(AbstractAsyncContextManager[R]):
    """The result of `sse_response`: ``async with`` prepares the response and ends it, ``await`` prepares it alone."""

    def __init__(self, response: R, request: Request) -> None:
        self._response = response
        self._request = request

    def __await__(self) -> Generator[Any, Any, R]:
        return self._prepare().__await__()

    async def _prepare(self) -> R:
        await self._response.prepare(self._request)
        return self._response

    async def __aenter__(self) -> R:
        response = await self._prepare()
        await response.__aenter__()
        return response

    async def __aexit__(self, *failure: Any) -> None:
        await self._response.__aexit__(*failure)


@overload
def sse_response(
    request: Request,
    *,
    status: int = 200,
    reason: str | None = None,
    headers: Mapping[str, str] | None = None,
    sep: str | None = None,
    allow_all_methods: bool = True,
    send_timeout: float | None = EventSourceResponse.DEFAULT_SEND_TIMEOUT,
    ping_interval: float | None = None,
) -> _Opening[EventSourceResponse]: ...


@overload
def sse_response(
    request: Request,
    *,
    status: int = 200,
    reason: str | None = None,
    headers: Mapping[str, str] | None = None,
    sep: str | None = None,
    allow_all_methods: bool = True,
    send_timeout: float | None = EventSourceResponse.DEFAULT_SEND_TIMEOUT,
    ping_interval: float | None = None,
    response_cls: type[R],
) -> _Opening[R]: ...


def sse_response(
    request: Request,
    *,
    status: int = 200,
    reason: str | None = None,
    headers: Mapping[str, str] | None = None,
    sep: str | None = None,
    allow_all_methods: bool = True,
    send_timeout: float | None = EventSourceResponse.DEFAULT_SEND_TIMEOUT,
    ping_interval: float | None = None,
    response_cls: type[EventSourceResponse] = EventSourceResponse,
) -> Any:
    """Open an event stream for a block: ``async with sse_response(request) as response``.

    Args:
        request: the request that is answered.
        status, reason, headers, sep, allow_all_methods, send_timeout, ping_interval: those of `EventSourceResponse`.
        response_cls: a subclass of `EventSourceResponse`. A class of version 2.2, whose `__init__` does not know the
            last three arguments, gets those alone that differ from their defaults.

    Raises:
        TypeError: `response_cls` is another class.
        HTTPMethodNotAllowed: when the stream is opened; the method is not GET.
    """
    if not issubclass(response_cls, EventSourceResponse):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"response_cls must be subclass of aiohttp_sse.EventSourceResponse, got {response_cls}"
        )
    given: dict[str, Any] = {}
    if not allow_all_methods:
        given["allow_all_methods"] = False
    if send_timeout != EventSourceResponse.DEFAULT_SEND_TIMEOUT:
        given["send_timeout"] = send_timeout
    if ping_interval is not None:
        given["ping_interval"] = ping_interval
    response = response_cls(status=status, reason=reason, headers=headers, sep=sep, **given)
    return _Opening(response, request)
