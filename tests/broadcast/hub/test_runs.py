"""Runs: items that go on whoever is connected, bounded in every way, and always with an end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib.util
import json
import logging
import random
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.driver import fetch, open_stream, turns
from support.hubs import data, follow, opened, started
from support.stores import ScriptedStore

from fastsse import Block, Event, InvalidField, decode
from fastsse.broadcast import Hub, HubClosed, Run, TooManyRuns, TopicEnded


async def words(count: int, pause: float = 0.0) -> AsyncIterator[str]:
    for n in range(count):
        await asyncio.sleep(pause)
        yield f"{n} "


class Endless:
    """Items that come until they are cancelled.

    Attributes:
        closed: done when they are, with the task in which that was.
    """

    def __init__(self) -> None:
        self.closed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.begun: Any = None

    async def __aiter__(self) -> AsyncIterator[str]:
        self.begun = asyncio.current_task()
        try:
            while True:
                yield "x"
                await asyncio.sleep(0.001)
        finally:
            await asyncio.sleep(0)
            self.closed.set_result(asyncio.current_task())


async def all_of(hub: Hub, topic: str) -> list[Event]:
    """Follow a topic from its beginning to its end."""
    async with hub.subscribe(topic, last_event_id="earliest") as events:
        return [event async for event in events]


def reason_of(events: list[Event]) -> Any:
    assert "end" == events[-1].event
    return events[-1].json()["reason"]


async def test_a_run_publishes_its_items_and_ends_its_topic() -> None:
    async with started() as hub:
        run = hub.run("run", words(3))
        assert ("run", "", True) == (run.topic, run.reason, hub.running("run"))

        assert "finished" == await run.wait() == run.reason
        events = await all_of(hub, "run")

        assert ["0 ", "1 ", "2 "] == data(events[:-1])
        assert "finished" == reason_of(events)
        assert (False, True, 0) == (hub.running("run"), hub.ended("run"), hub.open_runs)
        assert {"finished": 1} == hub.stats.runs


async def test_the_run_goes_on_when_the_request_that_began_it_is_cancelled() -> None:
    async with started() as hub:

        async def endpoint() -> None:
            async with asyncio.timeout(0.01):
                hub.run("run", words(50, 0.001))
                await asyncio.sleep(10)

        with pytest.raises(TimeoutError):
            await endpoint()

        events = await all_of(hub, "run")

    assert 51 == len(events)


async def test_a_run_is_a_response_that_shows_it_from_its_beginning() -> None:
    async with started() as hub:
        run = await hub.run("run", words(3))
        assert isinstance(run, Run)
        await run.wait()

        async with open_stream(run) as stream:
            body = await stream.rest()
        assert ["0 ", "1 ", "2 "] == data(decode(body)[:-1])
        again = await fetch(run, headers={"Last-Event-ID": decode(body)[-1].id})
        assert 204 == again.status


async def test_a_run_whose_handle_is_let_go_goes_on() -> None:
    async with started() as hub:
        hub.run("run", words(3, 0.001))
        assert "finished" == reason_of(await all_of(hub, "run"))


@pytest.mark.parametrize(
    ("item", "options", "expected"),
    [
        ("text\nof lines", {}, Event("text\nof lines")),
        (b"bytes", {}, Event("bytes")),
        (Event("x", event="word", id="77", retry=5), {}, Event("x", event="word", retry=5)),
        ({"data": "x", "event": "word", "id": "7", "comment": "no"}, {}, Event("x", event="word")),
        ({"n": 1}, {"json": True}, Event('{"n":1}')),
        ({"n": "\u2028"}, {"json": True, "line_separators": "escape"}, Event('{"n":"\\u2028"}')),
        ("\ud83d", {"surrogates": "replace"}, Event("\ufffd")),
        (Block(b": c\ndata:x\rid: 9\r\r"), {}, Event("x")),
    ],
)
async def test_items_are_those_of_a_response_and_ids_are_the_hubs(
    item: Any, options: Any, expected: Event
) -> None:
    async with started() as hub:
        run = hub.run("run", [item], **options)
        await run.wait()

        [event, _] = await all_of(hub, "run")

    assert expected.data == event.data
    assert expected.event == event.event
    assert expected.retry == event.retry
    assert event.id.endswith("-1")


async def test_blocks_of_several_events_and_of_none() -> None:
    async with started() as hub:
        run = hub.run("run", [Block(b"data: 1\n\ndata: 2\n\n"), Block(b":\n\n")])

        assert "finished" == await run.wait()
        assert ["1", "2"] == data(await all_of(hub, "run"))[:-1]


@pytest.mark.parametrize(
    "item",
    [
        "\ud800",
        object(),
        Event("x", event="end"),
        Event("x", event="gap"),
        Block(b"data: x\n"),
        "x" * 3000,
        {"data": "x" * 3000, "event": "word"},
        Event("x", retry=10**9),
    ],
)
async def test_an_item_that_cannot_be_published_fails_the_run(
    item: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    async with started(max_event_size=1000) as hub:
        run = hub.run("run", ["1", item])

        assert "failed" == await run.wait()
        assert ["1"] == data(await all_of(hub, "run"))[:-1]
    assert "a run has failed: topic 'run'" in caplog.text


async def test_nothing_of_an_exception_reaches_a_reader(caplog: pytest.LogCaptureFixture) -> None:
    async def items() -> AsyncIterator[str]:
        yield "1"
        raise ValueError("secret")

    async with started() as hub, follow(hub, "run") as stream:
        await opened(stream)
        hub.run("run", items())

        body = await stream.rest()

    assert "failed" == reason_of(decode(body))
    assert b"secret" not in body
    assert "secret" in caplog.text


# Sync items.


async def test_a_sync_generator_runs_in_threads_and_is_closed() -> None:
    here, seen = threading.get_ident(), set()

    def items() -> Iterator[str]:
        try:
            for n in range(3):
                seen.add(threading.get_ident())
                yield str(n)
        finally:
            seen.add("closed")  # type: ignore[arg-type]

    async with started() as hub:
        await hub.run("run", items()).wait()
        assert ["0", "1", "2"] == data(await all_of(hub, "run"))[:-1]

    assert here not in seen
    assert "closed" in seen


# One task, one context.


async def test_items_are_iterated_and_closed_in_one_task_in_the_callers_context() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    seen: list[Any] = []

    async def items() -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(60):
                for _ in range(3):
                    seen.append((name.get(), asyncio.current_task()))
                    yield "x"
        finally:
            seen.append((name.get(), asyncio.current_task()))

    async with started() as hub:
        name.set("caller")
        run = hub.run("run", items())
        name.set("later")
        await run.wait()

    assert 4 == len(seen)
    assert 1 == len(set(seen))
    assert "caller" == seen[0][0]
    assert asyncio.current_task() is not seen[0][1]


# Bounds.


async def test_a_run_is_cancelled_after_its_seconds() -> None:
    async with started(run_seconds=60) as hub:
        items = Endless()
        run = hub.run("run", items, seconds=0.05)

        assert "timeout" == await run.wait()
        assert items.begun is await items.closed
        assert "timeout" == reason_of(await all_of(hub, "run"))


async def test_a_run_has_the_seconds_of_the_settings_unless_it_has_its_own() -> None:
    async with started(run_seconds=0.05) as hub:
        short, long = hub.run("short", Endless()), hub.run("long", Endless(), seconds=0)

        assert "timeout" == await short.wait()
        assert "" == long.reason


async def test_a_run_is_cancelled_when_its_events_take_too_much_and_all_of_them_are_kept() -> None:
    async with started(run_bytes=100_000, history_events=5, history_bytes=1000) as hub:
        items = Endless()
        run = hub.run("run", items)

        assert "size" == await run.wait()
        await items.closed
        events = await all_of(hub, "run")

    assert "size" == reason_of(events)
    assert {"x"} == set(data(events[:-1]))
    assert 400 < len(events) < 700


async def test_a_run_keeps_all_although_its_topic_had_events_before() -> None:
    async with started(history_events=5) as hub:
        await hub.publish("run", "before")
        await hub.run("run", words(20)).wait()

        assert 22 == len(await all_of(hub, "run"))


async def test_only_so_many_runs_go_on() -> None:
    async with started(max_runs=2) as hub:
        first, _ = hub.run("1", Endless()), hub.run("2", Endless())
        with pytest.raises(TooManyRuns, match="2 runs go on, as many as max_runs allows"):
            hub.run("3", words(1))
        await hub.cancel("1")

        assert "cancelled" == first.reason
        assert "finished" == await hub.run("3", words(1)).wait()
        assert {"refused": 1, "cancelled": 1, "finished": 1} == hub.stats.runs


async def test_a_topic_has_one_run_and_a_new_run_needs_a_new_name() -> None:
    async with started() as hub:
        run = hub.run("run", words(1))
        with pytest.raises(InvalidField, match="has a run that goes on"):
            hub.run("run", words(1))
        await run.wait()
        with pytest.raises(TopicEnded):
            hub.run("run", words(1))


@pytest.mark.parametrize(
    ("items", "options", "error"),
    [
        ("text", {}, TypeError),
        (None, {}, TypeError),
        ([], {"seconds": -1}, ValueError),
        ([], {"surrogates": "x"}, ValueError),
    ],
)
async def test_an_argument_that_is_wrong_is_refused_at_once(
    items: Any, options: Any, error: type[Exception]
) -> None:
    async with started() as hub:
        with pytest.raises(error):
            hub.run("run", items, **options)
        with pytest.raises(InvalidField):
            hub.run("", [])
        assert 0 == hub.open_runs


async def test_a_run_needs_a_hub_that_is_started() -> None:
    hub = Hub()
    with pytest.raises(RuntimeError, match="not started"):
        hub.run("run", [])
    assert not hub.running("run")


# Cancelled by topic.


async def test_a_run_is_cancelled_by_its_topic() -> None:
    async with started() as hub, follow(hub, "run") as stream:
        await opened(stream)
        items = Endless()
        hub.run("run", items)
        await stream.events(3)

        assert await hub.cancel("run")
        assert items.begun is items.closed.result()
        assert "cancelled" == reason_of(decode(await stream.rest()))
        assert not await hub.cancel("run")


@pytest.mark.parametrize(("given", "told"), [(None, "cancelled"), ("failed", "failed")])
async def test_to_end_the_topic_cancels_its_run_and_ends_it_once(
    given: str | None, told: str
) -> None:
    async with started() as hub:
        items = Endless()
        hub.run("run", items)
        await turns()
        receipt = await hub.end("run", reason=given)

        events = await all_of(hub, "run")
        assert items.closed.done()
        assert told == reason_of(events)
        assert receipt.id == events[-1].id
        assert 1 == [event.event for event in events].count("end")


async def test_the_end_of_another_process_cancels_the_run_here() -> None:
    store = ScriptedStore()
    async with started(store=store) as hub:
        items = Endless()
        run = hub.run("run", items)
        await turns()
        store.add("run", b'event: end\ndata: {"topic":"run","reason":"finished"}\n\n')

        assert "cancelled" == await run.wait()
        await items.closed
        assert "finished" == reason_of(await all_of(hub, "run"))


async def test_items_that_swallow_their_cancellation_are_stopped_at_the_next_one() -> None:
    async def items() -> AsyncIterator[str]:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
            yield "x"

    async with started() as hub:
        hub.run("run", items())
        await turns()
        await hub.cancel("run")

        assert "cancelled" == reason_of(await all_of(hub, "run"))


async def test_items_that_do_not_close_do_not_keep_the_end_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastsse.broadcast.hub.runs._PATIENCE", 0.05)
    free = asyncio.Event()

    async def items() -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await asyncio.sleep(0.01)
        finally:
            await free.wait()

    async with started() as hub:
        hub.run("run", items())
        await turns()
        await hub.cancel("run")

        assert "cancelled" == reason_of(await all_of(hub, "run"))
        free.set()


# Stores.


async def test_an_end_that_cannot_be_written_is_written_later(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastsse.broadcast.hub.runs._FIRST_WAIT", 0.01)
    store = ScriptedStore()
    async with started(store=store) as hub:
        run = hub.run("run", Endless())
        await turns()
        store.stall()
        async with asyncio.timeout(5):
            while "cannot be written" not in caplog.text:
                await asyncio.sleep(0.01)
        assert not hub.ended("run")
        store.recover()

        assert "failed" == await run.wait()
        assert "failed" == reason_of(await all_of(hub, "run"))


# Shutdown.


async def test_a_hub_that_stops_ends_its_runs_in_their_own_tasks() -> None:
    async with started() as hub:
        items = Endless()
        run = hub.run("run", items)
        stream = follow(hub, "run", "other")
        reader = await stream.__aenter__()
        await opened(reader)
        hub.drain()
        with pytest.raises(HubClosed):
            hub.run("late", words(1))

        body = await reader.rest()

    assert "shutdown" == run.reason
    assert items.begun is items.closed.result()
    assert "shutdown" == reason_of(decode(body))
    assert b": shutdown\n" in body
    await stream.__aexit__(None, None, None)


async def test_a_hub_that_stops_does_not_wait_for_items_that_never_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastsse.broadcast.hub.runs._HURRY", 0.05)
    monkeypatch.setattr("fastsse.broadcast.hub.runner._RUNS", 0.2)
    free = asyncio.Event()

    async def items() -> AsyncIterator[str]:
        try:
            yield "x"
            await asyncio.sleep(60)
        finally:
            await free.wait()

    async with started() as hub:
        hub.run("run", items())
        async with follow(hub, "run", last_event_id="earliest") as reader:
            await reader.events(1)
            async with asyncio.timeout(2):
                await hub.stop()
            assert "shutdown" == reason_of(decode(await reader.rest()))
    free.set()
    await turns()


# All of it.


async def test_a_hundred_readers_that_join_at_random_get_the_same() -> None:
    count, chance = 300, random.Random(13)

    async def read(hub: Hub, wait: float) -> list[Event]:
        """Follow the run from its beginning, leaving and coming back at random moments."""
        await asyncio.sleep(wait)
        events: list[Event] = []
        last: str | None = "earliest"
        while True:
            async with follow(hub, "run", last_event_id=last) as stream:
                if stream.status == 204:
                    return events
                try:
                    for _ in range(chance.randrange(1, 200)):
                        events += await stream.events(1)
                        last = events[-1].id
                        if events[-1].event == "end":
                            break
                finally:
                    stream.disconnect()

    async with started() as hub:
        hub.run("run", words(count, 0.001))
        readers = [read(hub, chance.random()) for _ in range(100)]
        streams = await asyncio.gather(*readers)

    [first, *others] = streams
    assert [f"{n} " for n in range(count)] == data(first[:-1])
    assert "finished" == json.loads(first[-1].data)["reason"]
    assert 1 == [event.event for event in first].count("end")
    assert all(first == other for other in others)


@pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="needs fastapi")
async def test_the_endpoint_of_the_page_on_runs_works_in_fastapi() -> None:
    from fastapi import FastAPI

    page = (Path(__file__).parents[3] / "docs" / "runs.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) - 1 <= 6, "lines, without the decorator"
    app = FastAPI()
    begun: list[str] = []

    def tokens(question: str) -> AsyncIterator[str]:
        begun.append(question)
        return words(3, 0.001)

    async with started() as hub:
        exec(code, {"app": app, "hub": hub, "tokens": tokens})
        query = {"question": "why"}
        async with open_stream(app, "/answers/1", query) as first:
            async with open_stream(app, "/answers/1", query) as second:
                events = decode(await first.rest())
                assert events == decode(await second.rest())
        async with open_stream(app, "/answers/1", query) as late:
            assert events == decode(await late.rest())
        last = {"Last-Event-ID": events[-1].id}
        assert 204 == (await fetch(app, "/answers/1", query, last)).status

    assert ["why"] == begun
    assert ["0 ", "1 ", "2 "] == data(events[:-1])
