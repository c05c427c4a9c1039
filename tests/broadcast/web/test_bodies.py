"""All bodies that are read: places, bytes that are held, and turns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from fastsse.asgi import Message
from fastsse.broadcast import Settings
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.web import bodies as module
from fastsse.broadcast.web.bodies import LIGHT, Bodies
from fastsse.broadcast.web.body import Body
from fastsse.broadcast.web.problems import Problem


@pytest.fixture
def stats() -> Stats:
    return Stats()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Bodies that are entered here are read until the test is over."""
    with ExitStack() as entered:
        yield entered


async def silence() -> Any:
    """Receive nothing."""
    await asyncio.Event().wait()


def read(bodies: Bodies, stack: ExitStack) -> Body:
    return stack.enter_context(bodies.reading({"headers": []}, silence))


async def begin(body: Body) -> asyncio.Task[bytes]:
    """Let a body wait for its first chunk."""
    task = asyncio.ensure_future(body.read(100))
    await asyncio.sleep(0)
    return task


async def problem_of(task: asyncio.Task[bytes]) -> Problem:
    with pytest.raises(Problem) as caught:
        await task
    return caught.value


async def test_a_body_has_a_place_for_as_long_as_it_is_read(stats: Stats) -> None:
    bodies = Bodies(Settings(), stats)

    with bodies.reading({"headers": []}, silence) as body:
        body.hold(7)
        assert (1, 7) == (stats.bodies, stats.body_bytes)

    assert (0, 0) == (stats.bodies, stats.body_bytes)


async def test_where_nobody_was_silent_for_long_a_newcomer_has_to_come_again(
    stats: Stats, stack: ExitStack
) -> None:
    bodies = Bodies(Settings(max_bodies=1, retry=7000), stats)
    read(bodies, stack)

    with pytest.raises(Problem) as caught:
        read(bodies, stack)

    assert "all 1 bodies that are read at once are taken; come again later" == caught.value.detail
    assert 7 <= int(caught.value.headers["Retry-After"]) < 14
    assert {"full": 1} == dict(stats.bodies_refused)


async def test_of_silent_bodies_the_one_that_never_spoke_gives_its_place(
    stats: Stats, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.0)
    bodies = Bodies(Settings(max_bodies=2), stats)
    spoke, never = read(bodies, stack), read(bodies, stack)
    spoke.heard = True
    tasks = [await begin(spoke), await begin(never)]

    read(bodies, stack)

    assert "others needed its place" in (await problem_of(tasks[1])).detail
    assert not tasks[0].done()
    assert {"silent": 1} == dict(stats.bodies_refused)
    tasks[0].cancel()


@pytest.mark.parametrize("whole", [True, False], ids=["form", "stream"])
async def test_a_byte_now_and_then_keeps_the_place_of_a_stream_alone(
    whole: bool, stats: Stats, stack: ExitStack
) -> None:
    """Senders that drip a body could otherwise hold all places for as long as a body may take."""
    drops: asyncio.Queue[Message] = asyncio.Queue()
    bodies = Bodies(Settings(max_bodies=1), stats)
    body = stack.enter_context(bodies.reading({"headers": []}, drops.get))
    task = asyncio.create_task(body.read(100) if whole else collect(body))
    drops.put_nowait({"type": "http.request", "body": b"x", "more_body": True})
    while not body.heard:
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # waits for the next byte
    body._since = asyncio.get_running_loop().time()
    body._whole = body._since - 10 if whole else None  # as if it had dripped for ten seconds

    if whole:
        read(bodies, stack)
        with pytest.raises(Problem, match="others needed its place"):
            await task
    else:
        with pytest.raises(Problem, match="are taken"):
            read(bodies, stack)
        task.cancel()


async def collect(body: Body) -> bytes:
    return b"".join([chunk async for chunk in body.stream()])


async def test_where_too_much_is_held_the_largest_body_is_given_up(
    stats: Stats, stack: ExitStack
) -> None:
    bodies = Bodies(Settings(body_bytes=100), stats)
    large, small = read(bodies, stack), read(bodies, stack)
    large.hold(60)

    small.hold(50)

    assert 50 == stats.body_bytes
    assert {"bytes": 1} == dict(stats.bodies_refused)
    with pytest.raises(Problem, match="the most of it is this body"):
        large.hold(61)


async def test_a_body_that_holds_more_than_all_may_is_too_large(
    stats: Stats, stack: ExitStack
) -> None:
    body = read(Bodies(Settings(body_bytes=100), stats), stack)

    with pytest.raises(Problem) as caught:
        body.hold(101)

    assert (413, 101) == (caught.value.status, caught.value.value)
    assert 0 == stats.body_bytes


async def test_at_the_end_every_body_is_called_off(stats: Stats, stack: ExitStack) -> None:
    bodies = Bodies(Settings(), stats)
    tasks = [await begin(read(bodies, stack)) for _ in range(3)]

    bodies.close()

    assert ["the server is stopping; come again later"] * 3 == [
        (await problem_of(task)).detail for task in tasks
    ]


async def test_much_work_is_done_in_turns_and_little_at_once(stats: Stats) -> None:
    bodies = Bodies(Settings(), stats)
    done: list[str] = []

    async def work(name: str, size: int) -> None:
        for _ in range(3):
            async with bodies.turn(size):
                done.append(name)

    await asyncio.gather(work("a", LIGHT + 1), work("b", LIGHT + 1), work("c", LIGHT))

    assert ["c"] * 3 == [name for name in done[:5] if name == "c"]
    assert ["a", "b"] * 3 == [name for name in done if name != "c"]
