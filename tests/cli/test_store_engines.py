"""`fastsse store` over logs that are on other machines: real engines, and copies from one kind to another."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path

import pytest
from support.commands import Command
from support.engines import Engine, Nats, Redis, shared
from support.postgres import Postgres

from fastsse.broadcast import Draft
from fastsse.broadcast.stores.opening import open_url

ENGINES: dict[str, type[Engine]] = {"redis": Redis, "nats": Nats, "postgresql": Postgres}
every_engine = pytest.mark.parametrize("name", list(ENGINES))

_numbers = itertools.count()


def new_url(name: str) -> str:
    return shared(ENGINES[name]).url(f"command{next(_numbers)}")


def fill(url: str, count: int) -> None:
    async def work() -> None:
        store = open_url(url)
        await store.open()
        drafts = [
            Draft(("a", f"t{n % 3}"), f'data: ä "{n}"\ndata: \n\n'.encode()) for n in range(count)
        ]
        await asyncio.gather(*map(store.append, drafts))
        await store.close()

    asyncio.run(work())


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let long work speak at each step."""
    monkeypatch.setattr("fastsse.cli.store._EVERY", 0.0)


@every_engine
def test_info_says_what_a_log_holds(command: Command, name: str) -> None:
    url = new_url(name)
    fill(url, 30)

    done = command("store", "info", url)

    assert 0 == done.code, done
    found = json.loads(done.out)
    assert (0, 30, name) == tuple(found[key] for key in ("floor", "entries", "engine"))
    assert found["head"] >= 30


@every_engine
def test_a_log_that_was_never_there_is_told_in_words(command: Command, name: str) -> None:
    url = new_url(name)

    for verb in ("info", "export"):
        done = command("store", verb, url)

        assert (1, "") == (done.code, done.out)
        assert "there is no log command" in done.err


@every_engine
def test_an_engine_that_is_not_there_is_told_in_words(command: Command, name: str) -> None:
    for verb in ("info", "export", "import", "trim"):
        given = b'{"fastsse":"log","version":1,"epoch":"e","floor":0,"head":0}\n{"entries":0}\n'
        done = command("store", verb, f"{name}://user:secret@127.0.0.1:1", given=given)

        assert 1 == done.code
        assert "store: " in done.err
        assert "secret" not in done.err


@every_engine
@pytest.mark.usefixtures("progress")
def test_a_copy_goes_from_a_file_to_an_engine_and_back(
    command: Command, tmp_path: Path, name: str
) -> None:
    first, there = f"sqlite:///{tmp_path}/first.db", new_url(name)
    fill(first, 3000)
    lines = command("store", "export", first)

    put = command("store", "import", there, given=lines.out.encode())
    again = command("store", "export", there)

    assert (0, 0, 0) == (lines.code, put.code, again.code), put
    assert lines.out == again.out
    assert "1,000 of 3,000 entries\n" in put.err
    assert put.err.endswith("3000 entries\n")
    assert "3,000 of 3,000 entries\n" in again.err
    assert again.out.endswith('{"entries":3000}\n')


@every_engine
def test_a_log_in_use_is_not_overwritten(command: Command, tmp_path: Path, name: str) -> None:
    first, there = f"sqlite:///{tmp_path}/first.db", new_url(name)
    fill(first, 3)
    fill(there, 2)
    lines = command("store", "export", first)

    done = command("store", "import", there, given=lines.out.encode())

    assert 1 == done.code
    assert "is not new: import into another namespace" in done.err
    assert 2 == json.loads(command("store", "info", there).out)["entries"]


@every_engine
@pytest.mark.usefixtures("progress")
def test_trim_lets_the_oldest_go_and_says_how_many(command: Command, name: str) -> None:
    url = new_url(name)
    fill(url, 2500)

    done = command("store", "trim", url, "--retain-events", "10")

    assert 0 == done.code, done
    assert done.err.endswith("2490 entries have gone\n")
    found = json.loads(command("store", "info", url).out)
    assert 10 == found["entries"]
    assert 0 < found["floor"] < found["head"]
