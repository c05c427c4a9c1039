"""The client in a task: `AsyncEventSource`, on asyncio and trio.

No task is started: requests are made, waited for and read in the task that iterates, so that context variables,
cancellations and cancel scopes are the caller's own. `close` ends the wait of that task through a `Guard`.

The module knows awaiting; it must not know a library, or a rule of the standard.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from fastsse import Event
from fastsse.client._base import (
    MAX_ERROR_BODY,
    MAX_ERROR_TIME,
    Source,
)
from fastsse.client._loops import Guard, Interrupted, guard
from fastsse.client.connection import Again, Read, State, Stop
from fastsse.client.errors import NetworkError, ResponseError, StreamEnded
from fastsse.client.messages import Request, Response
from fastsse.client.options import body_bytes, with_credentials
from fastsse.client.redirects import REDIRECTS
from fastsse.client.transports import AsyncAnswer, AsyncTransport, find_async
from fastsse.client.typed import Reader, readers

__all__ = ["AsyncEventSource"]

_T = TypeVar("_T")
_LONGEST_WAIT = 3600.0  # s that one sleep takes at most; longer ones are made of several


class AsyncEventSource(Source):
    """The events at an address, over as many connections as needed; an async context manager and an async iterator.

        async with AsyncEventSource("https://example.com/events") as events:
            async for event in events:
                print(event.data)

    All options, exceptions and properties are those of `EventSource`, and:

    Args:
        client: an ``AsyncClient`` of httpx2 or httpx, a ``ClientSession`` of aiohttp, which stay open in the end; the
            name of a library (``"httpx2"``, ``"httpx"``, ``"aiohttp"``); an `AsyncTransport`; or None: the first of
            these libraries that is installed. Under trio: httpx2 or httpx.
        body, auth, on_open, on_error, on_retry: functions, async or not. `on_comment` must not be async.

    One task at a time may iterate. `close` may be called from any task or thread, `aclose` from any task of the loop. A
    cancelled step loses the connection, and no event: the next step comes again with the last event ID.
    """

    def _prepare(self) -> None:
        super()._prepare()
        self._transport: AsyncTransport | None = None
        self._answer: AsyncAnswer | None = None
        self._guard: Guard | None = None
        self._busy = False  # a task is in `_advance`

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        """Iterate the events. Leaving a loop loses none of them: the next loop goes on."""
        return self

    async def __anext__(self) -> Event:
        """Return the next event."""
        while True:
            for event in self._ready:
                return event  # type: ignore[no-any-return]
            if not await self._advance():
                raise StopAsyncIteration

    async def open(self) -> Response:
        """Connect now, and not at the first event. Returns the response, whose body is an event stream.

        Raises:
            StreamEnded: the server said that there is no stream (204), or the source is closed.
        """
        with self._advancing() as waits:
            try:
                if self._answer is None and not await self._connect(waits):
                    raise StreamEnded
            except Interrupted:
                raise StreamEnded from None
            except BaseException:
                await self._give_up(waits)
                raise
        assert self._response is not None
        return self._response

    def close(self) -> None:
        """End the iteration at once; from any task or thread. The task that iterates closes the connection.

        Where no task iterates, `aclose` or the end of ``async with`` closes the connection.
        """
        self._closed = True
        if self._guard is not None:
            self._guard.interrupt()

    async def aclose(self) -> None:
        """End the iteration at once, and close the connection."""
        self.close()
        if not self._busy:
            await self._release(self._guard)

    def on(self, event: str, model: Callable[..., _T] | type[_T]) -> AsyncIterator[_T]:
        """Iterate the events of one type, the data of each read as `model`; see `EventSource.on`."""
        return self._typed(readers({event: model}))

    def typed(self, models: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Iterate the events of several types, the data of each read as the model of its type."""
        return self._typed(readers(models))

    async def _typed(self, known: Mapping[str, Reader]) -> AsyncIterator[Any]:
        async for event in self:
            read = known.get(event.event)
            if read is not None:
                yield read(event)

    @contextmanager
    def _advancing(self) -> Generator[Guard]:
        """Let one task at a time work."""
        if self._busy:
            raise RuntimeError("another task iterates this AsyncEventSource already")
        if self._guard is None:
            self._guard = guard()
        self._busy = True
        try:
            yield self._guard
        finally:
            self._busy = False

    async def _advance(self) -> bool:
        """Wait until there are events. Returns False when there will be no more."""
        self._raise_pending()
        with self._advancing() as waits:
            try:
                more = await self._read(waits)
            except Interrupted:
                more = False
            except BaseException:
                await self._give_up(waits)
                raise
            if not more and self._closed:
                await self._release(waits)
        if more and not self._ready.__length_hint__():
            self._raise_pending()
        return more

    async def _read(self, waits: Guard) -> bool:
        """Read, and connect where there is nothing to read, until there are events."""
        while not self._closed:
            answer = self._answer
            if answer is None:
                if not await self._connect(waits):
                    return False
                continue
            try:
                chunk = await waits.run(self._connection.time_left(), answer.read)
            except NetworkError as error:
                await self._ended(error, waits)
                continue
            except TimeoutError:
                await self._drop(waits)
                await self._follow(self._connection.expired(), waits)
                return False
            if not chunk:
                await self._ended(None, waits)
            elif self._take(chunk):
                if self._connection.state is not State.OPEN:
                    await self._drop(waits)
                return True
        return False

    async def _ended(self, error: NetworkError | None, waits: Guard) -> None:
        """Take the end of a connection; the machine says whether there will be another one."""
        await self._drop(waits)
        if not self._closed:
            await self._follow(self._connection.ended(error), waits)

    async def _connect(self, waits: Guard) -> bool:
        """Wait, and make requests, until a stream is open. Returns False when there will be none."""
        connection = self._connection
        while not self._closed and connection.state is not State.STOPPED:
            while left := connection.wait_left():
                await waits.sleep(min(left, _LONGEST_WAIT))
            if self._transport is None:
                self._transport = find_async(self._client)
            request = await self._dressed(connection.begin(), waits)
            try:
                answer = await waits.run(
                    connection.time_left(), self._transport.open, request, self._idle_timeout
                )
            except NetworkError as error:
                await self._ended(error, waits)
                continue
            except TimeoutError:
                await self._follow(connection.expired(), waits)
                return False
            self._response = answer.response
            self._answer = answer
            step = connection.answered(answer.response)
            if isinstance(step, Read):
                if self._on_open is not None:
                    await waits.run(None, _call, self._on_open, answer.response)
                return True
            if isinstance(step.why, ResponseError) and answer.response.status not in REDIRECTS:
                step.why.body = await self._error_body(answer, waits)
            await self._drop(waits)
            await self._follow(step, waits)
        return False

    async def _follow(self, step: Again | Stop, waits: Guard) -> None:
        """Tell the hooks, and raise what ends the stream."""
        self._note(step)
        if step.why is None:
            return
        if self._on_error is not None:
            await waits.run(None, _call, self._on_error, step.why)
        if isinstance(step, Stop):
            raise step.why
        if self._on_retry is not None:
            await waits.run(None, _call, self._on_retry, step.delay, step.why)

    async def _dressed(self, request: Request, waits: Guard) -> Request:
        """Return a request with its body made, and with the credentials of the hook."""
        if callable(request.body):
            made = await waits.run(None, _call, request.body)
            request = request.but(body=body_bytes(made))
        if self._auth is not None and request.credentials:
            given = await waits.run(None, _call, self._auth, request)
            request = with_credentials(request, given)
        return request

    async def _error_body(self, answer: AsyncAnswer, waits: Guard) -> bytes:
        """Read the beginning of an error's body, bounded in size and time."""
        body = bytearray()

        async def read() -> None:
            while len(body) < MAX_ERROR_BODY and (chunk := await answer.read()):
                body.extend(chunk)

        with suppress(NetworkError, TimeoutError):
            await waits.run(MAX_ERROR_TIME, read)
        return bytes(body[:MAX_ERROR_BODY])

    async def _give_up(self, waits: Guard) -> None:
        """Close the connection because of a cancellation, or of an exception that goes to the caller."""
        self._connection.abandon()
        await (self._release(waits) if self._closed else self._drop(waits))

    async def _drop(self, waits: Guard | None) -> None:
        """Close the connection that is open."""
        answer, self._answer = self._answer, None
        if answer is not None:
            await (waits or guard()).finish(answer.close)

    async def _release(self, waits: Guard | None) -> None:
        """Close everything: the iteration is over."""
        await self._drop(waits)
        transport, self._transport = self._transport, None
        if transport is not None:
            await (waits or guard()).finish(transport.close)


async def _call(hook: Callable[..., Any], *given: Any) -> Any:
    """Call a hook, async or not."""
    result = hook(*given)
    return await result if inspect.isawaitable(result) else result
