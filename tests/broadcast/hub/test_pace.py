"""The pace of large work: at most half of the loop's time, whatever the number of tasks."""

from __future__ import annotations

import asyncio

import pytest

from fastsse.broadcast.hub.pace import Pace


class Clock:
    """A loop's time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(clock)  # type: ignore[arg-type]


def test_little_work_needs_no_rest(pace: Pace) -> None:
    assert [0.0] * 3 == [pace.rest_after(0.0005) for _ in range(3)]


def test_work_rests_for_as_long_as_it_has_taken(pace: Pace) -> None:
    assert 0.0 == pace.rest_after(0.001)
    assert 0.004 == pytest.approx(pace.rest_after(0.003))


def test_work_of_several_tasks_adds_up(pace: Pace, clock: Clock) -> None:
    assert 0.002 == pytest.approx(pace.rest_after(0.002))
    assert 0.005 == pytest.approx(pace.rest_after(0.003))
    clock.now += 0.005
    assert 0.0 == pace.rest_after(0.0)


def test_a_task_rests_for_the_work_of_others_too(pace: Pace) -> None:
    pace.rest_after(0.003)
    assert 0.003 == pytest.approx(pace.rest_after(0.0))


def test_a_wait_does_not_count_as_work(pace: Pace) -> None:
    """A page that took a minute left the loop to others for most of it."""
    assert 0.005 == pytest.approx(pace.rest_after(60.0))


async def test_a_rest_ends_when_all_work_is_paid_for() -> None:
    loop = asyncio.get_running_loop()
    pace = Pace(loop)
    start = loop.time()
    await asyncio.gather(*(pace.rest(0.004) for _ in range(5)))
    assert 0.02 <= loop.time() - start
    assert 0.0 == pace.rest_after(0.0)
