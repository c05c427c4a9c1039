"""The stress of hubs on one store in short, once per engine, and its own judgement.

Ten minutes of it are ``python tests/stress/stores.py --seconds 600``.
"""

from __future__ import annotations

import asyncio
import gc
import random
from array import array

import pytest

pytest.importorskip("granian")

import support.postgres  # noqa: F401 - which adds to ENGINES
from stress.stores import ALL, ALONE, KEEPS, Order, Place, Reader, Run, Sqlite
from support.engines import ENGINES, Engine, need_engine

pytestmark = pytest.mark.timeout(400)


# Readers that are thrown off while they connect leave sockets of this process to the collector. The hubs, which are
# tested, are other processes.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.long
@pytest.mark.parametrize("kind", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("faults", [KEEPS, ALL], ids=["keeps", "loses"])
def test_every_reader_has_every_event_once_or_is_told(
    kind: type[Engine], faults: list[str]
) -> None:
    need_engine(kind)

    outcome = asyncio.run(Run(kind(), 1, readers=40).run(5.0, 1000, faults))
    gc.collect()  # here, and not in another test

    assert [] == outcome.faults
    assert outcome.events >= 1000
    assert set(faults) == set(outcome.done)
    assert outcome.logs == 1 if faults is KEEPS else outcome.logs > 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.long
def test_every_reader_of_a_file_has_every_event_once() -> None:
    outcome = asyncio.run(Run(Sqlite(), 1, readers=40).run(3.0, 1000, ALONE))
    gc.collect()

    assert [] == outcome.faults
    assert outcome.events >= 1000
    assert set(ALONE) == set(outcome.done)
    assert (1, 0) == (outcome.logs, outcome.gaps)


def reader(places: list[int], *gaps: tuple[Place, Place]) -> Reader:
    found = Reader(1, Order(), [1], random.Random(1))
    found.places[0] = array("q", places)
    found.gaps += gaps
    return found


ACKNOWLEDGED = {(0, 1): "a", (0, 2): "b", (0, 3): "c", (1, 9): "d"}


@pytest.mark.parametrize(
    ("reader", "missing"),
    [
        (reader([1, 2, 3]), ["d"]),
        (reader([1, 3]), ["b", "d"]),
        (reader([1, 2, 3], ((0, 3), (1, 9))), []),
        (reader([1, 2], ((0, 2), (1, 8))), ["d"]),
        (reader([1], ((0, 2), (1, 9))), ["b"]),
        (reader([], ((0, 0), (1, 9))), []),
    ],
)
def test_an_event_that_is_neither_here_nor_in_a_gap_is_missing(
    reader: Reader, missing: list[str]
) -> None:
    assert missing == reader.missing(ACKNOWLEDGED)


def test_what_comes_after_a_later_one_or_twice_is_a_fault() -> None:
    found = reader([])

    for id, data in (
        ("e-1", "p 1"),
        ("e-3", "p 3"),
        ("e-2", "p 2"),
        ("e-4", "p 4"),
        ("f-9", "p 4"),
    ):
        found._take(id, data)

    assert 1 == len(found.faults)
    assert [((0, 4), (1, 9))] == found.repeats
    assert [] == found.twice({(0, 1): "p 1"})
    assert 1 == len(found.twice({(0, 4): "p 4"}))
