"""Topics that a request ends: DELETE, and ``end=1`` after what is published."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from support.posts import FORM, STREAM, Pipe, broadcast, following, post, posting
from support.stores import ScriptedStore

from fastsse import decode
from fastsse.broadcast import Hub, Settings
from fastsse.broadcast.app import Broadcast, create_app
from fastsse.testing import Answer, fetch, lifespan, open_stream


async def delete(app: Broadcast, query: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await fetch(app, "/events", query, named, "DELETE")


def reasons(body: bytes) -> list[tuple[str, str]]:
    """List topic and reason of each end in a stream."""
    ends = [event.json() for event in decode(body) if event.event == "end"]
    return [(end["topic"], end["reason"]) for end in ends]


async def test_a_topic_is_ended_by_delete_and_once() -> None:
    async with broadcast() as app, following(app, "run") as reader:
        first = await delete(app, "topic=run")
        second = await delete(app, "topic=run&reason=failed")

        body = await reader.rest()
        assert (200, 200) == (first.status, second.status)
        assert json.loads(first.body) == json.loads(second.body)
        assert {"topics": ["run"], "ends": [decode(body)[-1].id]} == json.loads(first.body)
        assert [("run", "finished")] == reasons(body)


async def test_several_topics_are_ended_with_a_reason() -> None:
    async with broadcast() as app, following(app, "a", "b") as reader:
        await delete(app, "topic=b&topic=a&topic=b&reason=cancelled")

        assert [("a", "cancelled"), ("b", "cancelled")] == reasons(await reader.rest())


async def test_delete_cancels_the_run_of_the_topic() -> None:
    async def endless() -> Any:
        while True:
            yield "x"
            await asyncio.sleep(0.001)

    async with broadcast() as app, following(app, "run") as reader:
        run = app.hub.run("run", endless())
        await delete(app, "topic=run")

        assert "cancelled" == run.reason
        assert [("run", "cancelled")] == reasons(await reader.rest())


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "topic"),
        ("topic=", "topic"),
        ("topic=a&reason=enough", "reason"),
        ("topic=a&reason=failed&reason=failed", "reason"),
        ("topic=a&end=1", "field"),
        ("topic=%FF", "topic"),
        ("topic=a&reason=" + "x" * 100, "reason"),
        ("topic=" + "x" * 1000, "topic"),
    ],
)
async def test_a_bad_delete_is_refused_and_ends_nothing(query: str, field: str) -> None:
    async with broadcast() as app:
        answer = await delete(app, query)

        assert 400 == answer.status
        assert field == json.loads(answer.body)["field"]
        assert 0 == app.hub.ended_topics


async def test_pages_of_other_sites_may_not_end_a_topic() -> None:
    async with broadcast() as app:
        answer = await delete(app, "topic=a", sec_fetch_site="cross-site", origin="http://evil")

        assert 403 == answer.status


@pytest.mark.parametrize(("origins", "allowed"), [(("https://a.example",), True), (("*",), False)])
async def test_a_preflight_names_delete_where_pages_may_publish(
    origins: tuple[str, ...], allowed: bool
) -> None:
    app = create_app(Settings(origins=origins))
    headers = {"origin": "https://a.example", "access-control-request-method": "DELETE"}
    async with lifespan(app):
        answer = await fetch(app, "/events", "", headers, "OPTIONS")

    assert allowed == (answer.status == 200)


async def test_publishing_to_an_ended_topic_is_a_conflict() -> None:
    async with broadcast() as app:
        await delete(app, "topic=run")

        for kind, body in ((FORM, b"data=x"), ("text/plain", b"x"), (STREAM, b"data: x\n\n")):
            answer = await post(app, body, kind, "topic=run")
            problem = json.loads(answer.body)
            assert (409, "topic", "run") == (answer.status, problem["field"], problem["value"])
            assert "has ended: take another name for what is new" == problem["rule"]


async def test_a_posted_event_ends_its_topics_when_asked() -> None:
    async with broadcast() as app, following(app, "a", "b") as reader:
        answer = await post(app, b"topic=a&topic=b&data=x&end=1", FORM)

        body = await reader.rest()
        ids = [event.id for event in decode(body)]
        assert {
            "id": ids[0], "topics": ["a", "b"], "subscribers": 1, "ends": ids[1:],
        } == json.loads(answer.body)  # fmt: skip
        assert [("a", "finished"), ("b", "finished")] == reasons(body)


async def test_end_0_and_an_empty_end_end_nothing() -> None:
    async with broadcast() as app:
        for end in ("0", ""):
            answer = await post(app, b"x", "text/plain", f"topic=a&end={end}")
            assert "ends" not in json.loads(answer.body)
        assert not app.hub.ended("a")


@pytest.mark.parametrize("query", ["topic=a&end=yes", "topic=a&end=1&end=1"])
async def test_another_end_is_refused(query: str) -> None:
    async with broadcast() as app:
        answer = await post(app, b"x", "text/plain", query)

        assert (400, "end") == (answer.status, json.loads(answer.body)["field"])
        assert 0 == app.hub.stats.published


async def test_a_posted_stream_ends_its_topic_after_its_last_event() -> None:
    async with broadcast() as app, following(app, "run") as reader:
        answer = await post(app, b"data: 1\n\ndata: 2\n\ndata: cut", STREAM, "topic=run&end=1")

        body = await reader.rest()
        assert ["1", "2"] == [event.data for event in decode(body)[:-1]]
        assert [("run", "finished")] == reasons(body)
        said = json.loads(answer.body)
        assert (2, True, [decode(body)[-1].id]) == (said["count"], said["unfinished"], said["ends"])


async def test_a_posted_stream_that_breaks_does_not_end_its_topic() -> None:
    async with broadcast() as app, following(app, "run") as reader:
        pipe = Pipe()
        async with posting(app, pipe, "topic=run&end=1") as publisher:
            pipe.give(b"data: 1\n\n")
            await reader.events(1)
            publisher.disconnect()
        answer = await post(app, b"data: 2\n\n\xff", STREAM, "topic=run&end=1")
        assert 400 == answer.status
        assert "ends" not in json.loads(answer.body)
        assert not app.hub.ended("run")
        await post(app, b"data: 3\n\n", STREAM, "topic=run&end=1")

        assert ["2", "3"] == [event.data for event in decode(await reader.rest())[:-1]]


async def test_a_stream_whose_topic_is_ended_meanwhile_says_how_far_it_came() -> None:
    async with broadcast() as app, following(app, "run") as reader:
        pipe = Pipe()
        async with posting(app, pipe, "topic=run") as publisher:
            pipe.give(b"data: 1\n\n")
            await reader.events(1)
            await delete(app, "topic=run")
            pipe.give(b"data: 2\n\n")

            problem = json.loads(await publisher.rest())

        assert (409, 1, {"event": 2}) == (problem["status"], problem["count"], problem["broke_at"])


async def test_an_end_is_not_published_by_its_type() -> None:
    async with broadcast() as app:
        answer = await post(app, b"event: end\ndata: x\n\n", STREAM, "topic=run")

        problem = json.loads(answer.body)
        assert (400, "event", "end") == (answer.status, problem["field"], problem["value"])


async def test_readers_of_what_has_ended_are_sent_away() -> None:
    async with broadcast() as app:
        said = json.loads((await delete(app, "topic=run")).body)
        [last] = said["ends"]
        for method in ("GET", "HEAD"):
            answer = await fetch(app, "/events", "topic=run", {"last-event-id": last}, method)
            assert (204, b"", "nosniff") == (
                answer.status,
                answer.body,
                answer.headers["x-content-type-options"],
            )
            assert "content-type" not in answer.headers

        query = f"topic=run&last_event_id=earliest&lastEventId={last}"
        assert 204 == (await fetch(app, "/events", query)).status
        async with open_stream(app, "/events", "topic=run") as stream:
            assert [("run", "finished")] == reasons(await stream.rest())


async def test_while_the_store_cannot_be_reached_a_client_is_told_to_come_again() -> None:
    store = ScriptedStore()
    app = create_app(hub=Hub(Settings(), store))
    async with lifespan(app):
        store.stall()
        answer = await delete(app, "topic=run")

        assert 503 == answer.status
        assert int(answer.headers["retry-after"]) >= 1
        store.recover()
        assert 200 == (await delete(app, "topic=run")).status


async def test_the_numbers_tell_of_runs_and_ends() -> None:
    async with broadcast() as app:
        await app.hub.run("run", ["x"]).wait()
        text = (await fetch(app, "/metrics")).body.decode()

    assert "fastsse_runs 0.0" in text
    assert "fastsse_ended_topics 1.0" in text
    assert 'fastsse_runs_ended_total{reason="finished"} 1.0' in text
