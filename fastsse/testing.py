"""An ASGI server in memory, for tests of endless streams.

A test client that collects a whole body never returns from an endless one. This one reads the body as it comes, stalls,
leaves, and says whether the body had its proper end:

    async with open_stream(app, "/events", query={"topic": "news"}) as stream:
        assert 200 == stream.status
        assert "text/event-stream; charset=utf-8" == stream.headers["content-type"]
        [event] = await stream.events(1)
        stream.disconnect()
        await stream.ended()

Every wait has a deadline (`deadline=5.0` seconds), so a test fails and does not hang. At the end of the ``async with``
the client leaves. The test fails when the application does not return in time, raises, or breaks the protocol: a body
before the start, `str` instead of bytes, a second `send` while one is pending, anything after the final body.

The server behaves like granian, the strictest that we know:

- `send` is done at once, without a turn of the loop, while the client reads.
- ``stream.stall()`` stops the client's reading. The server takes 4 chunks more; the next `send` is pending until
  ``stream.resume()`` or ``stream.disconnect()``. ``await stream.blocked()`` waits for that.
- After the disconnect `send` swallows everything, nothing raises and nobody is cancelled: only `receive` tells.
  (``spec_version="2.4"`` raises OSError from `send` instead, like some servers.)

The argument `sends` chooses what `send` returns:

    "granian"    an iterator that is its own ``__await__``; a future-like while the server takes no more
    "coroutine"  an ``async def``, like uvicorn's
    "wrapped"    an ``async def`` that gives up the loop, and must be finished by the task that began it, like that of
                 a middleware with cancel scopes

There is no global state: any number of streams at a time, on any loop, twice in a process. `fetch` reads a finite
response, and `lifespan` runs an application's startup and shutdown around a block.

The module knows ASGI and a decoder; it must not know any application or framework.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from fastsse._codec import Decoder, Event
from fastsse._serving import CHANNEL, GivenHeaders, Query, Sends, Served, scope_of
from fastsse.asgi import App, Message, Receive, Scope, Send

__all__ = ["CHANNEL", "DEADLINE", "Answer", "Ended", "Stream", "fetch", "lifespan", "open_stream"]

DEADLINE = 5.0  # s that a test waits for anything; a suite on a slow machine may set more

_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")


class Ended(Exception):
    """Nothing more will come: the body is complete, or the application has returned."""


class Answer(NamedTuple):
    """A whole response.

    Attributes:
        status: the status code.
        headers: names in lower case; values of a repeated header joined by ", ".
        body: all of it.
    """

    status: int
    headers: dict[str, str]
    body: bytes


class Stream(Served):
    """One response as its client sees it, and the client's hand on the connection; made by `open_stream`.

    Attributes:
        status: the status code; 0 until the response starts.
        headers: names in lower case; values of a repeated header joined by ", ".
        raw_headers: the headers as the application sent them.
        complete: True once the final body message came, so that the client sees a proper end.
        disconnected: True once the client has gone.
    """

    def __init__(
        self,
        app: App,
        scope: Scope,
        body: bytes | AsyncIterable[bytes],
        sends: Sends,
        deadline: float,
    ) -> None:
        super().__init__(body, raises=scope["asgi"]["spec_version"] >= "2.4")
        self._deadline = deadline
        self._reported = False  # the test has seen the application's exception
        self._rest = b""  # the part of a chunk that `block` has left
        self._decoder = Decoder()
        self._task = asyncio.create_task(_call(app, scope, self.receive, self.sender(sends)))
        self._task.add_done_callback(lambda _: self._changed.set())

    async def chunk(self) -> bytes:
        """Return the next body chunk, as it was sent.

        Raises:
            Ended: there is none any more.
        """
        if self._rest:
            chunk, self._rest = self._rest, b""
            return chunk
        await self._until(lambda: bool(self._chunks), "a chunk")
        return self._chunks.popleft()

    async def block(self) -> bytes:
        """Return the next bytes up to and including a blank line.

        Raises:
            Ended: there is no blank line any more.
        """
        start = 0
        while (end := _BLANK_LINE.search(self._rest, start)) is None:
            start = max(0, len(self._rest) - 3)
            await self._until(lambda: bool(self._chunks), "a block")
            self._rest += self._chunks.popleft()
        block, self._rest = self._rest[: end.end()], self._rest[end.end() :]
        return block

    async def events(self, count: int) -> list[Event]:
        """Return the next `count` events; blocks that dispatch nothing are passed over.

        Raises:
            Ended: there are fewer.
        """
        events: list[Event] = []
        while len(events) < count:
            events += self._decoder.feed(await self.block())
        return events

    @property
    def unread(self) -> bytes:
        """The bytes that the client has read and the test has not; they stay to be read."""
        return self._rest + b"".join(self._chunks)

    async def rest(self) -> bytes:
        """Return all unread bytes once the application has returned."""
        await self.ended()
        body = self.unread
        self._rest = b""
        self._chunks.clear()
        return body

    def disconnect(self) -> None:
        """Close the client's end. Idempotent."""
        self.disconnected = True
        self._gone.set()
        self._channel.clear()
        self._free()

    def stall(self) -> None:
        """Stop reading: `send` blocks once the server takes no more."""
        self._stalled = True

    def resume(self) -> None:
        """Read again, first the chunks that the server has taken meanwhile."""
        self._stalled = False
        self._chunks += self._channel
        self._channel.clear()
        self._free()

    async def blocked(self) -> None:
        """Wait until a `send` is pending."""
        await self._until(lambda: self._room is not None, "a blocked send")

    async def started(self) -> None:
        """Wait for the start of the response; `open_stream` has done so unless told otherwise."""
        await self._until(lambda: self.status != 0, "the start of the response")

    async def ended(self) -> None:
        """Wait until the application has returned.

        Raises:
            Exception: the application has raised it.
        """
        await self._until(self._task.done, "the application's return")
        self._raise()

    @property
    def running(self) -> bool:
        """True until the application returns."""
        return not self._task.done()

    async def _until(self, happened: Callable[[], bool], event: str) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                while not happened():
                    if self._task.done():
                        self._raise()
                        raise Ended(f"waiting for {event}: the application has returned")
                    if self.complete and event in ("a chunk", "a block"):
                        raise Ended(f"waiting for {event}: the body is complete")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"no sign of {event} within {self._deadline} s") from None

    def _raise(self) -> None:
        """Raise the application's fault or exception, once."""
        if self._reported:
            return
        if self._fault is not None:
            self._reported = True
            raise self._fault
        if not self._task.cancelled() and self._task.exception():
            self._reported = True
            self._task.result()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self, _kind: object, failure: BaseException | None, _traceback: object
    ) -> None:
        """Leave as a client does, which the application must notice. A failure of the block goes first.

        Raises:
            AssertionError: the application did not return, or has broken the protocol.
            Exception: the application has raised it.
        """
        failed = failure is not None
        self.disconnect()
        done, _ = await asyncio.wait([self._task], timeout=self._deadline)
        if not done:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=self._deadline)
            if not failed:
                raise AssertionError(
                    f"the application did not return within {self._deadline} s after http.disconnect"
                )
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # or asyncio would report that nobody has seen it
        if not failed:
            self._raise()


@asynccontextmanager
async def open_stream(
    app: App,
    path: str = "/",
    query: Query = "",
    headers: GivenHeaders = (),
    method: str = "GET",
    *,
    body: bytes | AsyncIterable[bytes] = b"",
    sends: Sends = "granian",
    wait: bool = True,
    deadline: float | None = None,
    spec_version: str = "2.3",
    state: Mapping[str, Any] | None = None,
    client: tuple[str, int] | None = ("127.0.0.1", 50000),
) -> AsyncGenerator[Stream]:
    """Open a request to `app`, and hold it open for the block.

    Args:
        app: an ASGI application, or a response that is one.
        query: a query string, or names and values (a list for a repeated name).
        headers: names and values; ``Host`` is added where it is missing.
        body: the request's body; an async iterable is pulled piece by piece.
        sends: the kind of awaitable that `send` returns; the top of this module describes each.
        wait: return once the response has started; otherwise at once.
        deadline: seconds that any wait of this stream may take; None is `DEADLINE`.
        spec_version, state, client: values of the scope; `lifespan` yields a state.

    Raises:
        AssertionError: the application has broken the protocol, or a wait its deadline.
        Exception: the application has raised it.
    """
    scope = scope_of(path, query, headers, method, spec_version)
    scope["client"] = client
    if state is not None:
        scope["state"] = dict(state)
    seconds = DEADLINE if deadline is None else deadline
    async with Stream(app, scope, body, sends, seconds) as stream:
        if wait:
            await stream.started()
        yield stream


async def fetch(
    app: App,
    path: str = "/",
    query: Query = "",
    headers: GivenHeaders = (),
    method: str = "GET",
    **options: Any,
) -> Answer:
    """Send a request to `app`, and return its finite response.

    Args:
        options: the others of `open_stream`; so are the errors.
    """
    async with open_stream(app, path, query, headers, method, **options) as stream:
        body = await stream.rest()
        if not stream.complete:
            raise AssertionError("the application has returned without a final body")
        return Answer(stream.status, stream.headers, body)


@asynccontextmanager
async def lifespan(app: App, deadline: float | None = None) -> AsyncGenerator[dict[str, Any]]:
    """Run the application's startup, then the block, then its shutdown. Yields the application's state.

    Raises:
        AssertionError: the application fails, returns, or does not answer within `deadline` seconds (`DEADLINE`).
        Exception: the application has raised it.
    """
    deadline = DEADLINE if deadline is None else deadline
    state: dict[str, Any] = {}
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    task = asyncio.create_task(_call(app, scope, inbox.get, outbox.put))

    async def step(name: str) -> None:
        inbox.put_nowait({"type": f"lifespan.{name}"})
        answer = asyncio.create_task(outbox.get())
        done, _ = await asyncio.wait(
            [answer, task], timeout=deadline, return_when=asyncio.FIRST_COMPLETED
        )
        if answer not in done:
            answer.cancel()
            if task not in done:
                raise AssertionError(f"no answer to lifespan.{name} within {deadline} s")
            task.result()
            raise AssertionError(f"the application has returned at lifespan.{name}")
        if answer.result()["type"] != f"lifespan.{name}.complete":
            raise AssertionError(answer.result())

    try:
        await step("startup")
        yield state
        await step("shutdown")
    finally:
        if not task.done():
            await asyncio.wait([task], timeout=deadline)
        task.cancel()
        await asyncio.wait([task])


async def _call(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)
