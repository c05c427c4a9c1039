"""One `receive` for a stream and for the items that read their request's body."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastsse._request import KEPT, SharedReceive, share_receive

GONE = {"type": "http.disconnect"}


def piece(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class Server:
    """A server whose `receive` gives what a test puts; it counts how often it was asked."""

    def __init__(self, *messages: Any) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.asked = 0
        self.receive = self._receive  # one object, as servers give it
        for message in messages:
            self.queue.put_nowait(message)

    async def _receive(self) -> Any:
        self.asked += 1
        return await self.queue.get()


class Request:
    """A request as frameworks have it: an object with the server's `receive`."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive


async def listen(shared: SharedReceive) -> None:
    """Call for the stream until the client has gone."""
    while (await shared.listen())["type"] != "http.disconnect":
        pass


class TestSharing:
    async def test_messages_that_the_stream_brings_are_kept_for_the_request(self) -> None:
        shared = SharedReceive(
            Server(piece(b"a"), piece(b"b", more=False), GONE).receive, bare=False
        )
        await listen(shared)

        assert [piece(b"a"), piece(b"b", more=False)] == [
            await shared.receive(),
            await shared.receive(),
        ]

    async def test_both_are_told_of_the_disconnect_and_the_request_again_and_again(self) -> None:
        shared = SharedReceive(Server(GONE).receive, bare=False)

        told = [await shared.listen(), await shared.receive(), await shared.receive()]

        assert [GONE] * 3 == told

    async def test_a_request_that_waits_gets_the_next_message(self) -> None:
        server = Server()
        shared = SharedReceive(server.receive, bare=False)
        stream = asyncio.create_task(listen(shared))
        waiting = asyncio.create_task(shared.receive())
        await asyncio.sleep(0)

        server.queue.put_nowait(piece(b"a"))

        assert piece(b"a") == await waiting
        server.queue.put_nowait(GONE)
        await stream

    async def test_a_body_that_nobody_reads_is_dropped_and_hides_no_disconnect(self) -> None:
        large = [piece(b"x" * (KEPT // 2)) for _ in range(5)]
        shared = SharedReceive(Server(*large, GONE).receive, bare=False)

        await listen(shared)

        with pytest.raises(RuntimeError, match="the request's body is lost"):
            await shared.receive()

    async def test_a_request_that_reads_slowly_lets_the_client_wait(self) -> None:
        size = KEPT * 3 // 5  # two of them are more than is kept
        server = Server(*[piece(b"x" * size) for _ in range(5)], GONE)
        shared = SharedReceive(server.receive, bare=False)
        first = asyncio.create_task(shared.receive())
        await asyncio.sleep(0)
        stream = asyncio.create_task(listen(shared))
        await first
        await asyncio.sleep(0.01)
        before = server.asked

        rest = [await shared.receive() for _ in range(4)]
        await stream

        assert before < 5
        assert [size] * 4 == [len(message["body"]) for message in rest]
        assert GONE == await shared.receive()

    async def test_a_stream_that_is_over_leaves_the_servers_receive_to_the_request(self) -> None:
        server = Server()
        shared = SharedReceive(server.receive, bare=False)
        waiting = asyncio.create_task(shared.receive())
        await asyncio.sleep(0)

        shared.close()
        server.queue.put_nowait(piece(b"a"))

        assert piece(b"a") == await waiting

    async def test_an_unread_body_is_an_error_where_the_items_call_the_servers_own(self) -> None:
        shared = SharedReceive(Server(piece(b"a", more=False)).receive, bare=True)

        with pytest.raises(RuntimeError, match="read the body first"):
            await shared.listen()

    async def test_an_empty_body_is_none(self) -> None:
        shared = SharedReceive(Server(piece(b"", more=False), GONE).receive, bare=True)

        await listen(shared)


async def items_of(request: Any) -> AsyncIterator[str]:
    """Yield one item, and hold the request meanwhile."""
    yield "a"
    assert request


class Holder:
    """An iterable that holds something among its attributes."""

    def __init__(self, held: Any) -> None:
        self.held = held


class TestFinding:
    @pytest.mark.parametrize("how", ["generator", "attribute", "partial", "deep"])
    async def test_a_request_is_found_wherever_the_items_hold_it(self, how: str) -> None:
        server = Server(piece(b"a"))
        request = Request(server.receive)
        items: Any = {
            "generator": lambda: items_of(request),
            "attribute": lambda: Holder(request),
            "partial": lambda: functools.partial(items_of, request=request),
            "deep": lambda: Holder(Holder(items_of(request))),
        }[how]()

        shared = share_receive(items, server.receive)

        assert shared is not None
        assert shared.receive == request._receive
        await shared.listen()
        assert piece(b"a") == await request._receive()

    async def test_the_servers_own_is_found_too_and_then_the_body_must_be_read_before(self) -> None:
        server = Server(piece(b"a"))

        shared = share_receive(Holder(server.receive), server.receive)

        assert shared is not None
        with pytest.raises(RuntimeError, match="read the body first"):
            await shared.listen()

    async def test_a_request_goes_before_the_servers_own(self) -> None:
        server = Server(piece(b"a"))
        holder = Holder(Request(server.receive))
        holder.also = server.receive  # type: ignore[attr-defined]

        shared = share_receive(holder, server.receive)

        assert shared is not None
        assert piece(b"a") == await shared.listen()

    @pytest.mark.parametrize("items", [["a"], iter(["a"]), Holder({"k": 1}), None])
    def test_items_without_either_leave_it_alone(self, items: Any) -> None:
        assert share_receive(items, Server().receive) is None

    def test_the_search_is_bounded(self) -> None:
        receive = Server().receive
        deep: Any = Request(receive)
        for _ in range(200):
            deep = Holder(deep)

        assert share_receive(deep, receive) is None
