"""An in-memory ASGI server for endless streams.

A test client that collects a whole body never returns from an endless one. This one reads it as it
comes, stalls, leaves, and says whether the body was closed properly:

    async with open_stream(app, "/events", query={"topic": "news"}) as stream:
        assert 200 == stream.status
        assert "text/event-stream; charset=utf-8" == stream.headers["content-type"]
        assert b": fastsse\\n\\n" == await stream.block()
        [event] = await stream.events(1)
        stream.disconnect()
        await stream.ended()

Every wait has a deadline (`deadline=5.0` seconds), so a test fails and does not hang. Leaving the
``async with`` disconnects, and fails when the application does not return in time, raises, or
breaks the protocol: a body before the start, `str` instead of bytes, a second `send` while one is
pending, anything after the final body.

It behaves as granian does, which is the strictest server we know:

- `send` is done at once, without a turn of the loop, while the client reads.
- ``stream.stall()`` stops the client's reading: a channel takes 4 chunks more, then `send` is
  pending until ``stream.resume()`` or ``stream.disconnect()``. ``await stream.blocked()`` waits
  for that.
- after the disconnect `send` swallows everything; nothing raises, nobody is cancelled; only
  `receive` tells. (``spec_version="2.4"`` raises OSError from `send` instead, as some servers do.)

What `send` returns is chosen by `sends`:

    "granian"    an iterator that is its own ``__await__``; a future-like while the channel is full
    "coroutine"  an ``async def``, as under uvicorn
    "wrapped"    an ``async def`` that gives up the loop, and must be finished by the task that
                 began it, as in middleware with cancel scopes
    "direct"     as "granian", and by its class's module it is granian's: for applications inside `Direct`

There is no global state: any number at a time, on any loop, twice in a process. `fetch` reads a
finite response, `lifespan` runs an application's startup and shutdown around a block, `turns` lets
the loop run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

from fastsse import Decoder, Event

__all__ = ["Answer", "Ended", "Stream", "fetch", "lifespan", "open_stream", "turns"]

CHANNEL = 4  # chunks that granian holds for a client that does not read
DEADLINE = 5.0  # s

App = Callable[..., Any]
Message = Any  # what the application sends: checked here, not by types
Query = str | bytes | Mapping[str, str | Iterable[str]]
Headers = Mapping[str, str] | Iterable[tuple[str, str]]
Sends = Literal["granian", "coroutine", "wrapped", "direct"]


class Ended(Exception):
    """Nothing more will come: the body is complete, or the application has returned."""


class Answer(NamedTuple):
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes


class _Done:
    """granian's finished awaitable: an iterator that ends at once."""

    def __await__(self) -> _Done:
        return self

    def __iter__(self) -> _Done:
        return self

    def __next__(self) -> None:
        raise StopIteration


class _Room(asyncio.Future[None]):
    """granian's pending awaitable: future-like, yields itself, and is no coroutine."""

    def __await__(self) -> _Room:  # type: ignore[override]
        return self

    __iter__ = __await__  # type: ignore[assignment]

    def __next__(self) -> _Room:
        if not self.done():
            self._asyncio_future_blocking = True
            return self
        raise StopIteration(self.result())


_DONE = _Done()


class Stream:
    """One response as its client sees it, and the client's hand on the connection.

    Attributes:
        status: the status code; 0 until the response starts.
        headers: lower-case names; values of a repeated header joined by ", ".
        complete: whether the final body message came, so that the client sees a proper end.
        disconnected: whether the client has gone.
    """

    def __init__(
        self,
        app: App,
        scope: dict[str, Any],
        body: bytes | AsyncIterable[bytes],
        sends: Sends,
        deadline: float,
    ) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.disconnected = False
        self._deadline = deadline
        self._raises = scope["asgi"]["spec_version"] >= "2.4"
        self._fault: AssertionError | None = None  # how the application broke the protocol
        self._reported = False  # the application's exception has been seen by the test
        self._stalled = False
        self._chunks: deque[bytes] = deque()  # read by the client, not yet by the test
        self._channel: deque[bytes] = deque()  # sent, and not read by the stalled client
        self._room: _Room | None = None  # the pending send
        self._rest = b""  # the part of a chunk that `block` has left
        self._decoder = Decoder()
        self._changed = asyncio.Event()  # something above has moved
        self._gone = asyncio.Event()
        self._body = _pieces(body)
        self._asked = False  # the request's body is all received
        send = {
            "granian": self._send,
            "coroutine": self._send_coroutine,
            "wrapped": self._send_wrapped,
            "direct": _Granian(self).send,
        }[sends]
        receive = _Granian(self).receive if sends == "direct" else self._receive
        self._task = asyncio.create_task(_call(app, scope, receive, send))
        self._task.add_done_callback(lambda _: self._changed.set())

    # The client's side.

    async def chunk(self) -> bytes:
        """The next body chunk, as it was sent. `Ended` when there is none any more."""
        if self._rest:
            chunk, self._rest = self._rest, b""
            return chunk
        await self._until(lambda: bool(self._chunks), "a chunk")
        return self._chunks.popleft()

    async def block(self) -> bytes:
        """The next bytes up to and including a blank line (LF line ends)."""
        end = self._rest.find(b"\n\n")
        while end < 0:
            rest = self._rest
            await self._until(lambda: bool(self._chunks), "a block")
            self._rest = rest + self._chunks.popleft()
            end = self._rest.find(b"\n\n", max(0, len(rest) - 1))
        block, self._rest = self._rest[: end + 2], self._rest[end + 2 :]
        return block

    async def events(self, count: int) -> list[Event]:
        """The next `count` events; blocks that dispatch nothing are passed over."""
        events: list[Event] = []
        while len(events) < count:
            events += self._decoder.feed(await self.block())
        return events

    @property
    def unread(self) -> bytes:
        """What the client has read and the test has not. Takes nothing, waits for nothing."""
        return self._rest + b"".join(self._chunks)

    async def rest(self) -> bytes:
        """Everything up to the end; waits for the application to return."""
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
        """Stop reading: `send` blocks when the channel is full."""
        self._stalled = True

    def resume(self) -> None:
        """Read again, first what waits in the channel."""
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
        """Wait until the application has returned; raises what it raised."""
        await self._until(self._task.done, "the application's return")
        self._raise()

    @property
    def running(self) -> bool:
        """Whether the application has not yet returned."""
        return not self._task.done()

    async def _until(self, happened: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                while not happened():
                    if self._task.done():
                        self._raise()
                        raise Ended(f"waiting for {what}: the application has returned")
                    if self.complete and what in ("a chunk", "a block"):
                        raise Ended(f"waiting for {what}: the body is complete")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"no sign of {what} within {self._deadline} s") from None

    def _raise(self) -> None:
        if self._reported:
            return
        if self._fault is not None:
            self._reported = True
            raise self._fault
        if not self._task.cancelled() and self._task.exception():
            self._reported = True
            self._task.result()

    def _free(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None
        self._changed.set()

    async def _close(self, failed: bool) -> None:
        """Leave as a client does; the application must notice."""
        self.disconnect()
        done, _ = await asyncio.wait([self._task], timeout=self._deadline)
        if not done:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=self._deadline)
            if not failed:
                message = f"the application did not return within {self._deadline} s after"
                raise AssertionError(f"{message} http.disconnect")
        if not failed:
            self._raise()
        elif not self._task.cancelled():
            self._task.exception()  # seen: the test's own failure is the one to report

    # The server's side.

    async def _receive(self) -> Message:
        if not self._asked and not self.disconnected:
            piece = asyncio.ensure_future(anext(self._body, None))
            gone = asyncio.ensure_future(self._gone.wait())
            try:
                await asyncio.wait([piece, gone], return_when=asyncio.FIRST_COMPLETED)
                if piece.done():
                    body = piece.result()
                    self._asked = body is None
                    return {
                        "type": "http.request",
                        "body": body or b"",
                        "more_body": body is not None,
                    }
            finally:
                piece.cancel()
                gone.cancel()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def _send(self, message: Message) -> Any:
        if self.disconnected:
            if self._raises:
                raise OSError("the client has gone")
            return _DONE
        try:
            self._take(message)
        except AssertionError as fault:
            self._fault = self._fault or fault
            raise
        if not self._stalled or len(self._channel) <= CHANNEL:
            return _DONE
        self._room = _Room(loop=asyncio.get_running_loop())
        return self._room

    async def _send_coroutine(self, message: Message) -> None:
        await self._send(message)

    async def _send_wrapped(self, message: Message) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("send() was begun outside every task")
        await asyncio.sleep(0)
        await self._send(message)
        if asyncio.current_task() is not task:
            raise RuntimeError("send() was not finished by the task that had begun it")

    def _take(self, message: Message) -> None:
        pending = self._room is not None and not self._room.done()
        assert not pending, "send() was called while the last one was pending"
        assert not self.complete, f"a message after the final body: {message!r}"
        if message["type"] == "http.response.start":
            assert self.status == 0, "the response was started twice"
            self.raw_headers = [(bytes(name), bytes(value)) for name, value in message["headers"]]
            for name, value in self.raw_headers:
                assert name == name.lower(), f"header name {name!r} is not lower case"
                key, text = name.decode("latin-1"), value.decode("latin-1")
                self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text
            self.status = message["status"]
        else:
            assert message["type"] == "http.response.body", f"unknown message: {message!r}"
            assert self.status != 0, "a body before the start of the response"
            body = message.get("body", b"")
            assert isinstance(body, bytes), f"body must be bytes, not {type(body).__name__}"
            if body:
                (self._channel if self._stalled else self._chunks).append(body)
            self.complete = not message.get("more_body", False)
        self._changed.set()


class _Granian:
    """The server's side of a stream, under a server's name."""

    __module__ = "granian.driver"

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def send(self, message: Message) -> Any:
        return self._stream._send(message)

    async def receive(self) -> Message:
        return await self._stream._receive()


@asynccontextmanager
async def open_stream(
    app: App,
    path: str = "/",
    query: Query = "",
    headers: Headers = (),
    method: str = "GET",
    *,
    body: bytes | AsyncIterable[bytes] = b"",
    sends: Sends = "granian",
    wait: bool = True,
    deadline: float = DEADLINE,
    spec_version: str = "2.3",
    state: dict[str, Any] | None = None,
    client: tuple[str, int] | None = ("127.0.0.1", 50000),
) -> AsyncIterator[Stream]:
    """Open a request to `app` and hold it open; see the top of this file.

    Args:
        query: a query string, or names and values (a list for a repeated name).
        body: the request's body; an async iterable is pulled piece by piece.
        wait: return once the response has started; otherwise at once.
        state: ``scope["state"]``, as `lifespan` yields it.
    """
    scope = _scope(path, query, headers, method, spec_version, client)
    if state is not None:
        scope["state"] = dict(state)
    stream = Stream(app, scope, body, sends, deadline)
    failed = True
    try:
        if wait:
            await stream.started()
        yield stream
        failed = False
    finally:
        await stream._close(failed)


async def fetch(app: App, path: str = "/", *args: Any, **options: Any) -> Answer:
    """A finite response: the arguments of `open_stream`; waits for the end of it."""
    async with open_stream(app, path, *args, **options) as stream:
        body = await stream.rest()
        assert stream.complete, "the application has returned without a final body"
        return Answer(stream.status, stream.headers, body)


@asynccontextmanager
async def lifespan(app: App, deadline: float = DEADLINE) -> AsyncIterator[dict[str, Any]]:
    """Run the application's startup, then the block, then its shutdown; yields its state."""
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
            assert task in done, f"no answer to lifespan.{name} within {deadline} s"
            task.result()
            raise AssertionError(f"the application has returned at lifespan.{name}")
        assert answer.result()["type"] == f"lifespan.{name}.complete", answer.result()

    try:
        await step("startup")
        yield state
        await step("shutdown")
    finally:
        if not task.done():
            await asyncio.wait([task], timeout=deadline)
        task.cancel()
        await asyncio.wait([task])


async def turns(count: int = 20) -> None:
    """Let the loop run for `count` turns: for "and then nothing happens"."""
    for _ in range(count):
        await asyncio.sleep(0)


async def _call(app: App, scope: dict[str, Any], receive: Any, send: Any) -> None:
    await app(scope, receive, send)


async def _pieces(body: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        if body:
            yield body
        return
    async for piece in body:
        yield piece


def _scope(
    path: str,
    query: Query,
    headers: Headers,
    method: str,
    spec_version: str,
    client: tuple[str, int] | None,
) -> dict[str, Any]:
    if isinstance(query, Mapping):
        query = urlencode(
            [
                (name, value)
                for name, values in query.items()
                for value in ([values] if isinstance(values, str) else values)
            ]
        )
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    if not any(name == b"host" for name, _ in raw):
        raw.insert(0, (b"host", b"127.0.0.1:8000"))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec_version},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query if isinstance(query, bytes) else query.encode("latin-1"),
        "root_path": "",
        "headers": raw,
        "client": client,
        "server": ("127.0.0.1", 8000),
        "extensions": {},
    }
