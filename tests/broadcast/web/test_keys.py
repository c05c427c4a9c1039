"""The header Idempotency-Key: what is taken, what is refused, and that a repeat publishes nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from support.posts import FORM, STREAM, all_of, broadcast, post
from support.stores import ScriptedStore

from fastsse import encode_many
from fastsse.broadcast import Draft
from fastsse.broadcast.stores.memory import MemoryStore
from fastsse.event import Event


def read(answer: Any) -> Any:
    return json.loads(answer.body)


@pytest.mark.parametrize("kind", [FORM, "text/plain", "multipart/form-data; boundary=b"])
async def test_a_repeat_is_answered_with_the_first_id(kind: str) -> None:
    bodies = {
        FORM: (b"topic=a&data=x", ""),
        "text/plain": (b"x", "topic=a"),
        "multipart/form-data; boundary=b": (
            b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\nx\r\n--b--\r\n',
            "topic=a",
        ),
    }
    body, query = bodies[kind]
    async with broadcast() as app:
        answers = [
            read(await post(app, body, kind, query, idempotency_key='"k"')) for _ in range(3)
        ]

        assert 1 == len({answer["id"] for answer in answers})
        assert {"k"} == {answer["key"] for answer in answers}
        assert 1 == app.hub.stats.published
        assert [("message", "x")] == await all_of(app, "a")


async def test_without_a_key_each_request_publishes() -> None:
    async with broadcast() as app:
        answers = [read(await post(app, b"topic=a&data=x")) for _ in range(2)]

        assert 2 == len({answer["id"] for answer in answers}) == app.hub.stats.published
        assert "key" not in answers[0]


@pytest.mark.parametrize("store", [MemoryStore, ScriptedStore])
async def test_repeats_that_come_at_once_count_once(store: type[Any]) -> None:
    async with broadcast(store()) as app:
        answers = await asyncio.gather(
            *(post(app, b"topic=a&data=x", idempotency_key="k") for _ in range(8))
        )

        assert 1 == len({read(answer)["id"] for answer in answers})
        assert 1 == app.hub.stats.published


async def test_a_store_that_reports_late_counts_a_repeat_once() -> None:
    class Late(MemoryStore):
        """A memory store whose appends are answered a turn of the loop later."""

        async def append(self, draft: Draft, key: str | None = None) -> int:
            position = await super().append(draft, key)
            await asyncio.sleep(0)
            return position

    async with broadcast(Late()) as app:
        await asyncio.gather(
            *(post(app, b"topic=a&data=x", idempotency_key=f"k{n % 2}") for n in range(6))
        )

        assert 2 == app.hub.stats.published


@pytest.mark.parametrize(
    ("first", "second"),
    [('"k"', "k"), ('"a\\"b"', '"a\\"b"'), ('"a b"', ' "a b" '), ('"a\\\\b"', "a\\b")],
    ids=["bare", "quote", "space", "backslash"],
)
async def test_a_key_may_be_written_in_several_ways(first: str, second: str) -> None:
    async with broadcast() as app:
        answers = [
            read(await post(app, b"topic=a&data=x", idempotency_key=key)) for key in (first, second)
        ]

        assert answers[0] == answers[1]


@pytest.mark.parametrize("topic", ["a", "b"])
async def test_a_key_of_another_event_is_unprocessable(topic: str) -> None:
    async with broadcast() as app:
        await post(app, b"topic=a&data=x", idempotency_key="k")

        answer = await post(app, f"topic={topic}&data=y".encode(), idempotency_key="k")

        problem = read(answer)
        assert (422, "key", "k") == (answer.status, problem["field"], problem["value"])
        assert "another event" in problem["rule"]
        assert (1, {"key": 1}) == (app.hub.stats.published, dict(app.hub.stats.events_refused))


@pytest.mark.parametrize(
    "key",
    [
        "",
        '""',
        '"a',
        'a"',
        '"a"b',
        "a b",
        "a,b",
        '"a", "b"',
        '"a";x=1',
        '"a";first=',
        '"a";first=-1',
        '"a";first=1.5',
        '"a";first=1234567890123456',
        '"a\\n"',
        "é",
        '"é"',
        "k" * 257,
        '"' + "k" * 257 + '"',
        "k" * 60_000,
    ],
)
async def test_what_is_no_key_is_refused(key: str) -> None:
    async with broadcast() as app:
        answer = await post(app, b"topic=a&data=x", idempotency_key=key)

        assert (400, "idempotency-key") == (answer.status, read(answer)["field"])
        assert 0 == app.hub.stats.published
        assert {"key": 1} == dict(app.hub.stats.events_refused)


@pytest.mark.parametrize("key", ["k" * 256, '"' + '\\"' * 256 + '"'])
async def test_the_longest_key_is_taken(key: str) -> None:
    async with broadcast() as app:
        answer = await post(app, b"topic=a&data=x", idempotency_key=key)

        assert 200 == answer.status


async def test_one_event_has_no_number() -> None:
    async with broadcast() as app:
        answer = await post(app, b"topic=a&data=x", idempotency_key='"k";first=2')

        assert (400, True) == (answer.status, "posted event stream" in read(answer)["rule"])


def stream(*numbers: int) -> bytes:
    return encode_many([Event(str(n)) for n in numbers])


class TestPostedStream:
    async def test_a_stream_that_is_sent_again_is_published_once(self) -> None:
        async with broadcast() as app:
            answers = [
                read(await post(app, stream(1, 2, 3), STREAM, "topic=a", idempotency_key="k"))
                for _ in range(2)
            ]

            assert answers[0] == answers[1]
            assert (3, "k") == (answers[0]["count"], answers[0]["key"])
            assert 3 == app.hub.stats.published

    async def test_a_stream_goes_on_from_the_event_that_the_header_numbers(self) -> None:
        async with broadcast() as app:
            for first in (1, 2, 4):
                body = stream(*range(first, first + 3))
                key = f'"k";first={first}'
                answer = await post(app, body, STREAM, "topic=a", idempotency_key=key)
                assert 3 == read(answer)["count"]

            assert ["1", "2", "3", "4", "5", "6"] == [data for _, data in await all_of(app, "a")]

    async def test_comments_have_no_number(self) -> None:
        async with broadcast() as app:
            for body in (stream(1, 2), b": note\n\nid: 7\n\n" + stream(1) + b":\n\n" + stream(2)):
                await post(app, body, STREAM, "topic=a", idempotency_key="k")

            assert 2 == app.hub.stats.published

    async def test_another_event_breaks_the_stream_and_what_came_before_stays(self) -> None:
        async with broadcast() as app:
            await post(app, stream(1, 2), STREAM, "topic=a", idempotency_key="k")

            answer = await post(app, stream(1, 9, 3), STREAM, "topic=a", idempotency_key="k")

            problem = read(answer)
            assert (422, 1, {"event": 2}) == (answer.status, problem["count"], problem["broke_at"])
            assert 2 == app.hub.stats.published

    @pytest.mark.parametrize(("length", "status"), [(238, 200), (239, 400)])
    async def test_a_number_must_fit(self, length: int, status: int) -> None:
        async with broadcast() as app:
            key = '"' + "k" * length + '";first=999999999999999'
            answer = await post(app, stream(1, 2), STREAM, "topic=a", idempotency_key=key)

            assert status == answer.status

    async def test_many_events_of_one_body_have_a_key_each(self) -> None:
        async with broadcast() as app:
            for _ in range(2):
                await post(app, stream(*range(2000)), STREAM, "topic=a", idempotency_key="k")

            assert 2000 == app.hub.stats.published
