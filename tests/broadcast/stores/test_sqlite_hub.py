"""A hub over the SQLite store, as readers and operators see it: restarts, deep replay, full disks, starts that fail."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.hubs import data, follow, opened, started
from support.posts import broadcast, post
from support.servers import run, serve

from fastsse.broadcast.stores.sqlite import SqliteStore


def store_at(folder: Path, **options: Any) -> SqliteStore:
    return SqliteStore(folder / "log.db", synchronous="normal", **options)


async def test_a_reader_goes_on_over_a_restart_and_misses_nothing(tmp_path: Path) -> None:
    async with started(store=store_at(tmp_path)) as hub, follow(hub, "a") as stream:
        await opened(stream)
        await asyncio.gather(*(hub.publish("a", f"{n}") for n in range(50)))
        events = await stream.events(50)

    async with (
        started(store=store_at(tmp_path)) as hub,
        follow(hub, "a", last_event_id=events[19].id) as stream,
    ):
        await opened(stream)
        await hub.publish("a", "50")

        assert [str(n) for n in range(20, 51)] == data(await stream.events(31))


async def test_a_reader_from_before_the_history_gets_its_topic_from_the_file(
    tmp_path: Path,
) -> None:
    async with started(store=store_at(tmp_path), history_events=5) as hub:
        first = (await hub.publish("deep", "first")).id
        for start in range(0, 2000, 500):
            await asyncio.gather(
                *(hub.publish("deep" if n % 2 else f"t{n % 100}", f"{n}") for n in range(start, start + 500))
            )  # fmt: skip
        async with follow(hub, "deep", last_event_id=first) as stream:
            await opened(stream)
            await hub.publish("deep", "live")

            expected = [str(n) for n in range(1, 2000, 2)]
            assert [*expected, "live"] == data(await stream.events(1001))
        assert {} == dict(hub.stats.gaps)


async def test_a_full_file_is_507_over_http_and_readers_stay(tmp_path: Path) -> None:
    store = store_at(tmp_path, size=200_000)
    async with broadcast(store) as app, follow(app.hub, "a") as stream:
        await opened(stream)
        answers: list[Any] = []
        while not answers or answers[-1].status == 200:
            answers.append(await post(app, b"x" * 5000, "text/plain", "topic=a"))

        assert 507 == answers[-1].status
        assert 5 <= int(answers[-1].headers["retry-after"])
        assert len(answers) - 1 == len(await stream.events(len(answers) - 1))
        assert {"full": 1} == dict(app.hub.stats.append_errors)
        assert app.hub.stalled is not None


@pytest.mark.skipif(os.name == "nt", reason="kills as POSIX does")
class TestServe:
    def test_a_killed_server_has_kept_what_it_acknowledged(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/log.db"
        with serve("--store", url) as server:
            answer = server.publish("a", "kept")
            server.signal(signal.SIGKILL, group=True)
            server.wait()
        with serve("--store", url, "--store-wait", "20") as server:
            health = server.health()

        assert answer == f"{health['epoch']}-1"
        assert (1, 1) == (health["head"], health["store"]["entries"])

    @pytest.mark.parametrize(
        ("junk", "words"),
        [
            (b"junk" * 1000, ["damaged", "move the file away"]),
            (None, ["unable to open"]),
        ],
    )
    def test_a_start_that_fails_says_why_in_one_line(
        self, tmp_path: Path, junk: bytes | None, words: list[str]
    ) -> None:
        path = tmp_path / "log.db"
        path.mkdir() if junk is None else path.write_bytes(junk)

        done = run("serve", "--port", "0", "--store", f"sqlite:///{tmp_path}/log.db")

        said = done.stderr.decode()
        assert done.returncode != 0
        [line] = [one for one in said.splitlines() if one.startswith("fastsse: ")]
        assert all(word in line for word in ["the store cannot be opened", *words])
        assert "Traceback" not in said
