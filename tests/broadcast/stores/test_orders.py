"""Revocations over each real engine: every hub of a log heeds them, and so does a hub that starts later."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.engines import Nats, Redis, shared
from support.postgres import Postgres
from support.servers import DEADLINE

from fastsse.broadcast import Hub, Settings

_numbers = itertools.count()

ENGINES: dict[str, Callable[[], str]] = {
    "redis": lambda: shared(Redis).url(f"orders{next(_numbers)}"),
    "nats": lambda: shared(Nats).url(f"orders{next(_numbers)}"),
    "postgresql": lambda: shared(Postgres).url(f"orders{next(_numbers)}"),
}


async def knows(hub: Hub, count: int) -> None:
    """Wait until a hub knows as many revocations."""
    async with asyncio.timeout(DEADLINE):
        while len(hub.revoked) < count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("engine", ENGINES)
async def test_all_hubs_of_a_log_heed_what_one_revokes(engine: str) -> None:
    knobs = Settings(store=ENGINES[engine]())
    async with Hub(knobs) as one, Hub(knobs) as other:
        await one.revoke(subject="ann", reason="left")
        await other.revoke(jti="t1")

        for hub in (one, other):
            await knows(hub, 2)
            assert hub.revoked.covers("ann", None, time.time() - 60)
            assert hub.revoked.covers(None, "t1", None)
            assert 0 == hub.history.topics
        await one.publish("a", "x")

    async with Hub(knobs) as later:
        await knows(later, 2)


async def test_a_file_remembers_what_was_revoked(tmp_path: Path) -> None:
    knobs = Settings(store=f"sqlite:///{tmp_path / 'log.db'}", history_events=1)
    async with Hub(knobs) as hub:
        await hub.revoke(subject="ann")
        for number in range(20):
            await hub.publish("a", str(number))

    async with Hub(knobs) as again:
        assert again.revoked.covers("ann", None, None)
