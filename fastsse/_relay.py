"""Relays: an upstream's event stream as the answer to a request, byte for byte.

    upstream ── chunks ──► BlockSplitter ── whole blocks ──► EventSourceResponse ──► the reader
                                            │
                                            └──► on_block

The upstream is opened, read and closed in the items' task of an `EventSourceResponse`, which keeps all that it
promises: heartbeats, time-outs, disconnects, shutdown. Heartbeats stand between two blocks, because only whole blocks
are given to it.

The module knows blocks, statuses and headers; it must not know HTTP clients, tasks or timers.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any

from fastsse._codec import DEFAULT_MAX_BLOCK_SIZE, BlockSplitter
from fastsse._items import DEFAULT_HEARTBEAT, HeartbeatForm
from fastsse._upstream import (
    Upstream,
    answer_of,
    close_unused,
    failure,
    open_upstream,
    require_upstream,
)
from fastsse.asgi import EVENT_STREAM_HEADERS, Headers, Message, Send, last_event_id, start_message
from fastsse.errors import BlockTooLarge, LimitExceeded, quote
from fastsse.response import EventSourceResponse

__all__ = ["RelayResponse", "relay", "relay_headers"]

OnBlock = Callable[[bytes], object]
Rewrite = Callable[[bytes], bytes]

PASSED = frozenset(  # headers of an upstream that its reader gets; others may say what is nobody's business
    {"content-language", "request-id", "retry-after", "retry-after-ms", "x-request-id"}
    | {"x-should-retry"}
)
_HOP_BY_HOP = frozenset(  # RFC 9110, section 7.6.1: between two neighbours, never passed on; and those that frame
    {"connection", "content-encoding", "content-length", "keep-alive", "proxy-authenticate"}
    | {"proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
_LINE_ENDS = re.compile("[\r\n\0]")
_OURS = {name for name, _ in EVENT_STREAM_HEADERS}
_BOM = b"\xef\xbb\xbf"
_DETAILS = {
    502: "the upstream could not be reached, or its answer cannot be passed on",
    504: "the upstream did not answer in time",
}

_log = logging.getLogger("fastsse.relay")


def relay_headers(request: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that a relay sends to its upstream, for the HTTP client to add its own to.

    They ask for an event stream without a content encoding, which would hold blocks back. ``Last-Event-ID`` is among
    them when the reader has sent one (see `last_event_id`), so that the upstream can go on where the reader left off;
    an ID that is not ASCII is left out, because HTTP clients differ in how they write it.

    Args:
        request: the ASGI scope, or Starlette's request, which is a mapping, too.
    """
    wanted = {"accept": "text/event-stream", "accept-encoding": "identity"}
    id = last_event_id(request)
    if id and id.isascii() and id.isprintable():
        wanted["last-event-id"] = id
    return wanted


def _check_function(name: str, function: object) -> None:
    if function is None:
        return
    if not callable(function):
        raise TypeError(f"{name} must be callable or None, not {type(function).__name__}")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{name} must be a plain function: the stream does not wait for it")


class _Blocks:
    """The blocks of a stream on their way through: what each chunk completes, as one piece."""

    __slots__ = ("_on_block", "_rewrite", "_splitter")

    def __init__(
        self, splitter: BlockSplitter, on_block: OnBlock | None, rewrite: Rewrite | None
    ) -> None:
        _check_function("on_block", on_block)
        _check_function("rewrite", rewrite)
        self._splitter = splitter
        self._on_block = on_block
        self._rewrite = rewrite

    def take(self, chunk: bytes) -> bytes:
        """Return the blocks that a chunk completes, as they are to be sent.

        Raises:
            BlockTooLarge: ``.blocks`` has those before, as they are to be sent.
            Exception: a function of the application has raised it.
        """
        try:
            if self._on_block is None and self._rewrite is None:
                return self._splitter.feed_joined(chunk)
            return self._watch(self._splitter.feed(chunk))
        except BlockTooLarge as error:
            error.blocks = [self._watch(error.blocks)]
            raise

    def finish(self) -> bytes:
        """Return what is left at the end of the upstream: a block that was whole, or the bytes of an unfinished one."""
        blocks, rest = self._splitter.finish()
        return self._watch(blocks) + rest

    def _watch(self, blocks: list[bytes]) -> bytes:
        if self._on_block is not None:
            for block in blocks:
                self._on_block(block)
        if self._rewrite is not None:
            blocks = [self._rewrite(block) for block in blocks]
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)


class _Body:
    """A body that is no event stream, on its way through: counted and left as it is."""

    __slots__ = ("_left", "_limit")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._left = limit

    def take(self, chunk: bytes) -> bytes:
        """Return the chunk.

        Raises:
            LimitExceeded: the body is larger than allowed.
        """
        if self._left is not None and self._limit is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise LimitExceeded(self._limit, [])
        return chunk

    def finish(self) -> bytes:
        return b""


class RelayResponse(EventSourceResponse):
    """An upstream's event stream as the answer to a request, byte for byte; `relay` is its short name.

    Frameworks take this response as a return value, like every `EventSourceResponse`.

    The upstream is opened when the response is called, so that it is closed by the same task: when it ends, when the
    reader leaves (at once, also within a read), and on every error. Its status, its content type and some of its
    headers are the answer's. An answer that is no event stream is passed on with its body as it is. Before that, an
    error of the client is answered 502, a time-out 504, as problem details (RFC 9457) that repeat nothing of the error;
    the logger ``fastsse.relay`` has it. So are redirects (502), which the HTTP client is to follow. From the first byte
    on, an error leaves the body without its proper end, so that the reader can tell, and goes to the server, which logs
    it. A block that the upstream's end has cut off is passed on, too; a decoder discards it.

    Args:
        upstream: a response of httpx, httpx2, aiohttp, requests or urllib; what opens one when it is entered, awaited
            or called (``client.stream(...)``, ``session.post(...)``, a function without arguments); or an iterable of
            bytes. Sync ones are read in threads, and closed when the read that is going on returns.
        heartbeat: seconds of silence after which a comment is sent between two blocks, from the upstream's headers
            on; None or 0 for none.
        on_block: called with each block, comments too, before it is sent. The result does not matter; an exception
            ends the stream. The block is the very object that is sent where a chunk is one block.
        rewrite: called with each block; the bytes that it returns are sent in its place, ``b""`` for nothing.
        headers: more headers of the answer; they go before the upstream's.
        pass_headers: names of more headers of the upstream to pass on.
        opening: send a comment as soon as the upstream's headers are there, for servers, proxies and browsers that
            wait for a first byte.
        heartbeat_form, send_timeout, last, on_close, background: as of `EventSourceResponse`.
        max_block_size: bytes that a block may have, and so may be held; a larger one ends the stream. A body that is
            no event stream may have as many in all. None for no limit.
        status_code: 200; FastAPI reads the default of a `response_class` to describe its endpoint.

    A byte-order mark is left out where a comment of ours came before it, because it would be no mark there.

    Raises:
        TypeError, ValueError: an argument is wrong. All are raised at once, before anything is opened.
    """

    __slots__ = ("_beaten", "_blocks", "_known", "_limit", "_names", "_opening", "_streaming")

    def __init__(
        self,
        upstream: object,
        *,
        heartbeat: float | None = DEFAULT_HEARTBEAT,
        heartbeat_form: HeartbeatForm = "block",
        on_block: OnBlock | None = None,
        rewrite: Rewrite | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        pass_headers: Iterable[str] = (),
        opening: bool = False,
        send_timeout: float | None = 30.0,
        max_block_size: int | None = DEFAULT_MAX_BLOCK_SIZE,
        last: Any = None,
        on_close: Callable[[str], object] | None = None,
        background: Callable[[], Awaitable[object]] | None = None,
        status_code: int = 200,
    ) -> None:
        require_upstream(upstream)
        if status_code != 200:
            raise ValueError(f"status_code {quote(status_code)}: a relay has its upstream's status")
        super().__init__(
            _Pieces(self, upstream),
            heartbeat=heartbeat,
            heartbeat_form=heartbeat_form,
            headers=headers,
            send_timeout=send_timeout,
            wait_first=True,
            last=last,
            on_close=on_close,
            background=background,
        )
        self._manner = self._manner._replace(write=_as_it_is, may_beat=self._may_beat)
        self._blocks = _Blocks(BlockSplitter(max_block_size=max_block_size), on_block, rewrite)
        self._names = (PASSED | {name.lower() for name in pass_headers}) - _HOP_BY_HOP
        self._limit = max_block_size
        self._opening = self._manner.beat if opening else b""
        self._known = False  # the status and the headers are those of the answer
        self._streaming = False  # whole blocks are sent, and a comment may stand between them
        self._beaten = False  # a comment of ours may have been sent

    async def _answer_head(self, items: Any, send: Send) -> None:
        self._known = True
        await super()._answer_head(items, send)

    def _start(self) -> Message:
        """Make the message that starts the response. Only a shutdown asks for one before the upstream has answered."""
        if not self._known:
            return start_message(503, [(b"retry-after", b"1"), (b"cache-control", b"no-store")])
        return super()._start()

    def _may_beat(self) -> bool:
        self._beaten = self._beaten or self._streaming
        return self._streaming

    async def iterate(self, upstream: object) -> AsyncGenerator[bytes]:
        """Open the upstream, make its head the answer's, and yield its body in whole blocks; then close it."""
        async with AsyncExitStack() as stack:
            try:
                found = await stack.enter_async_context(open_upstream(upstream))
            except Exception as error:
                answer = answer_of(error)
                status = failure(error)
                if answer is None and status is None:
                    raise
                if answer is None:
                    _log.warning("upstream failed before it answered: %r", error)
                    yield self._refuse(status or 502)
                    return
                found = answer
            if 300 <= found.status < 400 or found.status in (101, 407):
                _log.warning("upstream answered %d, which cannot be passed on", found.status)
                yield self._refuse(502)
                return
            way = self._begin(found)
            yield self._opening if self._streaming else b""  # the response starts
            first = True
            try:
                async for chunk in found.chunks:
                    piece = way.take(chunk)
                    if piece:
                        yield self._without_mark(piece) if first else piece
                        first = False
            except BlockTooLarge as error:
                yield b"".join(error.blocks)
                raise
            self._streaming = False  # no comment after what may be half a block
            rest = way.finish()
            if rest:
                yield self._without_mark(rest) if first else rest

    def _begin(self, found: Upstream) -> _Blocks | _Body:
        """Take the upstream's status and headers, and choose the way of its body."""
        kind = next((value for name, value in found.headers if name == "content-type"), "")
        self._known = True
        self._streaming = (
            200 <= found.status < 300
            and kind.partition(";")[0].strip().lower() == "text/event-stream"
        )
        self._beaten = self._streaming and bool(self._opening)
        self.status_code = found.status
        self.raw_headers = self._answered(found, kind)
        return self._blocks if self._streaming else _Body(self._limit)

    def _answered(self, found: Upstream, kind: str) -> Headers:
        """Join the application's headers with those of the upstream that are passed on."""
        ours = [
            pair
            for pair in self.raw_headers
            if pair[0] != b"content-type"
            and (self._streaming or pair not in EVENT_STREAM_HEADERS or pair[0] == b"cache-control")
        ]
        if kind:
            ours.append((b"content-type", kind.encode("latin-1", "replace")))
        given = {name for name, _ in ours}
        passed = set(self._names)
        if not self._streaming and all(name != "content-encoding" for name, _ in found.headers):
            passed.add("content-length")
        return ours + [
            (name.encode(), value.encode("latin-1", "replace"))
            for name, value in found.headers
            if name in passed and name.encode() not in given and not _LINE_ENDS.search(value)
        ]

    def _refuse(self, status: int) -> bytes:
        """Make a problem (RFC 9457) the answer, and return its body."""
        problem = {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": _DETAILS[status],
        }
        body = json.dumps(problem).encode()
        self._known = True
        self.status_code = status
        self.raw_headers = [
            *[pair for pair in self.raw_headers if pair[0] not in _OURS],
            (b"content-type", b"application/problem+json"),
            (b"cache-control", b"no-store"),
            (b"content-length", b"%d" % len(body)),
        ]
        return body

    def _without_mark(self, piece: bytes) -> bytes:
        """Return the first piece, without its byte-order mark where a comment of ours came before it."""
        return piece.removeprefix(_BOM) if self._beaten else piece


relay = RelayResponse


class _Pieces:
    """The items of a relay: iterated once, or closed without that."""

    __slots__ = ("_response", "_upstream")

    def __init__(self, response: RelayResponse, upstream: object) -> None:
        self._response = response
        self._upstream = upstream

    def __aiter__(self) -> AsyncGenerator[bytes]:
        return self._response.iterate(self._upstream)

    async def aclose(self) -> None:
        await close_unused(self._upstream)


def _as_it_is(piece: bytes) -> bytes:
    return piece
