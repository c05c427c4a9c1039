"""The stress test's own judgement; with FASTSSE_STRESS=1 the test itself, briefly.

Ten minutes of it are ``python tests/stress/stress.py --minutes 10``.
"""

from __future__ import annotations

import os

import pytest

pytest.importorskip("granian")
pytest.importorskip("uvicorn")

from stress.record import Event, Gap, Log, Taken
from stress.stress import run

pytestmark = pytest.mark.timeout(240)


@pytest.mark.skipif(
    os.environ.get("FASTSSE_STRESS", "0") in ("", "0"),
    reason="ten seconds of chance say little, and a busy machine disturbs them: FASTSSE_STRESS=1 runs them",
)
def test_nothing_is_lost_unannounced_whatever_readers_publishers_and_servers_do() -> None:
    tally = run(seed=1, seconds=10.0)

    assert [] == tally.faults
    assert tally.delivered > 100
    assert tally.lives > 0


@pytest.fixture
def log() -> Log:
    """Events 1 to 4: of a, b, a, and of both."""
    log = Log()
    for position, topics in enumerate([("a",), ("b",), ("a",), ("a", "b")], 1):
        log.note(f"e-{position}", Event(position, topics), "a publisher")
    return log


def taken(*positions: int, topics: str = "a", begin: int = 0, end: int = 4) -> Taken:
    stream = Taken("a reader", frozenset(topics))
    stream.begin, stream.end = begin, end
    stream.positions = list(positions)
    return stream


def test_a_stream_with_all_that_is_due_has_no_fault(log: Log) -> None:
    assert [] == taken(1, 3, 4).faults(log)
    assert [] == taken(3, begin=1, end=3).faults(log)


@pytest.mark.parametrize(
    ("stream", "fault"),
    [
        (taken(1, 4), "1 events are missing, unannounced: 3"),
        (taken(1, 3, 3, 4), "3 comes behind 3"),
        (taken(3, 1, 4), "1 comes behind 3"),
        (taken(1, 2, 3, 4), "2 is of ('b',), not followed"),
        (taken(1, 3, 4, begin=1), "1 comes behind its opening"),
    ],
)
def test_a_loss_a_double_and_a_stray_are_faults(log: Log, stream: Taken, fault: str) -> None:
    assert any(fault in found for found in stream.faults(log))


def test_a_gap_excuses_what_it_names_and_nothing_else(log: Log) -> None:
    stream = taken(4, topics="ab")
    stream.gaps = [Gap(0, 3, frozenset("a"), "trimmed")]

    [fault] = stream.faults(log)

    assert "1 events are missing, unannounced: 2 of ('b',)" in fault


def test_one_id_for_two_events_is_a_fault(log: Log) -> None:
    log.note("e-1", Event(9, ("a",)), "another publisher")

    assert ["another publisher: e-1 is Event(number=9, topics=('a',)), and was "
            "Event(number=1, topics=('a',)) before"] == log.faults  # fmt: skip
