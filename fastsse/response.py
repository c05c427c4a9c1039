"""EventSourceResponse: items as one ASGI response, in any framework, without importing one.

A connection has the task that the server gave it, and one more:

    the connection's own   waits in receive(), so that a client that has gone is noticed at once: granian
                           neither raises from send() nor cancels anything, it only tells there
    the items'             iterates them, from beginning to end (`streams.Source`)
    a sender               lives only while there is something to send; what has become ready in the
                           meantime leaves as one chunk, and nothing waits for more

One timer serves heartbeats and the send timeout. SIGTERM and SIGINT are heard before the server's own
handlers, because a server waits for open responses without telling them (`_signals`).

asyncio only. It knows ASGI, signals and streams; it must not know topics or frameworks.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
)
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qs

from fastsse._codec import encode
from fastsse._signals import on_shutdown
from fastsse.streams import (
    DEFAULT_HEARTBEAT,
    HEARTBEAT,
    Source,
    close,
    require_iterable,
    seconds,
    writer,
)

__all__ = ["EventSourceResponse", "last_event_id"]

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JOIN = 2**16  # bytes: what is ready leaves in chunks of about this size, and is read ahead this far
FAREWELL = 0.4  # s that the final chunk waits for the items to close when the server shuts down
CLEANUP = 30.0  # s that the items may take to close before they are left behind

_HEADERS = {
    b"content-type": b"text/event-stream; charset=utf-8",  # granian: so begun, headers leave at once
    b"cache-control": b"no-store, no-transform",  # no copies, and no proxy that compresses in blocks
    b"x-accel-buffering": b"no",  # nginx
}
_RESERVED = {
    b"connection": "is the server's to say, and HTTP/2 forbids it",
    b"content-length": "cannot be known",
    b"transfer-encoding": "is the server's to say",
}
_CANCEL = cast("object", asyncio.Task.cancel)  # pyright: ignore[reportUnknownMemberType]

_log = logging.getLogger("fastsse.response")


class EventSourceResponse:
    """One ASGI response that streams `items` as events: ``await response(scope, receive, send)``.

    Starlette, FastAPI (with ``response_model=None`` where the return type is annotated) and others take
    it as a return value.
    Under Starlette it is a `Response` too, so ``set_cookie`` and ``background`` work.

    Args:
        items: an async iterable, or a sync one that does not block (wrap that in `in_thread`). Each item
            is one block; see `fastsse.streams` for what it may be. Closed in the end, whatever happens.
        status: the status code.
        headers: more headers, and other values for ``cache-control`` and ``x-accel-buffering``.
        heartbeat: seconds of silence after which a comment is sent; None or 0 for none.
        send_timeout: seconds that one send may take before the stream is ended; None or 0 for no limit.
            Not the client's whole connection: a server keeps that until the client reads or leaves.
        retry: the reconnection time, integer milliseconds, sent first.
        json: items that are neither Event nor Block are written as JSON.
        wait_first: start the response with the first item (or the first heartbeat), so that an exception
            before it becomes the framework's 500. Otherwise it starts at once, which a client sees as
            "open"; then only an exception before the items' first await does.
        last: an item that is sent last when the server shuts down.
        on_close: called once when the stream is over, with the reason: ``"finished"``,
            ``"disconnected"``, ``"timeout"``, ``"shutdown"``, ``"failed"`` or ``"cancelled"``. May be
            async. The items are closed by then.

    When the items raise, what they gave before is sent, the body is left without its proper end, so that
    a client can tell it from a finished one, and the exception goes to the server, which logs it. Nothing
    of it reaches the client.

    Raises:
        InvalidField: `retry` or `last` cannot be written.
        TypeError, ValueError: an argument is wrong. All at once, before anything is sent.
    """

    __slots__ = (
        "__weakref__",
        "_items",
        "background",
        "heartbeat",
        "last",
        "on_close",
        "opening",
        "raw_headers",
        "send_timeout",
        "status_code",
        "wait_first",
        "write",
    )

    media_type = "text/event-stream"
    charset = "utf-8"

    def __new__(cls, *_args: Any, **_options: Any) -> EventSourceResponse:
        return object.__new__(_adopted(cls))

    def __init__(
        self,
        items: AsyncIterable[Any] | Iterable[Any],
        *,
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        heartbeat: float | None = DEFAULT_HEARTBEAT,
        send_timeout: float | None = 30.0,
        retry: int | None = None,
        json: bool = False,
        wait_first: bool = False,
        last: Any = None,
        on_close: Callable[[str], object] | None = None,
    ) -> None:
        require_iterable(items, "items", ("__aiter__", "__iter__"))
        self._items: AsyncIterable[Any] | Iterable[Any] | None = items
        self.write = writer(json)
        self.heartbeat = seconds("heartbeat", heartbeat)
        self.send_timeout = seconds("send_timeout", send_timeout)
        self.opening = b"" if retry is None else encode(None, retry=retry)
        self.last = b"" if last is None else self.write(last)
        self.wait_first = wait_first
        self.on_close = on_close
        # What frameworks read and set on a response.
        self.status_code = status
        self.raw_headers = _headers(headers)
        self.background: Callable[[], Awaitable[object]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. HEAD gets the headers.

        Raises:
            What the items raised; RuntimeError when called a second time.
        """
        if scope["type"] != "http":
            raise RuntimeError(f"an EventSourceResponse answers http requests, not {scope['type']}")
        items, self._items = self._items, None
        if items is None:
            raise RuntimeError("an EventSourceResponse answers one request: its items are used up")
        if scope["method"] == "HEAD":
            await close(items)
            await send(self.start())
            await send(_body(b"", more=False))
        else:
            await _Connection(self, items, send).run(receive)
        if self.background is not None:
            await self.background()

    def start(self) -> Message:
        """The message that starts the response, with the headers as they are now."""
        return {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }


class _Connection:
    """One open event stream. It is open until `_finish` gives it a reason; the first one counts."""

    __slots__ = (
        "_heartbeat_due",
        "_hurried",
        "_listener",
        "_loop",
        "_response",
        "_send",
        "_sender",
        "_sent_at",
        "_shutting_down",
        "_source",
        "_started",
        "_timer",
        "_woken",
        "error",
        "reason",
    )

    def __init__(
        self, response: EventSourceResponse, items: AsyncIterable[Any] | Iterable[Any], send: Send
    ) -> None:
        self.reason = ""
        self.error: BaseException | None = None
        self._response = response
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()  # when the last send was begun, or was over
        self._started = False
        self._heartbeat_due = False
        self._shutting_down = False  # the items have been told to stop; the final chunk waits
        self._hurried = False  # ... no longer
        self._sender: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._listener: asyncio.Task[Any] | None = None  # the task in receive(), while it is there
        self._woken = False  # and cancelled by us to leave it
        self._source = Source(items, response.write, JOIN, self._kick)

    async def run(self, receive: Receive) -> None:
        _enter(self._loop, self)
        self._set_timer()
        if not self._response.wait_first:
            self._kick()
        try:
            await self._park(receive)
        except asyncio.CancelledError:
            self._finish("cancelled")
            raise
        except Exception as error:
            self._finish("failed", error)
        finally:
            await self._close()
        if self.error is not None:
            raise self.error

    # The connection's own task.

    async def _park(self, receive: Receive) -> None:
        """Wait until the client leaves or the stream is over: one receive() is always pending."""
        if getattr(type(asyncio.current_task()), "cancel", None) is _CANCEL:
            await self._listen(receive)
        else:  # granian's --task-impl rust: a stub that cannot be cancelled, so one more that can
            listener = self._loop.create_task(self._listen(receive))
            await asyncio.wait([listener])
            listener.result()

    async def _listen(self, receive: Receive) -> None:
        self._listener = task = asyncio.current_task()
        try:
            while not self.reason:
                if (await receive())["type"] == "http.disconnect":
                    self._finish("disconnected")
        except asyncio.CancelledError:
            # Ours only wakes this task. One of the server's, besides or instead, goes on.
            if not self._woken or task is None or task.uncancel() > 0:
                raise
        finally:
            self._listener = None

    def _finish(self, reason: str, error: BaseException | None = None) -> None:
        """End the stream, from whichever task; what is left to do, the connection's own task does."""
        if self.reason:
            return
        self.reason = reason
        self.error = error
        if self._listener is not None and self._listener is not asyncio.current_task():
            self._woken = self._listener.cancel()

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        _leave(self._loop, self)
        sender = self._sender
        if sender is not None:
            sender.cancel()
            await asyncio.wait([sender])
        if not await self._source.close(CLEANUP):
            _log.warning("items were not closed %g s after the end of their stream", CLEANUP)
        elif self._source.error is not None and self.reason != "failed":
            _log.error("items failed while they were closed", exc_info=self._source.error)
        if self.reason == "timeout":
            _log.info("stream ended: a send took more than %g s", self._response.send_timeout)
        if self._response.on_close is not None:
            closing = self._response.on_close(self.reason)
            if inspect.isawaitable(closing):
                await closing

    # The sender.

    def _kick(self) -> None:
        """There may be something to send."""
        if self._sender is None and not self.reason:
            self._sent_at = self._loop.time()
            self._sender = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        try:
            for message in self._messages():
                self._sent_at = self._loop.time()
                await self._send(message)
            self._sent_at = self._loop.time()
        except OSError:  # servers of ASGI 2.4 say so when the client has gone
            self._finish("disconnected")
        except Exception as error:
            self._finish("failed", error)
        finally:
            self._sender = None

    def _messages(self) -> Iterator[Message]:
        """What there is to send now, in order; the end of it all when there will be no more."""
        source, response = self._source, self._response
        body = self._take()
        if not self._started:
            if source.error is not None and not body:
                self._fail(source.error)  # before the start: a proper 500
                return
            self._started = True
            yield response.start()
            body = response.opening + body + self._take()
        while body or self._heartbeat_due:
            self._heartbeat_due = False
            yield _body(body or HEARTBEAT)
            body = self._take()
        if self._shutting_down:
            if not (source.over or self._hurried):
                return
            if response.last:
                yield _body(response.last)
            yield _body(b"", more=False)
            self._finish("shutdown")
        elif source.error is not None:
            self._fail(source.error)
        elif source.over:
            yield _body(b"", more=False)
            self._finish("finished")

    def _take(self) -> bytes:
        """What is ready; the items go on while it is being sent."""
        body = self._source.take()
        self._source.resume()
        return body

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):  # not ours: it must not look like ours
            cause, error = error, RuntimeError("the items of an EventSourceResponse were cancelled")
            error.__cause__ = cause
        self._finish("failed", error)

    # Timer and signals.

    def _set_timer(self) -> None:
        """Look again when something may be due: one timer for both, untouched by what is sent."""
        heartbeat, timeout = self._response.heartbeat, self._response.send_timeout
        spent = self._loop.time() - self._sent_at
        waits: list[float] = []
        if timeout is not None:
            waits.append(timeout if self._sender is None else timeout - spent)
        if heartbeat is not None:
            waits.append(heartbeat - spent if self._sender is None else heartbeat)
        if waits:
            self._timer = self._loop.call_later(max(0.0, min(waits)), self._tick)

    def _tick(self) -> None:
        heartbeat, timeout = self._response.heartbeat, self._response.send_timeout
        spent = self._loop.time() - self._sent_at
        if self._sender is not None and timeout and spent >= timeout:
            self._finish("timeout")
            return
        if self._sender is None and heartbeat and spent >= heartbeat:
            self._heartbeat_due = True
            self._kick()
        self._set_timer()

    def shut_down(self) -> None:
        """End the stream because the server ends, which it does at once after the final chunk."""
        self._shutting_down = True
        self._source.stop()
        self._kick()
        self._loop.call_later(FAREWELL, self._hurry)

    def _hurry(self) -> None:
        self._hurried = True
        self._kick()
        self._loop.call_later(FAREWELL / 4, self._finish, "shutdown")


class _OpenStreams:
    """The open streams of one loop, and how to stop listening for the signal that ends them."""

    __slots__ = ("connections", "undo")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.connections: set[_Connection] = set()
        self.undo = on_shutdown(partial(_shut_down, loop))


_open: dict[asyncio.AbstractEventLoop, _OpenStreams] = {}  # loops with streams, and only those


def _enter(loop: asyncio.AbstractEventLoop, connection: _Connection) -> None:
    if loop not in _open:
        _open[loop] = _OpenStreams(loop)
    _open[loop].connections.add(connection)


def _leave(loop: asyncio.AbstractEventLoop, connection: _Connection) -> None:
    streams = _open.get(loop)
    if streams is not None:
        streams.connections.discard(connection)
        if not streams.connections:
            streams.undo()
            del _open[loop]


def _shut_down(loop: asyncio.AbstractEventLoop) -> None:
    """The signal has come. Who enters afterwards listens anew, and hears of it at once."""
    streams = _open.pop(loop, None)
    if streams is not None:
        for connection in streams.connections:
            connection.shut_down()


def _body(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def _headers(
    given: Mapping[str, str] | Iterable[tuple[str, str]] | None,
) -> list[tuple[bytes, bytes]]:
    """Ours, and what was given; a given value takes the place of ours."""
    if isinstance(given, Mapping):
        given = cast("Iterable[tuple[str, str]]", given.items())
    raw = [(_latin("name", name).lower(), _latin("value", value)) for name, value in given or ()]
    for name, value in raw:
        if name in _RESERVED:
            raise ValueError(f"header {name.decode()!r} {_RESERVED[name]}: leave it out")
        if name == b"content-type" and not value.startswith(b"text/event-stream"):
            raise ValueError(f"content-type {value.decode('latin-1')!r} must be text/event-stream")
    names = {name for name, _ in raw}
    return [pair for pair in _HEADERS.items() if pair[0] not in names] + raw


def _latin(what: str, text: str) -> bytes:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a header {what} must be str, not {type(text).__name__}")
    if any(character in text for character in "\r\n\0") or (what == "name" and not text):
        raise ValueError(f"header {what} {text!r} must be one line without NUL, a name not empty")
    return text.encode("latin-1")


_classes: dict[type, type] = {}


def _adopted(cls: type[EventSourceResponse]) -> type[EventSourceResponse]:
    """`cls`, as a subclass of Starlette's Response where that is loaded.

    FastAPI serializes what is not a Response, and Starlette's own has what its users expect: cookies,
    mutable headers. Whoever can return this to Starlette has imported it; so we need not.
    """
    base = getattr(sys.modules.get("starlette.responses"), "Response", None)
    if base is None or issubclass(cls, base):
        return cls
    if cls not in _classes:
        namespace = {"__slots__": (), "__module__": cls.__module__, "__doc__": cls.__doc__}
        _classes[cls] = type(cls.__name__, (cls, base), namespace)
    return _classes[cls]


def last_event_id(scope: Mapping[str, Any]) -> str:
    """Where a reconnecting client wants to go on: its last event ID, or ``""``.

    From the header ``Last-Event-ID`` (UTF-8, "The Last-Event-ID header" of the standard); where a client
    cannot set that, from the query parameter ``last_event_id``.
    """
    for name, value in scope["headers"]:
        if name == b"last-event-id" and value:
            return bytes(value).decode("utf-8", "replace")
    query = bytes(scope.get("query_string", b"")).decode("latin-1")
    return parse_qs(query).get("last_event_id", [""])[-1]
