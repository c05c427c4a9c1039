"""An ASGI response whose parts are taken, without a framework."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastsse import EventSourceResponse
from fastsse.adapters._pull import Pull, parts_of, plain_scope


async def test_a_wait_for_the_start_that_is_cancelled_closes_the_items() -> None:
    reasons: list[str] = []
    response = EventSourceResponse(silence(), wait_first=True, on_close=reasons.append)
    waiting = asyncio.create_task(Pull(response, plain_scope()).start())
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert ["disconnected"] == reasons


async def test_a_body_that_nobody_takes_is_left_from_any_thread() -> None:
    reasons: asyncio.Queue[str] = asyncio.Queue()
    pull = Pull(EventSourceResponse(silence(), on_close=reasons.put), plain_scope())
    await pull.start()

    await asyncio.to_thread(pull.leave)

    assert "disconnected" == await reasons.get()


async def test_only_one_part_waits_to_be_taken() -> None:
    given = 0

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        nonlocal given
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            given += 1
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    pull = Pull(app, plain_scope())
    await pull.start()
    for _ in range(5):
        await asyncio.sleep(0)
    before = given
    parts = [part async for part in parts_of(pull)]

    assert (2, 3) == (before, given)
    assert [b"a", b"a", b"a"] == parts


async def test_a_body_without_its_end_is_an_error() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})

    pull = Pull(app, plain_scope())

    with pytest.raises(ConnectionResetError, match="without the proper end"):
        [part async for part in parts_of(pull)]


async def test_a_response_that_answers_nothing_is_an_error() -> None:
    async def app(*_: Any) -> None:
        pass

    with pytest.raises(RuntimeError, match="without an answer"):
        await Pull(app, plain_scope()).start()


async def silence() -> AsyncIterator[str]:
    await asyncio.Event().wait()
    yield ""
