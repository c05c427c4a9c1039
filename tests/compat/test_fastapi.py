"""The names of `fastapi.sse`: the same bytes as FastAPI's own, served by us, in real applications."""

from __future__ import annotations

import asyncio
import enum
import inspect
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("fastapi")

import fastapi.sse as original
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from fastsse import Decoder, Event, InvalidField
from fastsse.compat import fastapi as compat
from fastsse.compat.fastapi import (
    KEEPALIVE_COMMENT,
    EventSourceResponse,
    ServerSentEvent,
    format_sse_event,
)
from fastsse.testing import fetch, open_stream


class Item(BaseModel):
    name: str
    price: float | None = Field(None, serialization_alias="thePrice")


class Colour(enum.Enum):
    RED = "red"


VALUES: list[Any] = [
    Item(name="a", price=1.5),
    {"name": "é", "n": 1},
    {"item": Item(name="a")},
    [1, 2.5, None, True, "x"],
    "text",
    "",
    0,
    None,
    float("nan"),
    {"x": float("inf"), 1: [float("-inf")]},
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    uuid.UUID(int=7),
    Decimal("1.10"),
    Colour.RED,
    {Colour.RED: {1, 2}},
    ("a", "b"),
]


def served(original_class: Any, values: Iterable[Any]) -> FastAPI:
    app = FastAPI()

    @app.get("/", response_class=original_class)
    async def items() -> Any:
        for value in values:
            yield value

    return app


class TestFormat:
    TEXTS = (None, "", "a", "a\nb", "a\r\nb\r", "\n", "é\u2028\x0b\x85", " a", "x" * 1000)

    def test_every_block_is_fastapis_byte_for_byte(self) -> None:
        for data in self.TEXTS:
            for comment in self.TEXTS:
                for line in (None, "", "e", " é"):
                    for retry in (None, 0, 3000):
                        fields: dict[str, Any] = {
                            "data_str": data,
                            "event": line,
                            "id": line,
                            "retry": retry,
                            "comment": comment,
                        }
                        assert original.format_sse_event(**fields) == format_sse_event(**fields)

    @pytest.mark.parametrize(
        "fields",
        [
            {"event": "e\ndata: evil"},
            {"event": "e\r"},
            {"id": "1\nevent: evil"},
            {"id": "1\x002"},
            {"retry": -1},
            {"data_str": "\ud800"},
        ],
    )
    def test_a_field_that_would_be_another_one_is_refused(self, fields: dict[str, Any]) -> None:
        with pytest.raises(InvalidField):
            format_sse_event(**fields)

    @pytest.mark.parametrize(
        "fields", [{"event": 1}, {"id": 1}, {"retry": 1.5}, {"retry": "1\ndata: evil"}]
    )
    def test_a_field_of_another_type_is_refused(self, fields: dict[str, Any]) -> None:
        with pytest.raises(TypeError):
            format_sse_event(**fields)

    def test_the_signature_is_fastapis(self) -> None:
        ours, theirs = (
            [(one.name, one.kind, one.default) for one in inspect.signature(f).parameters.values()]
            for f in (format_sse_event, original.format_sse_event)
        )

        assert theirs == ours
        assert original.KEEPALIVE_COMMENT == KEEPALIVE_COMMENT


class TestServerSentEvent:
    def test_the_fields_are_fastapis(self) -> None:
        assert [*original.ServerSentEvent.model_fields] == [*ServerSentEvent.model_fields]

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"event": "a\nb"}, "SSE 'event' must be a single line"),
            ({"id": "a\rb"}, "SSE 'id' must be a single line"),
            ({"id": "a\0"}, "null characters"),
            ({"retry": -1}, "greater than or equal to 0"),
            ({"retry": 1.5}, "integer"),
            ({"data": 1, "raw_data": "1"}, "Cannot set both"),
        ],
    )
    def test_a_wrong_field_is_refused(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            ServerSentEvent(**fields)

    async def test_a_field_that_was_set_later_injects_nothing(self) -> None:
        event = ServerSentEvent(data="a")
        event.event = "e\ndata: evil"

        with pytest.raises(InvalidField):
            await fetch(EventSourceResponse([event]))


class TestBytes:
    @pytest.mark.parametrize("value", VALUES, ids=repr)
    async def test_a_value_is_written_as_fastapi_writes_it(self, value: Any) -> None:
        ours = await fetch(served(EventSourceResponse, [value]))
        theirs = await fetch(served(original.EventSourceResponse, [value]))

        if isinstance(value, Item):  # FastAPI's are compact where the endpoint has an annotation
            assert b'data: {"name":"a","thePrice":1.5}\n\n' == ours.body
        else:
            assert theirs.body == ours.body

    @pytest.mark.parametrize("value", VALUES, ids=repr)
    async def test_an_events_data_is_written_as_fastapi_writes_it(self, value: Any) -> None:
        fields = {"data": value, "event": "e", "id": "1", "retry": 5, "comment": "c"}

        ours = await fetch(served(EventSourceResponse, [ServerSentEvent(**fields)]))
        theirs = await fetch(
            served(original.EventSourceResponse, [original.ServerSentEvent(**fields)])
        )

        assert theirs.body == ours.body

    async def test_an_event_of_fastapis_own_class_is_written_too(self) -> None:
        answer = await fetch(
            served(EventSourceResponse, [original.ServerSentEvent(raw_data="<b>", event="html")])
        )

        assert b"event: html\ndata: <b>\n\n" == answer.body

    async def test_blocks_and_events_of_ours_pass(self) -> None:
        answer = await fetch(served(EventSourceResponse, [b": x\n\n", Event("a", id="1")]))

        assert b": x\n\nid: 1\ndata: a\n\n" == answer.body

    async def test_the_headers_are_fastapis(self) -> None:
        ours = await fetch(served(EventSourceResponse, []))
        theirs = await fetch(served(original.EventSourceResponse, []))

        assert {**theirs.headers, "incremental": "?1"} == ours.headers
        assert (200, b"") == (ours.status, ours.body)

    async def test_an_annotated_endpoint_gives_fastapis_bytes(self) -> None:
        bodies = []
        for kind in (EventSourceResponse, original.EventSourceResponse):
            app = FastAPI()

            @app.get("/", response_class=kind)
            async def items() -> AsyncIterable[Item]:
                yield Item(name="a", price=2)
                yield Item(name="b")

            bodies.append((await fetch(app)).body)

        assert bodies[1] == bodies[0]


class TestApplications:
    def app(self) -> FastAPI:
        app = FastAPI()
        self.closed: list[str] = []
        self.tasks: set[Any] = set()

        async def session() -> AsyncIterator[str]:
            yield "session"
            self.closed.append("session")

        @app.get("/sync", response_class=EventSourceResponse)
        def sync() -> Iterable[Item]:
            yield from (Item(name=name) for name in "ab")

        @app.post("/echo", response_class=EventSourceResponse, status_code=201)
        async def echo(item: Item) -> Any:
            yield item

        def mine(response: Response) -> None:
            response.headers["x-mine"] = "1"

        @app.get("/body", response_class=EventSourceResponse, dependencies=[Depends(mine)])
        async def body(request: Request) -> Any:
            yield request.url.path

        @app.get("/endless", response_class=EventSourceResponse)
        async def endless(held: str = Depends(session)) -> Any:
            try:
                self.tasks.add(asyncio.current_task())
                yield held
                self.tasks.add(asyncio.current_task())
                await asyncio.Event().wait()
            finally:
                self.tasks.add(asyncio.current_task())
                self.closed.append("items")

        @app.get("/returned")
        async def returned() -> EventSourceResponse:
            return EventSourceResponse([Item(name="a")], headers={"X-A": "b"})

        return app

    async def test_a_sync_endpoint_may_yield(self) -> None:
        answer = await fetch(self.app(), "/sync")

        assert ["a", "b"] == [
            Item.model_validate_json(event.data).name for event in Decoder().feed(answer.body)
        ]

    async def test_a_post_may_stream(self) -> None:
        headers = {"content-type": "application/json"}

        answer = await fetch(
            self.app(), "/echo", headers=headers, method="POST", body=b'{"name":"x"}'
        )

        assert (201, b'data: {"name":"x","thePrice":null}\n\n') == (answer.status, answer.body)

    async def test_wrong_input_is_answered_before_the_stream(self) -> None:
        headers = {"content-type": "application/json"}

        answer = await fetch(self.app(), "/echo", headers=headers, method="POST", body=b"{}")

        assert 422 == answer.status

    async def test_headers_of_a_dependency_are_sent(self) -> None:
        answer = await fetch(self.app(), "/body")

        assert ("1", b'data: "/body"\n\n') == (answer.headers["x-mine"], answer.body)

    async def test_a_response_may_be_returned(self) -> None:
        answer = await fetch(self.app(), "/returned")

        assert ("b", "no-cache") == (answer.headers["x-a"], answer.headers["cache-control"])
        assert b'data: {"name":"a","thePrice":null}\n\n' == answer.body

    async def test_the_items_run_in_one_task_and_end_with_the_client(self) -> None:
        app = self.app()
        async with open_stream(app, "/endless") as stream:
            assert b'data: "session"\n\n' == await stream.block()

        assert (["items", "session"], 1) == (self.closed, len(self.tasks))

    async def test_a_comment_fills_the_silence(self) -> None:
        class Fast(EventSourceResponse):
            ping_interval = 0.01

        app = FastAPI()

        @app.get("/", response_class=Fast)
        async def items() -> Any:
            yield 1
            await asyncio.Event().wait()

        async with open_stream(app) as stream:
            assert [b"data: 1\n\n", b": ping\n\n", b": ping\n\n"] == [
                await stream.block() for _ in range(3)
            ]

    async def test_items_that_are_ready_leave_together(self) -> None:
        async with open_stream(served(EventSourceResponse, range(100))) as stream:
            first = await stream.chunk()

        assert 10 < first.count(b"\n\n")

    def test_the_type_of_items_can_be_documented(self) -> None:
        app = FastAPI()

        @app.get("/", response_class=EventSourceResponse, responses={200: {"model": Item}})
        async def items() -> AsyncIterable[Item]:
            yield Item(name="a")

        content = app.openapi()["paths"]["/"]["get"]["responses"]["200"]["content"]

        assert "#/components/schemas/Item" == content["text/event-stream"]["schema"]["$ref"]

    def test_another_media_type_is_refused(self) -> None:
        with pytest.raises(ValueError, match="text/event-stream"):
            EventSourceResponse([], media_type="application/json")


def test_the_module_does_not_import_fastapi() -> None:
    assert "fastapi" not in vars(compat)
