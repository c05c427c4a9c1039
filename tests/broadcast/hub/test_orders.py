"""Orders: streams that every hub of a log ends, tokens that none takes any more, and what is remembered of them."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from support.driver import Sends, Stream, open_stream, turns
from support.hubs import data, follow, opened, started
from support.middlewares import passed
from support.servers import serve
from support.stores import ArchivedStore, ScriptedStore

from fastsse import Decoder, InvalidField, encode
from fastsse.broadcast import Hub, Retention, Settings
from fastsse.broadcast.app import create_app
from fastsse.broadcast.hub.bypass import BYPASS
from fastsse.broadcast.hub.orders import Order, read_order, write_order
from fastsse.broadcast.hub.revoked import Revoked
from fastsse.broadcast.hub.rounds import expired
from fastsse.broadcast.hub.terms import Terms
from fastsse.broadcast.names import ORDERS

REVOKE = Order(True, "ann", None, None, "left", 1000.0)


class Shared(ArchivedStore):
    """An archive that several processes share, and that finds one topic without the others."""

    shared = True
    finds_topics = True


def block(**changes: Any) -> bytes:
    return write_order(REVOKE._replace(**changes))


@pytest.mark.parametrize(
    "order",
    [
        REVOKE,
        Order(True, None, None, "t1", "revoked", 1.5),
        Order(False, "ann", ("a", "b"), None, 'a "word"', 0.0),
        Order(False, None, ("\u2028",), None, "x", 0.0),
    ],
)
def test_an_order_is_read_as_it_was_written(order: Order) -> None:
    assert order == read_order(write_order(order))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"data: x\n\n",
        block() + block(),
        encode("{}", event="order"),
        encode("[]", event="order"),
        encode("[" * 5000, event="order"),
        block().replace(b"event: order", b"event: other"),
        block().replace(b"true", b"1"),
        block(subject=None),
        block(reason=""),
        block(subject="x" * 257),
        block(token_id="\n"),
        block().replace(b"1000.0", b"NaN"),
        block().replace(b"1000.0", b'"1"'),
        block().replace(b'"ann"', b"7"),
        block().replace(b'"topics":null', b'"topics":7'),
    ],
    ids=range(16),
)
def test_what_is_no_order_is_none(text: bytes) -> None:
    assert read_order(text) is None


async def test_an_order_that_cannot_be_read_harms_nothing(caplog: Any) -> None:
    store = ScriptedStore()
    async with Hub(store=store) as hub:
        store.add(ORDERS, b"data: from a later release\n\n")
        await hub.publish("a", "x")

        assert 2 == hub.history.head
        assert "cannot be read" in caplog.text


async def test_no_reader_and_no_publisher_can_name_the_topic_of_orders() -> None:
    with serve() as server:
        for path in ("%01orders", "a&topic=%01orders"):
            assert 400 == server.request("HEAD", f"/events?topic={path}").status
            for method in ("POST", "DELETE"):
                assert 400 == server.request(method, f"/events?topic={path}", b"x").status
    async with Hub() as hub:
        with pytest.raises(InvalidField):
            await hub.publish(ORDERS, "x")
        with pytest.raises(InvalidField):
            hub.subscribe(ORDERS)


async def test_an_order_is_no_event_of_anybody() -> None:
    async with Hub(store=Shared()) as hub, hub.subscribe("a") as events:
        await hub.revoke(subject="ann")
        await hub.publish("a", "x")

        assert "x" == (await anext(aiter(events))).data
        assert (1, 1) == (hub.history.topics, hub.stats.published)


async def test_every_hub_of_a_log_ends_what_one_of_them_is_told_to_end() -> None:
    store = Shared()
    async with Hub(Settings(heartbeat=0), store) as hub:
        app = create_app(hub=hub)
        async with open_stream(app, "/events", "topic=a") as stream:
            store.add(ORDERS, write_order(Order(False, None, ("b",), None, "not this", 0.0)))
            store.add(ORDERS, write_order(Order(False, None, ("a",), None, "this", 0.0)))

            [event] = await stream.events(1)

    assert ("expired", '{"reason":"this"}') == (event.event, event.data)


async def test_a_hub_knows_what_was_revoked_while_it_was_away_or_before_its_tail() -> None:
    store = Shared()
    async with Hub(Settings(history_events=1), store) as first:
        await first.revoke(subject="ann")
        await first.revoke(jti="t1")
        await first.end_streams("bob")
        for number in range(50):
            await first.publish("a", str(number))

    async with Hub(Settings(history_events=1), store) as second:
        assert second.revoked.covers("ann", None, None)
        assert second.revoked.covers(None, "t1", None)
        assert 2 == len(second.revoked)


async def test_a_store_that_cannot_be_told_is_an_error_and_this_hub_heeds_all_the_same() -> None:
    store = Shared()
    async with Hub(store=store) as hub:
        store.stall()

        with pytest.raises(OSError, match=r"away|reached|store"):
            await hub.revoke(jti="t1")

        assert hub.revoked.covers(None, "t1", None)
        store.recover()


async def test_a_stream_that_waits_for_the_store_can_be_ended_before_it_begins() -> None:
    store = Shared()
    async with Hub(store=store) as hub:
        fanout = hub._require_here()  # pyright: ignore[reportPrivateUsage]
        ends = [Order(True, "ann"), Order(True, None, None, "t1"), Order(False, None, ("a",))]
        goes_on = [Order(True, "bob"), Order(True, None, None, "t2"), Order(False, "ann", ("b",))]

        for order in ends + goes_on:
            with fanout.holders.waiting(Terms(("a",), subject="ann", token_id="t1")) as waiting:
                store.add(ORDERS, write_order(order._replace(at=0.0)))
            assert waiting.ended == (order in ends)


async def test_a_stream_whose_grant_expires_while_it_waits_for_the_store_does_not_begin() -> None:
    store, loop = Shared(), asyncio.get_running_loop()
    async with Hub(store=store) as hub:
        until = loop.time() + 0.1
        terms = Terms(("a",), f"{hub.health()['epoch']}-5", subject="ann", until=until)

        async def app(_: Any, receive: Any, send: Any) -> None:
            await hub.converse(terms, receive, send)

        async with open_stream(app, wait=False) as stream:
            while loop.time() <= until:
                await asyncio.sleep(0.02)
            for number in range(6):
                store.add("a", encode(str(number)))
            body = await stream.rest()

    assert 200 == stream.status
    assert [] == Decoder().feed(body)
    assert b"retry: " in body


# A reader that does not read while its grant ends.


def of_ann(hub: Hub, sends: Sends) -> AbstractAsyncContextManager[Stream]:
    """Open a stream of the topic a, whose subject is ann."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        terms = Terms(("a",), subject="ann")
        await hub.converse(terms, receive, send, outer=scope.get(BYPASS))

    return open_stream(passed(app) if sends == "direct" else app, sends=sends)


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("reason", ["revoked", "expired"])
async def test_a_blocked_reader_gets_nothing_that_comes_after_its_grant_is_over(
    sends: Sends, reason: str, large: bool
) -> None:
    async with started(sends) as hub:
        async with of_ann(hub, sends) as slow:
            first = await opened(slow)
            slow.stall()
            for number in range(20):
                await hub.publish("a", f"before {number}")
                await turns()
            await slow.blocked()
            if reason == "revoked":
                await hub.revoke(subject="ann")
            else:
                fanout = hub._require_here()  # pyright: ignore[reportPrivateUsage]
                [subscriber] = hub.audiences.members()
                fanout.finish(subscriber, "expired", expired("expired"))
            await hub.publish("a", "after" * (20_000 if large else 1))
            slow.resume()
            got = Decoder().feed(await slow.rest())

        assert slow.complete
        assert reason == json.loads(got[-1].data)["reason"]
        *kept, end = got
        assert "expired" == end.event
        assert [f"before {n}" for n in range(len(kept))] == data(kept)
        async with follow(hub, "a", last_event_id=kept[-1].id if kept else first) as again:
            rest = data(await again.events(21 - len(kept)))
        assert [f"before {n}" for n in range(len(kept), 20)] == rest[:-1]
        assert rest[-1].startswith("after")


async def test_a_blocked_reader_whose_grant_ends_gets_what_came_before(sends: Sends) -> None:
    async with started(sends) as hub:
        async with of_ann(hub, sends) as slow:
            await opened(slow)
            slow.stall()
            for number in range(20):
                await hub.publish("a", str(number))
                await turns()
            await slow.blocked()
            await hub.end_streams("ann")
            await hub.publish("b", "of a topic that nobody asked for")
            slow.resume()
            *kept, end = Decoder().feed(await slow.rest())

    assert [str(number) for number in range(20)] == data(kept)
    assert "expired" == end.event


# The list of what is revoked.


def test_what_is_revoked_is_forgotten_when_every_token_has_expired() -> None:
    now = [1000.0]
    revoked = Revoked(60, clock=lambda: now[0])
    revoked.add(REVOKE)
    assert revoked.covers("ann", None, None)

    now[0] = 1059.9
    assert revoked.covers("ann", None, None)
    now[0] = 1060.0
    assert not revoked.covers("ann", None, None)
    revoked.add(Order(True, "bob", at=1059.0))
    assert 1 == len(revoked)


def test_an_order_that_comes_late_changes_nothing_that_is_newer() -> None:
    revoked = Revoked(1000, clock=lambda: 1500.0)
    revoked.add(REVOKE._replace(at=1200.0))
    revoked.add(REVOKE._replace(at=1100.0))
    revoked.add(REVOKE._replace(subject="old", at=400.0))

    assert revoked.covers("ann", None, 1200.0)
    assert not revoked.covers("ann", None, 1201.0)
    assert 1 == len(revoked)


def test_clocks_may_differ_by_the_leeway() -> None:
    revoked = Revoked(1000, 5.0, clock=lambda: 1001.0)
    revoked.add(REVOKE)

    assert revoked.covers("ann", None, 1005.0)
    assert not revoked.covers("ann", None, 1005.1)


def test_the_list_is_bounded_and_room_is_made_of_what_is_over() -> None:
    now = [0.0]
    revoked = Revoked(10, clock=lambda: now[0], most=3)
    for number in range(20):
        revoked.add(Order(True, None, None, f"t{number}", at=0.5))
    assert 6 == len(revoked)
    assert revoked.covers(None, "t19", None)
    assert not revoked.has_room()

    now[0] = 11.0

    assert revoked.has_room()
    assert 0 == len(revoked)


def test_retention_by_topic_does_not_concern_orders() -> None:
    settings = Settings(topics=(("*", (("retain_events", 1),)),))

    assert Retention.of(settings).of_topic(ORDERS).unbounded
    assert not Retention.of(settings).of_topic("a").unbounded
