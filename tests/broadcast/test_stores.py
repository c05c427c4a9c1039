"""What every store must do. A new store is one more parameter here."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from fastsse.broadcast import Draft, Entry, MemoryStore, Store


@pytest.fixture(params=["memory"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    made: Store = {"memory": MemoryStore}[request.param]()
    yield made
    await made.close()


async def test_it_is_a_store(store: Store) -> None:
    assert isinstance(store, Store)


async def test_an_epoch_fits_into_an_id(store: Store) -> None:
    assert re.fullmatch(r"[0-9A-Za-z_.]{1,64}", await store.open())


async def test_two_logs_have_two_epochs() -> None:
    assert await MemoryStore().open() != await MemoryStore().open()


async def test_what_is_appended_is_reported_in_order_with_its_position(store: Store) -> None:
    await store.open()
    entries: list[Entry] = []
    await store.follow(0, entries.append)

    positions = [await store.append(Draft(("a", str(n)), b"data: %d\n\n" % n)) for n in range(3)]

    assert positions == [entry.position for entry in entries]
    assert positions == sorted(set(positions))
    assert positions[0] > 0
    assert [(("a", str(n)), b"data: %d\n\n" % n) for n in range(3)] == [
        (entry.topics, entry.block) for entry in entries
    ]


async def test_a_closed_store_reports_nothing_more(store: Store) -> None:
    await store.open()
    entries: list[Entry] = []
    await store.follow(0, entries.append)
    await store.close()

    await store.append(Draft(("a",), b"data: x\n\n"))

    assert [] == entries
