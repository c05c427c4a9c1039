"""A subscriber's state: its transitions, its lag, and that nobody else assigns any of it."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.sources import SOURCES

from fastsse.broadcast.hub.audiences import Audience
from fastsse.broadcast.hub.history import Record
from fastsse.broadcast.hub.subscriber import State, Subscriber, Taker
from fastsse.broadcast.hub.tally import Tally
from fastsse.broadcast.hub.topics import TopicLimits
from fastsse.broadcast.settings import Settings

FIELDS = {*Subscriber.__slots__, "live", "own_task", "position", "send"}
OWNERS = {"broadcast.hub.subscriber", "broadcast.hub._pump_py"}


async def send(_: Any) -> None:
    """Take a message: this client always has room."""


def audience() -> Audience[Subscriber]:
    return Audience(("a",), False, None, TopicLimits(Settings()).of("a"), 0.0)


def make(own_task: bool = False, tally: Tally | None = None) -> Subscriber:
    return Subscriber(audience(), send, 5, None, float("inf"), tally, own_task=own_task)


def put(subscriber: Subscriber, position: int, size: int = 10) -> None:
    """Put a record to the subscriber's audience, as `Delivery` does."""
    audience = subscriber.audience
    audience.pending.append(Record(position, ("a",), b"x" * size))
    audience.newest = position
    audience.total_events += 1
    audience.total_bytes += size


# No other module assigns the fields of a subscriber.


def assigned(path: Path) -> Iterator[str]:
    """Find the attributes that a module assigns or deletes on anything but its own `self`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            owner = node.value
            if not (isinstance(owner, ast.Name) and owner.id == "self"):
                yield node.attr


def test_nobody_but_the_subscriber_and_the_pump_assigns_its_fields() -> None:
    found = {
        (name, attribute)
        for name, path in SOURCES.items()
        if name.startswith("broadcast") and name not in OWNERS and "broadcast.stores" not in name
        for attribute in assigned(path)
        if attribute in FIELDS
    }

    assert set() == found


def test_the_pump_assigns_nothing_but_the_position() -> None:
    assert {"position"} == set(assigned(SOURCES["broadcast.hub._pump_py"])) & FIELDS


def test_a_method_of_another_object_that_assigns_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "def f(s, self):\n    s.live = 1\n    s.a.told += 1\n    self.x = 1\n    del s.park\n"
    )

    assert ["live", "park", "told"] == sorted(assigned(path))


# Transitions.


def test_a_stream_opens_goes_live_is_carried_and_goes_live_again() -> None:
    stream = make()
    seen = [(stream.state, stream.live)]

    stream.go_live()
    seen.append((stream.state, stream.live))
    gate = stream.carry(0, 0)
    assert stream.carry_gate is gate
    seen.append((stream.state, stream.live))
    stream.go_live()
    stream.end_carry()
    seen.append((stream.state, stream.live))

    assert stream.carry_gate is None
    assert seen == [
        (State.OPENING, False),
        (State.LIVE, True),
        (State.CARRIED, False),
        (State.LIVE, True),
    ]


def test_the_pumps_stream_that_shall_end_gives_a_gate_for_its_last_block() -> None:
    stream = make()
    stream.go_live()

    gate = stream.begin_end("lifetime", b"last")

    assert gate is stream.carry_gate
    assert gate is not None
    assert (State.ENDING, False, True, False) == (
        stream.state,
        stream.live,
        stream.ending,
        stream.ended,
    )
    assert (b"last", "lifetime") == (stream.last_words, stream.reason)


@pytest.mark.parametrize("state", ["opening", "served", "carried"])
def test_a_stream_that_a_task_sends_to_leaves_its_last_block_to_that_task(state: str) -> None:
    stream = make(own_task=state == "served")
    if state == "served":
        stream.serve()
    elif state == "carried":
        stream.go_live()
        stream.carry(0, 0)

    assert None is stream.begin_end("shutdown", b"last")
    assert State.ENDING is stream.state


def test_the_first_reason_of_an_end_counts_and_the_second_end_does_nothing() -> None:
    stream = make()
    stream.begin_end("lifetime", b"")

    stream.end("ended")
    stream.end("disconnected")

    assert (State.ENDED, "lifetime", True) == (stream.state, stream.reason, stream.park.shut)


def test_a_stream_that_its_own_send_has_ended_stays_ended_when_it_is_carried() -> None:
    stream = make()
    stream.go_live()
    stream.end("disconnected")

    stream.carry(0, 0)

    assert (State.ENDED, False) == (stream.state, stream.live)


async def test_an_end_lets_the_tasks_that_wait_go() -> None:
    stream = make(own_task=True)
    stream.serve()
    waiting = asyncio.ensure_future(stream.park.rest())
    await asyncio.sleep(0)

    stream.end("slow")

    await asyncio.wait_for(waiting, 5)


async def test_every_task_that_waits_for_a_taker_is_let_go() -> None:
    taker = Taker(audience(), 0, None, None)
    waiting = [asyncio.ensure_future(taker.bell.rest()) for _ in range(3)]
    await asyncio.sleep(0)

    taker.end("closed")

    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert (State.ENDED, float("inf")) == (taker.state, taker.deadline)


# Lag.


def test_a_stream_that_opens_lags_by_time_alone() -> None:
    stream = make()
    put(stream, 6)

    stream.advance(6, 1, 12, 10)

    assert (0, 0, 6) == (stream.lag_events, stream.lag_bytes, stream.position)


def test_a_carried_stream_lags_by_what_its_audience_got_meanwhile() -> None:
    stream = make()
    stream.go_live()
    stream.carry(0, 0)
    for position in (6, 7, 8):
        put(stream, position)
    before = stream.lag_events, stream.lag_bytes

    stream.advance(7, 2, 24, 20)

    assert ((3, 30), (1, 10)) == (before, (stream.lag_events, stream.lag_bytes))
    stream.reach(8)
    assert (0, 0, 8) == (stream.lag_events, stream.lag_bytes, stream.position)


def test_a_stream_lags_by_the_join_that_it_has_a_part_of_and_not_by_what_is_still_pending() -> None:
    stream = make()
    stream.go_live()
    put(stream, 6, 100)  # swept: the pump has taken this one
    stream.audience.pending.clear()
    put(stream, 7, 10)  # pending

    stream.carry(1, 100)

    assert (2, 110) == (stream.lag_events, stream.lag_bytes)


def test_what_is_skipped_counts_no_longer() -> None:
    tally = Tally(None)
    stream = make(tally=tally)
    stream.go_live()
    stream.carry(0, 0)
    for position in range(6, 20):
        put(stream, position)
    stream.skip_later()
    assert stream.skip_due

    stream.skip_now()
    stream.skip_to(3, 10, 2)

    assert (False, 3, 10) == (stream.skip_due, stream.lag_events, stream.lag_bytes)
    assert (1, 2) == (tally.skips, tally.gaps)


def test_a_stream_passes_by_hidden_events_only_when_it_has_everything_before_them() -> None:
    opening, level, late = make(), make(), make()
    for stream in (level, late):
        stream.go_live()
    put(late, 6)

    for stream in (opening, level, late):
        stream.pass_by(7)

    assert [5, 7, 5] == [stream.position for stream in (opening, level, late)]


def test_gaps_that_were_told_are_remembered_until_the_stream_has_caught_up() -> None:
    stream = make()
    stream.note_gap(("a",), 3)
    stream.note_gap(("b",), 4)
    told = stream.told

    stream.reach(9)

    assert ({"a": 3, "b": 4}, None) == (told, stream.told)
