"""Reports about `EventSourceResponse`, the iterators, JSON, and how items are closed."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import json
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.driver import turns
from support.servers import (
    ROOT,
    Clients,
    serve_granian,
    serve_hypercorn,
    serve_uvicorn,
    unchunk,
    wait_for,
)

from fastsse import (
    Event,
    EventSourceResponse,
    InvalidField,
    RelayResponse,
    _bridge,
    _threads,
    aiter_blocks,
    aiter_json,
    decode,
    encode,
    in_thread,
    iter_blocks,
    iter_json,
)
from fastsse.broadcast import Run
from fastsse.broadcast.hub.response import HubResponse
from fastsse.testing import fetch, open_stream

anyio = pytest.importorskip("anyio")

DEADLINE = 5.0  # s
SCOPE = {"type": "http", "method": "GET", "headers": []}
Serve = Callable[[], Awaitable[None]]


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not happened():
            await asyncio.sleep(0.001)


class Moment:
    """One response whose cancellation is to come at a known moment.

    Attributes:
        come: the moment has come.
        go_on: what is slow at this moment (a send, the items' clean-up, `on_close`) may go on.
    """

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.come = asyncio.Event()
        self.go_on = asyncio.Event()
        self.ran_in: list[Any] = []
        self.closed_in: list[Any] = []
        self.reasons: list[str] = []

    async def items(self) -> AsyncIterator[str]:
        self.ran_in.append(asyncio.current_task())
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            if self.name == "in a slow finally":
                self.come.set()
                await self.go_on.wait()
            await asyncio.sleep(0)
            self.closed_in.append(asyncio.current_task())

    async def on_close(self, reason: str) -> None:
        if self.name == "in on_close":
            self.come.set()
            await self.go_on.wait()
        self.reasons.append(reason)

    async def receive(self) -> dict[str, Any]:
        if self.name in ("in a slow finally", "in on_close"):
            await until(lambda: bool(self.ran_in))
            return {"type": "http.disconnect"}
        try:
            await asyncio.Event().wait()
        finally:
            if self.name == "in a receive that cleans up":
                await asyncio.sleep(0)
        raise AssertionError

    async def send(self, message: dict[str, Any]) -> None:
        if b"data" in message.get("body", b""):
            if self.name == "in send":
                self.come.set()
                await asyncio.Event().wait()
            if self.name in ("idle", "in a receive that cleans up"):
                asyncio.get_running_loop().call_soon(self.come.set)

    async def serve(self) -> None:
        items: Any = self.items()
        if self.kind == "aiter_blocks":
            items = aiter_blocks(items)
        await EventSourceResponse(items, on_close=self.on_close)(SCOPE, self.receive, self.send)


async def once(serve: Serve, moment: Moment) -> None:
    task = asyncio.ensure_future(serve())
    await moment.come.wait()
    task.cancel()
    await turns()
    moment.go_on.set()
    await asyncio.wait([task])


async def twice(serve: Serve, moment: Moment) -> None:
    task = asyncio.ensure_future(serve())
    await moment.come.wait()
    task.cancel()
    await turns(1)
    task.cancel()
    await turns()
    moment.go_on.set()
    await asyncio.wait([task])


async def move_on_after(serve: Serve, moment: Moment) -> None:
    with anyio.move_on_after(DEADLINE) as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            await moment.come.wait()
            asyncio.get_running_loop().call_later(0.02, moment.go_on.set)
            scope.cancel()


async def fail_after(serve: Serve, moment: Moment) -> None:
    async def expire() -> None:
        await moment.come.wait()
        asyncio.get_running_loop().call_later(0.02, moment.go_on.set)
        scopes[0].deadline = anyio.current_time()

    scopes: list[Any] = []
    expiry = asyncio.create_task(expire())
    try:
        with anyio.fail_after(DEADLINE) as scope:
            scopes.append(scope)
            await serve()
    except TimeoutError:
        pass
    await expiry


async def a_failing_group(serve: Serve, moment: Moment) -> None:
    async def fail() -> None:
        await moment.come.wait()
        asyncio.get_running_loop().call_later(0.02, moment.go_on.set)
        raise KeyError("of a sibling")

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            group.start_soon(fail)
    except* KeyError:
        pass


CANCELLATIONS = [once, twice, move_on_after, fail_after, a_failing_group]
MOMENTS = ["idle", "in send", "in a receive that cleans up", "in a slow finally", "in on_close"]


@pytest.mark.parametrize("kind", ["items", "aiter_blocks"])
@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("cancel", CANCELLATIONS, ids=lambda cancel: cancel.__name__)
async def test_whatever_cancels_a_response_its_items_are_closed_once_and_on_close_is_told_once(
    cancel: Callable[[Serve, Moment], Awaitable[None]], name: str, kind: str
) -> None:
    """A cancel scope cancels again at every turn of the loop, and once cut the clean-up short.

    From: review F1, agno-agi/agno#7318, Kiln-AI/Kiln PR 1319
    """
    before = asyncio.all_tasks()
    moment = Moment(name, kind)

    await cancel(moment.serve, moment)
    await until(lambda: len(moment.reasons) > 0 and asyncio.all_tasks() == before)

    assert moment.ran_in == moment.closed_in
    assert len(moment.closed_in) == 1
    expected = "disconnected" if name in ("in a slow finally", "in on_close") else "cancelled"
    assert [expected] == moment.reasons


async def test_a_scope_that_has_ended_leaves_nothing_behind_when_the_items_close_quickly() -> None:
    """The response waits for the end of its items although it is cancelled at every turn.

    From: review F1
    """
    moment = Moment("idle", "items")

    await move_on_after(moment.serve, moment)

    assert moment.ran_in == moment.closed_in
    assert ["cancelled"] == moment.reasons


@pytest.mark.parametrize("kind", ["aiter_blocks", "in_thread"])
async def test_an_iterator_under_a_cancel_scope_closes_what_it_iterates(kind: str) -> None:
    """The iterators clean up as the response does, with a scope around them.

    From: review F1
    """
    go_on = threading.Event()
    closed: list[int] = []

    async def items() -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            closed.append(1)

    def blocking() -> Any:
        try:
            yield "a"
            go_on.wait(DEADLINE)
            yield "b"
        finally:
            closed.append(1)

    before = asyncio.all_tasks()
    with anyio.move_on_after(0.02):
        async for _ in aiter_blocks(items()) if kind == "aiter_blocks" else in_thread(blocking()):
            pass
    go_on.set()
    await until(lambda: bool(closed) and asyncio.all_tasks() == before)
    await turns()

    assert [1] == closed


@pytest.mark.parametrize("where", ["send", "receive", "on_close"])
@pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError])
async def test_whatever_fails_beside_the_items_they_are_closed_once_and_on_close_is_told_once(
    where: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """A cancellation that comes out of `send` is not ours, and must not leave the stream hanging.

    From: review F1
    """
    before = asyncio.all_tasks()
    moment = Moment("idle", "items")

    def fail(*_: Any) -> Any:
        raise error("of the server")

    async def receive() -> dict[str, Any]:
        await moment.come.wait()
        return fail() if where == "receive" else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await moment.send(message)
        if where == "send" and b"data" in message.get("body", b""):
            fail()

    def on_close(reason: str) -> None:
        moment.reasons.append(reason)
        if where == "on_close":
            fail()

    answer = EventSourceResponse(moment.items(), on_close=on_close)
    async with asyncio.timeout(DEADLINE):
        outcome = await asyncio.gather(
            asyncio.ensure_future(answer(SCOPE, receive, send)), return_exceptions=True
        )

    assert moment.ran_in == moment.closed_in
    assert 1 == len(moment.reasons)
    assert before == asyncio.all_tasks()
    if where == "on_close":
        assert outcome == [None]
        assert ["on_close failed"] == caplog.messages
    elif where == "send" and error is asyncio.CancelledError:
        assert isinstance(outcome[0], RuntimeError)
    else:
        assert isinstance(outcome[0], error)


async def test_head_closes_its_items_whole_and_tells_on_close() -> None:
    """A request for the headers alone has items and `on_close`, too.

    From: review F1
    """
    closed: list[int] = []
    reasons: list[str] = []

    async def items() -> AsyncIterator[str]:
        try:
            yield "a"
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            closed.append(1)

    async def send(_message: Any) -> None:
        pass

    begun = items()
    await anext(begun)
    with anyio.move_on_after(0) as scope:
        scope.cancel()
        answer = EventSourceResponse(begun, on_close=reasons.append)
        await answer(SCOPE | {"method": "HEAD"}, send, send)  # type: ignore[arg-type]
    await until(lambda: bool(closed))

    assert [1] == closed
    assert ["finished"] == reasons


class Labelled(EventSourceResponse):
    """A subclass as applications write it."""


class Positional(EventSourceResponse):
    """A subclass with a signature of its own."""

    def __init__(self, topic: str) -> None:
        super().__init__([topic])


def test_a_subclass_has_its_own_signature() -> None:
    """From: starfederation/datastar-python#30"""
    assert ["topic"] == list(inspect.signature(Positional).parameters)
    assert isinstance(Positional("a"), EventSourceResponse)


@pytest.mark.parametrize("response_class", [EventSourceResponse, Labelled])
class TestAsAResponseClass:
    """FastAPI's documentation of an endpoint whose response class is ours, and the endpoint itself.

    From: starfederation/datastar-python#30, starfederation/datastar-python PR 31
    """

    def app(self, response_class: Any) -> Any:
        fastapi = pytest.importorskip("fastapi")
        app = fastapi.FastAPI()

        @app.get("/returned", response_class=response_class)
        async def returned() -> Any:
            return response_class(["a"], status_code=202)

        @app.get("/generated", response_class=response_class)
        async def generated() -> Any:
            yield "a"
            yield {"data": "b", "event": "c"}

        @app.get("/stepped", response_class=response_class)
        def stepped() -> Any:
            yield "a"

        @app.post("/created", response_class=response_class, status_code=201)
        async def created() -> Any:
            return response_class(["a"])

        return app

    async def test_its_schema_names_an_event_stream(self, response_class: Any) -> None:
        answer = await fetch(self.app(response_class), "/openapi.json")

        assert 200 == answer.status
        paths = json.loads(answer.body)["paths"]
        for path in ("/returned", "/generated", "/stepped"):
            assert ["text/event-stream"] == list(paths[path]["get"]["responses"]["200"]["content"])
        assert "text/event-stream" in paths["/created"]["post"]["responses"]["201"]["content"]
        assert 200 == (await fetch(self.app(response_class), "/docs")).status

    async def test_an_endpoint_may_return_one(self, response_class: Any) -> None:
        answer = await fetch(self.app(response_class), "/returned")

        assert (202, b"data: a\n\n") == (answer.status, answer.body.removeprefix(b":\n\n"))

    async def test_an_endpoint_may_be_a_generator(self, response_class: Any) -> None:
        answers = [await fetch(self.app(response_class), f"/{n}") for n in ("generated", "stepped")]

        assert [200, 200] == [answer.status for answer in answers]
        assert "text/event-stream; charset=utf-8" == answers[0].headers["content-type"]
        assert answers[0].body.endswith(b"data: a\n\nevent: c\ndata: b\n\n")
        assert answers[1].body.endswith(b"data: a\n\n")

    def test_the_signature_has_the_status_code(self, response_class: Any) -> None:
        parameters = inspect.signature(response_class.__init__).parameters

        assert 200 == parameters["status_code"].default
        assert 200 == inspect.signature(response_class).parameters["status_code"].default
        assert "items" == next(iter(inspect.signature(response_class).parameters))
        assert 201 == response_class([], status=201).status_code
        assert 201 == response_class([], status_code=201).status_code
        assert 201 == response_class([], status_code=201, status=201).status_code
        with pytest.raises(TypeError, match="two names"):
            response_class([], status_code=201, status=202)


@pytest.mark.parametrize("response_class", [Run, HubResponse, RelayResponse])
async def test_every_response_may_describe_its_endpoint(response_class: Any) -> None:
    """From: starfederation/datastar-python#30"""
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()

    @app.get("/a", response_class=response_class)
    async def answer() -> Any:
        raise AssertionError("not asked for")

    schema = await fetch(app, "/openapi.json")

    assert 200 == schema.status
    described = json.loads(schema.body)["paths"]["/a"]["get"]["responses"]["200"]
    assert ["text/event-stream"] == list(described["content"])


def test_a_relay_has_no_status_of_its_own() -> None:
    """From: starfederation/datastar-python#30"""
    with pytest.raises(ValueError, match="status_code 201: a relay has its upstream's status"):
        RelayResponse([b"data: a\n\n"], status_code=201)


def stream_of(*data: str) -> list[bytes]:
    return [encode(each) for each in data]


class TestJson:
    @pytest.mark.parametrize(
        "end",
        ["[DONE]", " [DONE] ", "DONE", "[done]", "done", '"[DONE]"', '"[done]"', "[Done]", "[DONE].",
         "[ DONE ]", "\t[DONE]", "[  done  ]", "[DONE ]", "'DONE'", "'[ done ]'", '"[ DONE ]"'],
    )  # fmt: skip
    async def test_the_end_is_recognised_as_servers_spell_it(self, end: str) -> None:
        """Whatever follows the end is not read.

        From: googleapis/java-genai#1084, huggingface/huggingface_hub#4536
        """
        chunks = stream_of('{"a":1}', end, "not JSON")

        assert [{"a": 1}] == list(iter_json(chunks))
        assert [{"a": 1}] == [each async for each in aiter_json(chunks)]

    @pytest.mark.parametrize(
        "text",
        ['"DONE"', '"done"', '["DONE"]', '{"a":"[DONE]"}', '"[DONE]."', '"[DONE"', '"DONE]"'],
    )
    def test_json_that_looks_like_the_end_is_data(self, text: str) -> None:
        """A stream of tokens has tokens of every kind.

        From: googleapis/java-genai#1084
        """
        assert [json.loads(text), 2] == list(iter_json(stream_of(text, "2", "[DONE]")))

    def test_the_sentinel_may_be_several_or_none(self) -> None:
        """Other providers end their streams by other words.

        From: huggingface/huggingface_hub#4536
        """
        assert [1] == list(iter_json(stream_of("1", "<end>", "2"), done=["[END]", "<end>"]))
        assert [1] == list(iter_json(stream_of("1", "done", "2"), done=["<end>", "[DONE]"]))
        assert [1] == list(iter_json(stream_of("1", "END"), done="END"))
        with pytest.raises(ValueError, match="Expecting value"):
            list(iter_json(stream_of("1", "[DONE]"), done=None))
        with pytest.raises(ValueError, match="Expecting value"):
            list(iter_json(stream_of("1", "DONE"), done="END"))
        with pytest.raises(TypeError, match="done must be str"):
            iter_json([], done=[1])  # type: ignore[list-item]

    @pytest.mark.parametrize("text", ["[DONE", "DONE]", "'DONE", "[DON E]", "UNDONE"])
    def test_what_is_neither_json_nor_an_end_is_an_error(self, text: str) -> None:
        """From: googleapis/java-genai#1084"""
        with pytest.raises(ValueError, match="Expecting value"):
            list(iter_json(stream_of(text)))

    @pytest.mark.parametrize(
        "kind",
        ["ping", "PING", "Ping", "heartbeat", "HeartBeat", "keep-alive", "keep_alive", "keepAlive"],
    )
    async def test_a_heartbeat_is_passed_over_as_servers_spell_it(self, kind: str) -> None:
        """From: googleapis/java-genai#1084"""
        chunks = [encode("now", event=kind), encode("1", event=kind), encode("2")]

        assert [1, 2] == list(iter_json(chunks))
        assert [1, 2] == [each async for each in aiter_json(chunks)]

    def test_numbers_are_those_of_the_standard_library(self) -> None:
        """Logits are infinite, and identifiers long.

        From: sgl-project/sglang#4097, pydantic/jiter#120, ijl/orjson#53
        """
        texts = ['{"v":-Infinity}', "[Infinity]", "[NaN]", f"[{2**64},{-(2**63) - 1}]", "1e999"]

        assert repr([json.loads(text) for text in texts]) == repr(
            list(iter_json(stream_of(*texts)))
        )
        assert repr([json.loads(text) for text in texts]) == repr([Event(t).json() for t in texts])

    def test_what_the_providers_clients_pass_over_is_passed_over(self) -> None:
        """A stream as providers send it: BOM, comments, pings, empty data, and errors as objects.

        From: googleapis/java-genai#1084
        """
        raw = (
            b'\xef\xbb\xbf: hello\n\nevent: ping\ndata: 2026-11-29\n\nevent: ping\ndata: {"type":"ping"}\n\n'
            b'data:\n\nevent: error\ndata: {"error":{"a":1,"a":2}}\r\n\r\ndata: "\\ud83d"\n\n:\n\ndata:[DONE]\n\n'
        )

        assert [{"type": "ping"}, {"error": {"a": 2}}, "\ud83d"] == list(iter_json([raw]))


SURROGATES: list[tuple[Any, bytes]] = [
    ("a\ud83d", "data: a\ufffd\n\n".encode()),
    ("\ude00b", "data: \ufffdb\n\n".encode()),
    ("\ud83d\ude00", "data: 😀\n\n".encode()),
    ("\ud83d\ud83d\ude00", "data: \ufffd😀\n\n".encode()),
    ({"data": "\ud83d", "id": "1"}, "id: 1\ndata: \ufffd\n\n".encode()),
    (Event("\ud83d\nx", event="e"), "event: e\ndata: \ufffd\ndata: x\n\n".encode()),
    ("fine", b"data: fine\n\n"),
    (b"fine", b"data: fine\n\n"),
]


class TestSurrogates:
    """Tokens that a model has cut within a character.

    From: NousResearch/hermes-agent PR 84281
    """

    async def test_they_may_be_replaced(self) -> None:
        items = [item for item, _ in SURROGATES]
        blocks = [block for _, block in SURROGATES]

        answer = await fetch(EventSourceResponse(items, surrogates="replace"))

        assert blocks == list(iter_blocks(items, surrogates="replace"))
        for heartbeat in (None, 15.0):
            found = aiter_blocks(items, heartbeat=heartbeat, surrogates="replace")
            assert b"".join(blocks) == b"".join([block async for block in found])
        assert b"".join(blocks) == answer.body.removeprefix(b":\n\n")

    def test_in_json_they_are_replaced_too(self) -> None:
        items = [{"token": "a\ud83d"}, "\ude00", Event("\ud83d"), float("nan")]

        found = iter_blocks(items, json=True, surrogates="replace")

        assert [
            'data: {"token":"a\ufffd"}\n\n'.encode(),
            'data: "\ufffd"\n\n'.encode(),
            "data: \ufffd\n\n".encode(),
            b"data: null\n\n",
        ] == list(found)

    @pytest.mark.parametrize(
        "item", ["\ud83d", {"data": "\ud83d"}, {"event": "\ud83d", "data": "a"}]
    )
    def test_otherwise_and_elsewhere_they_are_refused(self, item: Any) -> None:
        with pytest.raises(InvalidField):
            list(iter_blocks([item]))
        if not isinstance(item, str) and "event" in item:
            with pytest.raises(InvalidField):
                list(iter_blocks([item], surrogates="replace"))
        with pytest.raises(ValueError, match="'refuse' or 'replace'"):
            EventSourceResponse([], surrogates="ignore")  # type: ignore[arg-type]


async def test_a_first_block_comes_before_the_first_item() -> None:
    """Firefox, daphne and Node's proxies wait for a first byte.

    From: review of proxies, surprises 2 and 3
    """
    go_on = asyncio.Event()

    async def items() -> AsyncIterator[str]:
        await go_on.wait()
        yield "a"

    async with open_stream(EventSourceResponse(items())) as stream:
        assert b":\n\n" == await stream.chunk()
        go_on.set()
        assert b"data: a\n\n" == await stream.chunk()
    for heartbeat in (None, 15.0):
        blocks = aiter_blocks(items(), heartbeat=heartbeat, opening=True)
        assert [b":\n\n", b"data: a\n\n"] == [block async for block in blocks]
    assert [b":\n\n", b"data: a\n\n"] == list(iter_blocks(["a"], opening=True))


class Blocking:
    """A sync generator that blocks between two items, and what it saw."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.ran_in: list[int] = []
        self.closed_in: list[int] = []
        self.seen: list[str] = []

    def items(self) -> Iterator[str]:
        self.ran_in.append(threading.get_ident())
        self.seen.append(VARIABLE.get())
        try:
            yield "a"
            self.reached.set()
            self.go_on.wait(DEADLINE)
            yield "b"
        finally:
            self.seen.append(VARIABLE.get())
            self.closed_in.append(threading.get_ident())


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class TestABlockingGenerator:
    """A plain generator that blocks once stood in the way of every other request.

    From: unslothai/unsloth#6465, overcat/requests-sse#27
    """

    async def test_the_loop_goes_on_and_so_do_heartbeats(self) -> None:
        blocking = Blocking()
        VARIABLE.set("the request's")
        reasons: list[str] = []
        answer = EventSourceResponse(blocking.items(), heartbeat=0.02, on_close=reasons.append)

        async with open_stream(answer) as stream:
            blocks = [await stream.block() for _ in range(4)]
            blocking.go_on.set()
            rest = await stream.rest()

        assert [b":\n\n", b"data: a\n\n", b":\n\n", b":\n\n"] == blocks
        assert rest.endswith(b"data: b\n\n")
        assert ["finished"] == reasons
        assert ["the request's"] * 2 == blocking.seen
        assert blocking.ran_in == blocking.closed_in
        assert threading.get_ident() not in blocking.ran_in

    async def test_it_is_closed_in_its_thread_before_on_close_when_the_client_leaves(self) -> None:
        blocking = Blocking()
        told: list[tuple[str, list[int]]] = []
        answer = EventSourceResponse(
            blocking.items(), on_close=lambda reason: told.append((reason, [*blocking.closed_in]))
        )

        async with open_stream(answer) as stream:
            assert b"data: a\n\n" in await stream.block() + await stream.block()
            await until(blocking.reached.is_set)
            stream.disconnect()
            await turns()
            before = [*told]
            blocking.go_on.set()
            await stream.ended()

        assert [] == before
        assert [("disconnected", blocking.ran_in)] == told

    async def test_heartbeats_come_from_aiter_blocks_too(self) -> None:
        blocking = Blocking()
        found: list[bytes] = []

        async with contextlib.aclosing(aiter_blocks(blocking.items(), heartbeat=0.02)) as blocks:
            async for block in blocks:
                found.append(block)
                if len(found) == 3:
                    blocking.go_on.set()

        assert [b"data: a\n\n", b":\n\n", b":\n\n"] == found[:3]
        assert b"data: b\n\n" == found[-1]
        assert blocking.ran_in == blocking.closed_in

    @pytest.mark.parametrize("kind", ["aiter_blocks", "in_thread"])
    async def test_a_consumer_that_leaves_does_not_wait_for_a_step(self, kind: str) -> None:
        blocking = Blocking()
        iterator: Any = in_thread(blocking.items())
        if kind == "aiter_blocks":
            iterator = aiter_blocks(blocking.items())

        async with asyncio.timeout(DEADLINE / 2), contextlib.aclosing(iterator):
            await anext(iterator)
            step = asyncio.ensure_future(anext(iterator))
            await until(blocking.reached.is_set)
            step.cancel()
            await asyncio.wait([step])
        before = [*blocking.closed_in]
        blocking.go_on.set()
        await until(lambda: bool(blocking.closed_in))

        assert [] == before
        assert 1 == len(blocking.closed_in)

    async def test_one_that_never_waits_leaves_in_large_chunks(self) -> None:
        chunks: list[int] = []

        async def send(message: Any) -> None:
            chunks.append(len(message.get("body", b"")))

        answer = EventSourceResponse("x" * 10 for _ in range(50_000))
        await answer(SCOPE, asyncio.Event().wait, send)  # type: ignore[arg-type]

        assert len(encode("x" * 10)) * 50_000 + 3 == sum(chunks)
        assert len(chunks) < 5_000  # how many depends on the turns that two threads take

    @pytest.mark.parametrize(
        "items", [["a"], ("a",), {"a"}, {"a": 1}.keys(), {1: "a"}.values(), deque("a"), range(1)]
    )
    async def test_a_collection_needs_no_thread(self, items: Any) -> None:
        before = threading.active_count()

        await fetch(EventSourceResponse(items, json=True))

        assert before >= threading.active_count()

    async def test_threads_are_bounded_and_the_next_stream_waits_for_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_threads, "MAX_THREADS", 2)
        monkeypatch.setattr(_bridge, "threads", _threads.Threads())
        three = [Blocking() for _ in range(3)]
        answers = [EventSourceResponse(each.items(), heartbeat=0.02) for each in three]

        async with (
            open_stream(answers[0]) as first,
            open_stream(answers[1]) as second,
            open_stream(answers[2]) as third,
        ):
            await until(lambda: three[0].reached.is_set() and three[1].reached.is_set())
            heartbeats = [await third.block() for _ in range(3)]
            three[0].go_on.set()
            await first.ended()
            three[2].go_on.set()
            rest = await third.rest()
            three[1].go_on.set()
            await second.ended()

        assert [b":\n\n"] * 3 == heartbeats
        assert rest.endswith(b"data: a\n\ndata: b\n\n")
        assert [[1]] * 3 == [[len(each.closed_in)] for each in three]

    async def test_one_that_waits_for_a_thread_is_closed_when_its_client_leaves(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_threads, "MAX_THREADS", 1)
        monkeypatch.setattr(_bridge, "threads", _threads.Threads())
        two = [Blocking(), Blocking()]
        reasons: list[str] = []
        late = EventSourceResponse(two[1].items(), on_close=reasons.append)

        async with open_stream(EventSourceResponse(two[0].items())):
            await until(two[0].reached.is_set)
            async with open_stream(late) as stream:
                stream.disconnect()
                await stream.ended()
            two[0].go_on.set()

        assert ["disconnected"] == reasons
        assert [] == two[1].ran_in

    async def test_what_it_raises_before_its_first_item_can_be_a_500(self) -> None:
        def items() -> Iterator[str]:
            raise KeyError("at once")
            yield "never"

        answer = EventSourceResponse(items(), wait_first=True)

        async with open_stream(answer, wait=False) as stream:
            with pytest.raises(KeyError, match="at once"):
                await stream.ended()
            assert 0 == stream.status


BLOCKED = """
import threading
from fastsse import EventSourceResponse, aiter_blocks, in_thread

def blocked():
    yield "a"
    threading.Event().wait()

KINDS = {"/items": blocked, "/in_thread": lambda: in_thread(blocked()), "/blocks": lambda: blocks()}

async def blocks():
    from fastsse import Block
    async for block in aiter_blocks(blocked()):
        yield Block(block)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            step = (await receive())["type"]
            await send({"type": step + ".complete"})
            if step == "lifespan.shutdown":
                return
    items = KINDS.get(scope["path"], list)()
    await EventSourceResponse(items)(scope, receive, send)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals end the servers")
@pytest.mark.parametrize("serve", [serve_uvicorn, serve_granian], ids=["uvicorn", "granian"])
async def test_a_server_with_blocked_generators_answers_and_ends(
    serve: Any, tmp_path: Path
) -> None:
    """Neither other requests nor the end of the process wait for a thread that blocks.

    From: unslothai/unsloth#6465
    """
    pytest.importorskip(serve.__name__.removeprefix("serve_"))
    (tmp_path / "blocked.py").write_text(BLOCKED)
    clients = Clients()

    with serve(app="blocked:app", PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}") as server:
        open_ones = [
            await clients.follow(server, path) for path in ("/items", "/in_thread", "/blocks")
        ]
        meanwhile = await asyncio.to_thread(server.request, "GET", "/other")
        server.signal(signal.SIGTERM)
        bodies = [await stream.to_the_end() for stream in open_ones]
        await asyncio.to_thread(server.process.wait, DEADLINE)
    await clients.close()

    assert (200, b":\n\n") == (meanwhile.status, meanwhile.body)
    assert all(body.endswith(b"0\r\n\r\n") for body in bodies)


BODY = [b"a" * 10, b"b" * 100_000, b"", b"c"]


async def pieces(gate: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    """Make a body that comes piece by piece, the last piece when the test lets it."""
    for piece in BODY[:-1]:
        await asyncio.sleep(0)
        yield piece
    if gate is not None:
        await gate.wait()
    yield BODY[-1]


async def by_stream(request: Any) -> AsyncIterator[str]:
    async for chunk in request.stream():
        yield str(len(chunk))
        await asyncio.sleep(0)


async def by_body(request: Any) -> AsyncIterator[str]:
    await asyncio.sleep(0.01)
    yield str(len(await request.body()))


async def by_another(request: Any) -> AsyncIterator[str]:
    async for each in by_stream(request):
        yield each


class ByObject:
    """Items that are an object which has the request."""

    def __init__(self, request: Any) -> None:
        self.request = request

    async def __aiter__(self) -> AsyncIterator[str]:
        async for each in by_stream(self.request):
            yield each


WAYS: dict[str, Callable[[Any], Any]] = {
    "stream": by_stream,
    "body": by_body,
    "another": by_another,
    "object": ByObject,
    "blocks": lambda request: aiter_blocks(by_stream(request), heartbeat=None, opening=True),
}


def reading_app(way: str, *, middleware: Any = (), before: int = 0) -> Any:
    """Make a Starlette application whose items read the request's body, perhaps after a part was read."""
    applications = pytest.importorskip("starlette.applications")
    from starlette.routing import Route

    async def endpoint(request: Any) -> Any:
        items: Any = WAYS[way](request)
        if before:
            stream = request.stream()
            for _ in range(before):
                await anext(stream)
            items = (str(len(chunk)) async for chunk in stream)
        return EventSourceResponse(items)

    route = Route("/read", endpoint, methods=["GET", "POST"])
    return applications.Starlette(routes=[route], middleware=middleware)


def total(body: bytes) -> int:
    return sum(int(event.data) for event in decode(body) if event.data.isdigit())


class TestItemsThatReadTheirRequest:
    """The stream's listener once swallowed the body of a request that its items read.

    From: a2aproject/a2a-python#431, dhyansraj/mcp-mesh PR 1038
    """

    @pytest.mark.parametrize("sends", ["granian", "wrapped"])
    @pytest.mark.parametrize("way", [way for way in WAYS if way != "blocks"])
    async def test_they_get_all_of_it(self, way: str, sends: Any) -> None:
        app = reading_app(way)

        async with open_stream(app, "/read", method="POST", body=pieces(), sends=sends) as stream:
            body = await stream.rest()

        assert sum(map(len, BODY)) == total(body)

    async def test_what_was_not_read_before_is_read_by_them(self) -> None:
        app = reading_app("stream", before=2)

        async with open_stream(app, "/read", method="POST", body=pieces()) as stream:
            assert 1 == total(await stream.rest())

    async def test_the_body_of_a_get_is_empty(self) -> None:
        async with open_stream(reading_app("body"), "/read") as stream:
            assert b"data: 0\n\n" in await stream.rest()

    async def test_a_client_that_leaves_meanwhile_is_noticed_by_both(self) -> None:
        gate = asyncio.Event()
        app = reading_app("stream")

        async with open_stream(app, "/read", method="POST", body=pieces(gate)) as stream:
            while b"100000" not in await stream.block():
                pass
            stream.disconnect()
            await stream.ended()

    async def test_a_body_that_nobody_reads_does_not_hide_a_client_that_leaves(self) -> None:
        async def items(request: Any) -> AsyncIterator[str]:
            yield request.method
            await asyncio.Event().wait()

        async def large() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b"x" * 2**16

        WAYS["ignored"] = items
        try:
            app = reading_app("ignored")
            async with open_stream(app, "/read", method="POST", body=large()) as stream:
                assert b"POST" in await stream.block() + await stream.block()
                await turns(200)
                stream.disconnect()
                await stream.ended()
        finally:
            del WAYS["ignored"]

    async def test_a_part_that_was_dropped_is_an_error_that_says_so(self) -> None:
        go_on = asyncio.Event()

        async def late(request: Any) -> AsyncIterator[str]:
            yield "a"
            await go_on.wait()
            async for _ in request.stream():
                yield "b"

        async def large() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b"x" * 2**16

        WAYS["late"] = late
        try:
            app = reading_app("late")
            async with open_stream(app, "/read", method="POST", body=large()) as stream:
                await stream.block()
                await turns(200)
                go_on.set()
                with pytest.raises(RuntimeError, match="the request's body is lost"):
                    await stream.rest()
        finally:
            del WAYS["late"]

    async def test_items_that_call_receive_themselves_are_told_what_is_wrong(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def items() -> AsyncIterator[str]:
                yield str(len((await receive())["body"]))

            await EventSourceResponse(items())(scope, receive, send)

        async with open_stream(app, method="POST", body=b"abc") as stream:
            with pytest.raises(RuntimeError, match="read the body first"):
                await stream.rest()

    async def test_middleware_that_wraps_receive_makes_no_difference(self) -> None:
        middleware = pytest.importorskip("starlette.middleware")
        from starlette.middleware.base import BaseHTTPMiddleware

        async def dispatch(request: Any, call_next: Any) -> Any:
            return await call_next(request)

        stack = [middleware.Middleware(BaseHTTPMiddleware, dispatch=dispatch)]
        app = reading_app("stream", middleware=stack)

        async with open_stream(app, "/read", method="POST", body=pieces()) as stream:
            assert sum(map(len, BODY)) == total(await stream.rest())


READING = """
import asyncio
from fastapi import FastAPI, Request
from fastsse import EventSourceResponse

app = FastAPI()
left = []

async def items(request):
    async for chunk in request.stream():
        yield str(len(chunk))
        await asyncio.sleep(0.001)

@app.post("/stream")
async def stream(request: Request):
    return EventSourceResponse(items(request), on_close=left.append)

@app.post("/body")
async def body(request: Request):
    async def items():
        await asyncio.sleep(0.05)
        yield str(len(await request.body()))
    return EventSourceResponse(items(), on_close=left.append)

@app.get("/left")
async def closed():
    return left

@app.get("/health")
async def health():
    return "ok"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals end the servers")
@pytest.mark.parametrize(
    "serve",
    [serve_uvicorn, serve_granian, serve_hypercorn],
    ids=["uvicorn", "granian", "hypercorn"],
)
async def test_items_read_a_body_under_a_real_server(serve: Any, tmp_path: Path) -> None:
    """A body that comes slowly, and one whose client leaves in the middle of it.

    From: a2aproject/a2a-python#431
    """
    pytest.importorskip(serve.__name__.removeprefix("serve_"))
    pytest.importorskip("fastapi")
    (tmp_path / "reading.py").write_text(READING)
    clients = Clients()
    found: list[int] = []

    with serve(app="reading:app", PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}") as server:
        for path in ("/stream", "/body"):
            head = f"POST {path} HTTP/1.1\r\nContent-Length: 300000\r\nConnection: close"
            one = await clients.connect(server, head, b"a" * 100_000)
            for _ in range(2):
                await asyncio.sleep(0.02)  # so that the server reads it in parts
                one.writer.write(b"a" * 100_000)
                await one.writer.drain()
            raw = await one.to_the_end()
            found.append(total(unchunk(raw.partition(b"\r\n\r\n")[2])[0]))
        head = "POST /stream HTTP/1.1\r\nContent-Length: 300000"
        leaving = await clients.connect(server, head, b"a" * 1000)
        await leaving.start()
        await leaving.close()
        await asyncio.to_thread(
            wait_for, lambda: len(server.request("GET", "/left").json) == 3, DEADLINE
        )
    await clients.close()

    assert [300_000, 300_000] == found
