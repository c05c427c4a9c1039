"""Another response in place of a stream: decided at the first item, in memory, in frameworks and under real servers."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from support.servers import ROOT, serve_granian, serve_uvicorn

from fastsse import EventSourceResponse
from fastsse.testing import fetch, open_stream

PATH = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
RESULT = {"jsonrpc": "2.0", "id": 1, "result": {}}
NEWS = {"jsonrpc": "2.0", "method": "notifications/progress"}


class Answer:
    """A response of plain ASGI: JSON with a status of its own."""

    def __init__(self, content: Any, status: int = 200) -> None:
        self.body = json.dumps(content).encode()
        self.status = status

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def when_it_is_a_result(item: Any) -> Answer | None:
    return Answer(item, 207) if item and "result" in item else None


class App:
    """An application whose requests are answered by `items`, or by one response at once."""

    def __init__(self, items: Any, **options: Any) -> None:
        self.items = items
        self.options = {"instead": when_it_is_a_result, "json": True, **options}
        self.log: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = EventSourceResponse(
            self.items(self.log), on_close=self.log.append, **self.options
        )
        await response(scope, receive, send)


async def one_result(log: list[str]) -> AsyncIterator[Any]:
    try:
        yield RESULT
        log.append("went on")
    finally:
        log.append("closed")


async def some_news(_log: list[str]) -> AsyncIterator[Any]:
    yield NEWS
    yield RESULT


async def nothing(_log: list[str]) -> AsyncIterator[Any]:
    return
    yield


def one_result_in_a_thread(log: list[str]) -> Iterator[Any]:
    try:
        yield RESULT
    finally:
        log.append("closed")


def a_list(_log: list[str]) -> list[Any]:
    return [RESULT]


async def test_a_first_item_may_be_answered_as_json_with_its_own_status() -> None:
    app = App(one_result)

    answer = await fetch(app)

    assert (207, RESULT) == (answer.status, json.loads(answer.body))
    assert "application/json" == answer.headers["content-type"]
    assert ["closed", "answered"] == app.log


async def test_other_first_items_are_streamed_and_later_ones_are_not_asked_about() -> None:
    answer = await fetch(App(some_news))

    lines = [json.loads(line[6:]) for line in answer.body.splitlines() if line]
    assert (200, [NEWS, RESULT]) == (answer.status, lines)


@pytest.mark.parametrize("items", [one_result_in_a_thread, a_list])
async def test_sync_items_are_asked_about_too(items: Any) -> None:
    app = App(items)

    answer = await fetch(app)

    assert (207, RESULT) == (answer.status, json.loads(answer.body))
    assert "answered" == app.log[-1]


async def test_items_that_end_at_once_can_be_answered_without_content() -> None:
    asked: list[Any] = []

    def instead(item: Any) -> Answer:
        asked.append(item)
        return Answer("", 204)

    answer = await fetch(App(nothing, instead=instead))

    assert ([None], 204) == (asked, answer.status)


async def test_a_stream_that_a_heartbeat_has_started_stays_a_stream() -> None:
    gate = asyncio.Event()

    async def slowly(_log: list[str]) -> AsyncIterator[Any]:
        await gate.wait()
        yield RESULT

    async with open_stream(App(slowly, heartbeat=0.02), wait=False) as stream:
        await stream.started()
        gate.set()
        block = await stream.block()
        while block == b":\n\n":
            block = await stream.block()

    assert RESULT == json.loads(block.removeprefix(b"data: "))


async def test_what_instead_raises_is_the_frameworks_to_answer() -> None:
    def instead(item: Any) -> None:
        raise LookupError(item)

    app = App(one_result, instead=instead)

    with pytest.raises(LookupError):
        await fetch(app)
    assert ["closed", "failed"] == app.log


async def test_anything_but_an_application_is_refused() -> None:
    with pytest.raises(
        TypeError, match="instead must return an ASGI application or None, not dict"
    ):
        await fetch(App(one_result, instead=lambda item: item))


async def test_an_exception_before_the_first_item_is_not_asked_about() -> None:
    async def failing(_log: list[str]) -> AsyncIterator[Any]:
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        await fetch(App(failing, instead=lambda _item: Answer("never")))


async def test_a_client_that_leaves_first_is_answered_nothing() -> None:
    app = App(lambda _log: never())

    async with open_stream(app, wait=False):
        pass

    assert ["disconnected"] == app.log


async def never() -> AsyncIterator[Any]:
    await asyncio.Event().wait()
    yield


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Serve the streams of this file by path; also the target of the real servers."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/health":
        await Answer({})(scope, receive, send)
        return
    found = {"/one": one_result, "/news": some_news, "/thread": one_result_in_a_thread}
    await App(found[scope["path"]])(scope, receive, send)


@pytest.mark.parametrize("serve", [serve_granian, serve_uvicorn])
def test_real_servers_send_either_answer(serve: Any) -> None:
    with serve(app="streams.test_instead:application", PYTHONPATH=PATH) as server:
        one = server.request("GET", "/one")
        thread = server.request("GET", "/thread")
        news = server.request("GET", "/news")

    assert (207, RESULT) == (one.status, one.json)
    assert (207, RESULT) == (thread.status, thread.json)
    assert 200 == news.status
    assert 2 == news.body.count(b"data: ")
