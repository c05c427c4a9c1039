"""EventSourceResponse: items as one ASGI response, in any framework, without importing one.

This module checks what an application gives and answers one request; `fastsse._connection` then serves the stream and
says what each task does. Only asyncio is supported.

The module knows requests, headers and the arguments of a response; it must not know topics or frameworks.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from typing import Any, cast

from fastsse._asyncio import require_asyncio
from fastsse._codec import encode
from fastsse._connection import Connection, Manner, tell_closed
from fastsse._gate import outlast
from fastsse._instead import Answered, First
from fastsse._items import (
    DEFAULT_HEARTBEAT,
    HeartbeatForm,
    Items,
    LineSeparators,
    Surrogates,
    aclose,
    heartbeat_of,
    require_iterable,
    seconds,
    writer,
)
from fastsse._request import share_receive
from fastsse._signals import end_streams
from fastsse._source import may_block
from fastsse.asgi import (
    EVENT_STREAM_HEADERS,
    App,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    as_starlette,
    body_message,
    last_event_id,
    start_message,
)
from fastsse.streams import in_thread

__all__ = ["EventSourceResponse", "end_streams", "last_event_id"]

_RESERVED = {
    b"connection": "is the server's to say, and HTTP/2 forbids it",
    b"content-length": "cannot be known",
    b"transfer-encoding": "is the server's to say",
}


class _SignatureOfInit:
    """The signature of a class that has a `__new__`: that of its `__init__`, which FastAPI and editors show."""

    def __get__(self, _instance: object, owner: type) -> inspect.Signature:
        signature = inspect.signature(cast("Any", owner).__init__)
        return signature.replace(parameters=[*signature.parameters.values()][1:])


class EventSourceResponse:
    """One ASGI response that streams `items` as events: ``await response(scope, receive, send)``.

    Starlette, FastAPI (with ``response_model=None`` where the return type is annotated) and others take this class as a
    return value. Under Starlette it is a `Response` too, so ``set_cookie``, ``headers`` and ``background`` work.

    Args:
        items: an async iterable, or a sync one. A sync iterable is iterated in a thread unless it is a collection (a
            list, a set, the view of a dict). Each item is one block; `fastsse.streams` says what an item may be. The
            items are closed in the end, whatever happens. At most 128 threads run at a time; a sync iterator beyond
            them waits for its turn.
        status_code: the status code. FastAPI reads the default from the signature for its schema.
        status: another name for `status_code`.
        headers: more headers, and other values for ``cache-control`` and ``x-accel-buffering``.
        heartbeat: seconds of silence after which a comment is sent; None or 0 for none.
        heartbeat_form: ``"block"`` sends the comment and a blank line. ``"line"`` leaves the blank line out, for
            clients that make an empty event of it once they have seen an id.
        send_timeout: seconds that one send may take before the stream is ended; None or 0 for no limit.
            The client's connection may last longer: a server keeps that until the client reads or leaves.
        retry: the reconnection time, integer milliseconds, sent first. Without it a comment is sent first, unless
            `wait_first`: Firefox says "open" at the first byte only, and some servers and proxies hold back the
            headers until then.
        json: items that are neither Event nor Block are written as JSON.
        surrogates: ``"replace"`` writes U+FFFD for half of a surrogate pair in the data, which is refused otherwise.
        line_separators: ``"escape"`` writes U+0085, U+2028 and U+2029 in JSON as escapes, for clients that take them
            for line ends.
        wait_first: start the response with the first item (or the first heartbeat), so that an exception
            before it becomes the framework's 500. Otherwise the response starts at once, which a client sees as
            "open". Then an exception becomes a 500 only before the items' first await, and never from a sync iterator
            in a thread.
        instead: decides whether another response answers in place of the stream. Called with the first item before
            anything is sent, or with None when there is no item; returns that response (an ASGI application, such as
            Starlette's ``JSONResponse``), or None to stream. Not called when a heartbeat has started the stream before.
            Implies `wait_first`.
        last: an item that is sent last when the server shuts down.
        on_close: called once when the stream is over, with the reason: ``"finished"``, ``"disconnected"``,
            ``"timeout"``, ``"shutdown"``, ``"failed"``, ``"cancelled"``, or ``"answered"`` by another response. May be
            async. The items are closed by then, unless that takes more than 30 s, or a step in a thread blocks while
            the server ends; both are logged. An exception of `on_close` is logged, too.
        background: called and awaited after the stream, like Starlette's.
        content: another name for `items`, for FastAPI, which passes an endpoint's generator by this name.

    Attributes:
        status_code: the status code; may be changed until the response starts.
        raw_headers: names in lower case, and values; may be changed until the response starts.
        background: may be set until the stream ends.

    Items may read the body of their own request (Starlette's ``request.stream()``, ``request.body()``): they share the
    server's `receive` with the response, which waits there for the client to leave. A generator that calls the
    server's `receive` itself cannot: a body that is not read before ends the stream with an error that says so.

    However the response is cancelled, the items are closed in the task that iterated them, and `on_close` is
    called, in a task that no cancellation of the response reaches; the response waits for both. Where the response is
    cancelled over and over, for example by a cancel scope of anyio, it returns after a hundred times, and they go on.

    When the items raise, the blocks that they gave before are sent, and the body is left without its proper end, so
    that a client can tell it from a finished one. The exception goes to the server, which logs it. Nothing of it
    reaches the client.

    Raises:
        InvalidField: `retry` or `last` cannot be written.
        TypeError, ValueError: an argument is wrong. All are raised at once, before anything is sent.
    """

    __slots__ = (
        "__weakref__",
        "_instead",
        "_items",
        "_manner",
        "background",
        "raw_headers",
        "status_code",
    )

    __signature__ = _SignatureOfInit()
    media_type = "text/event-stream"
    charset = "utf-8"

    def __new__(cls, *_args: Any, **_options: Any) -> EventSourceResponse:
        return object.__new__(as_starlette(cls))

    def __init__(
        self,
        items: AsyncIterable[Any] | Iterable[Any] | None = None,
        *,
        status_code: int = 200,
        status: int | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        heartbeat: float | None = DEFAULT_HEARTBEAT,
        heartbeat_form: HeartbeatForm = "block",
        send_timeout: float | None = 30.0,
        retry: int | None = None,
        json: bool = False,
        surrogates: Surrogates = "refuse",
        line_separators: LineSeparators = "keep",
        wait_first: bool = False,
        instead: Callable[[Any], App | None] | None = None,
        last: Any = None,
        on_close: Callable[[str], object] | None = None,
        background: Callable[[], Awaitable[object]] | None = None,
        content: AsyncIterable[Any] | Iterable[Any] | None = None,
    ) -> None:
        items = _one_of(items, content)
        require_iterable(items, "items", ("__aiter__", "__iter__"))
        self._items: Items | None = items
        write = writer(json, surrogates, line_separators)
        beat = heartbeat_of(heartbeat_form)
        self._instead = instead
        wait_first = wait_first or instead is not None
        opening = b"" if wait_first else beat
        self._manner = Manner(
            write=write,
            opening=opening if retry is None else encode(None, retry=retry),
            last=b"" if last is None else write(last),
            heartbeat=seconds("heartbeat", heartbeat),
            send_timeout=seconds("send_timeout", send_timeout),
            wait_first=wait_first,
            on_close=on_close,
            beat=beat,
        )
        # Frameworks read and set these on a response.
        if status is not None and status_code not in (200, status):
            raise _two_names("status", "status_code")
        self.status_code = status_code if status is None else status
        self.raw_headers = _headers(headers)
        self.background = background

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. HEAD gets the headers alone.

        Raises:
            RuntimeError: the request is not an http request, the response has answered one already, or no loop of
                asyncio is running.
            Exception: the items, `receive`, `send` or `background` has raised it.
        """
        if scope["type"] != "http":
            raise RuntimeError(f"an EventSourceResponse answers http requests, not {scope['type']}")
        require_asyncio("EventSourceResponse")
        items, self._items = self._items, None
        if items is None:
            raise RuntimeError("an EventSourceResponse answers one request: its items are used up")
        if scope["method"] == "HEAD":
            await self._answer_head(items, send)
        else:
            await self._answer(items, scope, receive, send)
        if self.background is not None:
            await self.background()

    async def _answer_head(self, items: Items, send: Send) -> None:
        closing = asyncio.create_task(self._close_unused(items))
        await outlast(closing)
        closing.result()
        await send(self._start())
        await send(body_message(b"", more=False))

    async def _close_unused(self, items: Items) -> None:
        try:
            await aclose(items)
        finally:
            await tell_closed(self._manner.on_close, "finished")

    async def _answer(self, items: Items, scope: Scope, receive: Receive, send: Send) -> None:
        shared = share_receive(items, receive)
        listen = shared.listen if shared else receive
        try:
            if self._instead is None:
                await Connection(self._manner, self._start, items, send).run(listen)
                return
            app = await self._stream_unless(First(self._instead), items, listen, send)
        finally:
            if shared is not None:
                shared.close()
        if app is not None:
            await app(scope, receive, send)

    async def _stream_unless(
        self, first: First, items: Items, receive: Receive, send: Send
    ) -> App | None:
        """Stream the items, unless another response is to answer, which is returned then."""

        def start() -> Message:
            first.started = True
            return self._start()

        manner = self._manner
        if manner.on_close is not None:
            manner = manner._replace(on_close=first.tells(manner.on_close))
        asked = first.ask(in_thread(items) if may_block(items) else items)
        try:
            await Connection(manner, start, asked, send).run(receive)
        except Answered:
            return first.app
        return None

    def _start(self) -> Message:
        """Make the message that starts the response, with the headers as they are now."""
        return start_message(self.status_code, self.raw_headers)


def _two_names(name: str, other: str) -> TypeError:
    return TypeError(f"{name} and {other} are two names of one argument: give one of them")


def _one_of(items: Items | None, content: Items | None) -> Items | None:
    """Return the argument that is called `items` or `content`."""
    if items is not None and content is not None:
        raise _two_names("items", "content")
    return items if content is None else content


def _headers(given: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> Headers:
    """Join the headers of an event stream with those given; a given value takes the place of ours.

    Raises:
        TypeError, ValueError: a header is not text, not one line, or not the application's to say.
    """
    if isinstance(given, Mapping):
        given = cast("Iterable[tuple[str, str]]", given.items())
    raw = [(_latin("name", name).lower(), _latin("value", value)) for name, value in given or ()]
    for name, value in raw:
        if name in _RESERVED:
            raise ValueError(f"header {name.decode()!r} {_RESERVED[name]}: leave it out")
        if name == b"content-type" and not value.startswith(b"text/event-stream"):
            raise ValueError(f"content-type {value.decode('latin-1')!r} must be text/event-stream")
    names = {name for name, _ in raw}
    return [pair for pair in EVENT_STREAM_HEADERS if pair[0] not in names] + raw


def _latin(part: str, text: str) -> bytes:
    """Write a header's name or value as ASGI needs it."""
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a header {part} must be str, not {type(text).__name__}")
    if any(character in text for character in "\r\n\0") or (part == "name" and not text):
        raise ValueError(f"header {part} {text!r} must be one line without NUL, a name not empty")
    return text.encode("latin-1")
