"""One stream, from its request to its last byte.

    admit    the stream enters its audience, so that nothing is missed from here on
    open     the response's start, the opening block, and what the reader has missed, up to the head: from the store's
             archive what the history no longer has, page by page, then from the history
    park     then the pump sends, and the connection's own task waits until the client has gone or the stream ends
    serve    or, where only that task may call `send`: it sends, until the end; with an open bypass the pump does
    end      the last block, sent by whoever has the `send` then; the stream leaves its audience

Each stream is one task, the connection's own. While it is parked it keeps nothing beside what the server keeps.

The module knows one stream's terms, messages and states; it must not know stores, other streams or HTTP's routes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fastsse import encode
from fastsse.asgi import EVENT_STREAM_HEADERS, body_message, start_message
from fastsse.broadcast.hub.joins import Join
from fastsse.broadcast.hub.subscriber import OVER
from fastsse.broadcast.hub.sweeps import HEARTBEAT

if TYPE_CHECKING:
    from fastsse.asgi import Receive, Send
    from fastsse.broadcast.hub.bypass import OuterSend
    from fastsse.broadcast.hub.fanout import Fanout
    from fastsse.broadcast.hub.subscriber import Subscriber
    from fastsse.broadcast.hub.terms import Terms

__all__ = ["converse", "send_away", "send_head"]

_BYPASS_TIME = 1.0  # seconds that middlewares have to let the opening block out
_SERVERS = ("granian", "uvicorn")  # their own send and receive may be stepped outside a task

_NO_STORE = (b"cache-control", b"no-store")

_log = logging.getLogger("fastsse.broadcast")


async def converse(
    fanout: Fanout,
    terms: Terms,
    receive: Receive,
    send: Send,
    headers: Iterable[tuple[bytes, bytes]] = (),
    outer: OuterSend | None = None,
    *,
    asked: bool = False,
) -> None:
    """Hold one stream from its response's start to its end.

    A reader whose topics have all ended, and for whom nothing is kept, is sent away for good.

    Args:
        receive, send: the connection's own, as the ASGI server or a middleware gave them.
        headers: more response headers.
        outer: the bypass, where one stands around the app.
        asked: the caller has just asked for a `refusal`, and there was none.

    Raises:
        HubClosed, RuntimeError: the hub takes no stream now; nothing was sent.
    """
    if not await _may_begin(fanout, terms, send, headers):
        return
    if outer is not None and send is outer:
        send = outer.send  # nothing stands between the hub and the server
    own_task = not _may_step(fanout, send, receive)
    if outer is not None and not (own_task and _may_step(fanout, outer.send)):
        outer = None
    subscriber, opening = fanout.admit(terms, send, own_task=own_task, asked=asked)
    try:
        if await _open(fanout, subscriber, opening.block, headers, outer):
            del terms, opening, headers  # or they would live as long as the stream
            if own_task:
                await _serve(fanout, subscriber, receive, outer)
            else:
                await subscriber.park.listen(receive)
    except Exception:
        # A server may raise once its client has gone; nobody is left to be told.
        _log.debug("stream failed", exc_info=True)
    finally:
        subscriber.end("disconnected")
        fanout.dismiss(subscriber)


async def send_away(send: Send, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Answer 204, at which an EventSource comes back no more (HTML standard, "Server-sent events", 9.2.3)."""
    await send(start_message(204, [_NO_STORE, *headers]))
    await send(body_message(b"", more=False))


async def send_head(send: Send, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Answer a HEAD request: send the headers of an event stream, and no stream."""
    await send(start_message(200, [*EVENT_STREAM_HEADERS, *headers]))
    await send(body_message(b"", more=False))


async def _may_begin(
    fanout: Fanout, terms: Terms, send: Send, headers: Iterable[tuple[bytes, bytes]]
) -> bool:
    """Return True when a stream can begin; otherwise its reader is answered, and sent away for good or to come back.

    Where another process has told the reader more than this one knows, the store is waited for first. The hub may
    begin to drain meanwhile, or the grant may end: the reader then gets a stream that ends at once.
    """
    if fanout.shared and fanout.places.may_come(terms.last_event_id):
        with fanout.holders.waiting(terms) as waiting:
            await fanout.hear_of(terms.last_event_id or "")
        expired = terms.until is not None and terms.until <= fanout.loop.time()
        if waiting.ended or expired or fanout.refusal(terms) is not None:
            await send(start_message(200, [*EVENT_STREAM_HEADERS, *headers]))
            await send(body_message(encode(None, retry=fanout.settings.retry), more=False))
            return False
    if fanout.nothing_left(terms):
        await send_away(send, headers)
        return False
    return True


def _may_step(fanout: Fanout, *callables: Any) -> bool:
    """Return True when these callables of a connection may be called and stepped by other tasks than its own."""
    if fanout.step_sends is not None:
        return fanout.step_sends
    owners: list[type] = [type(getattr(own, "__self__", None)) for own in callables]
    return all(map(_is_servers, owners))


@lru_cache(maxsize=64)
def _is_servers(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _SERVERS


# Open.


async def _open(
    fanout: Fanout,
    subscriber: Subscriber,
    block: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    outer: OuterSend | None,
) -> bool:
    """Send the start, the opening block and what the reader has missed. Returns False when the stream is over.

    With a bypass, stop after the opening block: it must be the only message in flight while the bypass is tested.
    """
    sender, gate = fanout.sender, subscriber.park
    if outer is not None:
        outer.watch(subscriber)
    start = start_message(200, [*EVENT_STREAM_HEADERS, *headers])
    if not await sender.push(subscriber, gate, start):
        return False
    if outer is not None:
        outer.expect(block)
    missed = fanout.joins.take(subscriber) if outer is None else None
    if not await _greet(fanout, subscriber, block, missed):
        return False
    if outer is None and (missed is not None or not _has_all(fanout, subscriber)):
        await sender.send_all(subscriber, gate)
    if subscriber.state in OVER:
        await sender.end_all(subscriber, gate)
        return False
    if subscriber.own_task:
        if outer is None:
            subscriber.serve()
    else:
        fanout.delivery.go_live(subscriber)
    return True


def _has_all(fanout: Fanout, subscriber: Subscriber) -> bool:
    """Return True when a stream that opens has nothing to get, as most have."""
    at_head = subscriber.position == fanout.history.head
    audience = subscriber.audience
    return at_head and audience.broken is None and not fanout.joins.is_over(audience)


async def _greet(fanout: Fanout, subscriber: Subscriber, block: bytes, missed: Join | None) -> bool:
    """Send the opening block, and with it the first join of what was missed. Returns False when the stream is over."""
    opening = Join([block] if missed is None else [block, *missed.pieces], 0, 0, 0)
    for index in range(opening.parts):
        if not await fanout.sender.push(subscriber, subscriber.park, opening.part(index)):
            return False
    if missed is not None:
        fanout.stats.sent(1, missed.events, missed.size)
        subscriber.advance(missed.last, missed.events, missed.size, missed.weight)
    return True


# Serve: for a `send` that only the connection's own task may call.


async def _serve(
    fanout: Fanout, subscriber: Subscriber, receive: Receive, outer: OuterSend | None
) -> None:
    """Send from the connection's own task, until the stream ends."""
    sender, gate = fanout.sender, subscriber.park
    watch = fanout.loop.create_task(_watch(subscriber, receive))
    try:
        if outer is not None:
            await _pass(fanout, subscriber, outer)
        while True:
            await sender.send_all(subscriber, gate)
            if subscriber.state in OVER:
                await sender.end_all(subscriber, gate)
                return
            if subscriber.beat_due:
                subscriber.beat_now()
                await sender.push(subscriber, gate, HEARTBEAT.part(0))
                fanout.stats.heartbeats += 1
            else:
                await gate.rest()
    finally:
        watch.cancel()


async def _watch(subscriber: Subscriber, receive: Receive) -> None:
    """End the stream when its client has gone; for a `receive` that only a task may call."""
    while (await receive())["type"] != "http.disconnect":
        pass
    subscriber.end("disconnected")


async def _pass(fanout: Fanout, subscriber: Subscriber, outer: OuterSend) -> None:
    """Let the pump send past the middlewares until the stream is to end, if they let the opening block out unchanged.

    The end is left to the wrapped `send` and to the connection's own task: middlewares expect to see it.
    """
    gate, wrapped = subscriber.park, subscriber.send
    late = fanout.loop.call_later(_BYPASS_TIME, outer.decide, False)
    while outer.open is None and subscriber.state not in OVER:
        await gate.rest()
    late.cancel()
    if outer.open:
        subscriber.use(outer.send)
    await fanout.sender.send_all(subscriber, gate)
    if subscriber.state not in OVER:
        if outer.open:
            fanout.delivery.go_live(subscriber)
        else:
            subscriber.serve()
    while (subscriber.live or subscriber.carry_gate is not None) and not subscriber.ended:
        await gate.rest()
    subscriber.use(wrapped)
