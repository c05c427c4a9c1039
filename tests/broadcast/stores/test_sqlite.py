# ruff: noqa: ASYNC240 - files are small, and nothing else runs on these loops
"""The SQLite store beyond the contract: one writer, groups, bounds, full disks, damage, and what a restart finds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.stores import Recorder

from fastsse.broadcast import (
    Draft,
    Entry,
    Keep,
    KeyReused,
    Log,
    Retention,
    SettingError,
    StorageFull,
    StoreUnusable,
    open_url,
)
from fastsse.broadcast.names import Pattern
from fastsse.broadcast.stores import sqlite as module
from fastsse.broadcast.stores.sqlite import SqliteStore
from fastsse.broadcast.stores.sqlite.appends import GROUP, GROUP_BYTES
from fastsse.broadcast.stores.sqlite.writer import Writer

DEADLINE = 30.0  # s


def draft(text: str, *topics: str) -> Draft:
    return Draft(topics or ("a",), f"data: {text}\n\n".encode())


def texts(entries: list[Entry]) -> list[str]:
    return [entry.block.decode().removeprefix("data: ").strip() for entry in entries]


@asynccontextmanager
async def opened(
    path: Path, tail: int = 100, **options: Any
) -> AsyncGenerator[tuple[SqliteStore, Recorder], None]:
    """Run a store that somebody follows."""
    store, told = SqliteStore(path, **options), Recorder()
    await store.open()
    try:
        await store.follow(told, tail)
        yield store, told
    finally:
        await store.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


def change(path: Path, *statements: str) -> None:
    """Change a closed file by other hands."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def ask(path: Path, query: str) -> Any:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchone()[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "file"),
        [("sqlite:///log.db", "log.db"), ("sqlite:////srv/log.db", "/srv/log.db")],
    )
    def test_a_file_is_of_the_working_folder_or_whole(self, url: str, file: str) -> None:
        store = open_url(url)

        assert isinstance(store, SqliteStore)
        assert Path(file) == store.options.path

    @pytest.mark.parametrize(
        "url", ["sqlite:", "sqlite://", "sqlite:///", "sqlite://log.db", "sqlite:///:memory:"]
    )
    def test_what_names_no_file_is_refused(self, url: str) -> None:
        with pytest.raises(SettingError, match="must be sqlite:///FILE"):
            open_url(url)

    @pytest.mark.parametrize(
        ("option", "words"),
        [
            ("synchronous=off", "one of full, normal"),
            ("keys=-1", "0 to 10,000,000"),
            ("mode=ro", "known are keys, size, synchronous"),
        ],
    )
    def test_options_that_cannot_be_are_refused(self, option: str, words: str) -> None:
        with pytest.raises(SettingError, match=words):
            open_url(f"sqlite:///x.db?{option}")


class TestOneProcess:
    async def test_a_second_store_on_the_same_file_is_refused_and_told_who_has_it(
        self, path: Path
    ) -> None:
        async with opened(path) as (store, _):
            with pytest.raises(OSError, match=f"in use by process {os.getpid()}: one process"):
                await SqliteStore(path).open()

            assert 1 == await store.append(draft("x"))
        async with opened(path) as (store, told):
            assert ["x"] == texts(told.entries)

    async def test_another_name_of_the_file_has_the_same_lock(
        self, path: Path, tmp_path: Path
    ) -> None:
        other = tmp_path / "other"
        other.mkdir()
        link, links = other / "link.db", other / "folder"
        async with opened(path) as (store, _):
            link.symlink_to(path)
            links.symlink_to(path.parent, target_is_directory=True)
            for name in (link, links / path.name, Path(os.path.relpath(path))):
                with pytest.raises(OSError, match=f"in use by process {os.getpid()}"):
                    await SqliteStore(name).open()

            assert 1 == await store.append(draft("x"))
        async with opened(link) as (store, told):
            assert ["x"] == texts(told.entries)
            with pytest.raises(OSError, match="in use by process"):
                await SqliteStore(path).open()

    def test_the_lock_of_a_process_that_was_killed_is_free(self, path: Path) -> None:
        code = (
            "import asyncio, os, sys\n"
            "from fastsse.broadcast import Draft\n"
            "from fastsse.broadcast.stores.sqlite import SqliteStore\n"
            "async def main():\n"
            "    store = SqliteStore(sys.argv[1])\n"
            "    await store.open()\n"
            "    await store.append(Draft(('a',), b'data: x\\n\\n'))\n"
            "    os.kill(os.getpid(), 9)\n"
            "asyncio.run(main())"
        )
        subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=DEADLINE)

        async def read() -> list[str]:
            async with opened(path) as (_, told):
                return texts(told.entries)

        assert ["x"] == asyncio.run(read())


class TestGroups:
    async def test_appends_of_one_turn_are_one_transaction_and_reported_in_order(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        groups: list[int] = []
        append = Writer.work

        def counted(self: Any, some: Any) -> None:
            groups.append(sum(len(group.items) for group in some))
            append(self, some)

        monkeypatch.setattr(Writer, "work", counted)
        async with opened(path) as (store, told):
            places = await asyncio.gather(*(store.append(draft(str(n))) for n in range(500)))

        assert list(range(1, 501)) == places
        assert [str(n) for n in range(500)] == texts(told.entries)
        assert len(groups) < 50

    async def test_the_write_ahead_log_stays_within_its_bound(self, path: Path) -> None:
        block = b"data: " + b"x" * 20_000 + b"\n\n"
        sizes: list[int] = []
        async with opened(path) as (store, _):
            for _ in range(30):
                await asyncio.gather(*(store.append(Draft(("a",), block)) for _ in range(100)))
                sizes.append(path.with_name("log.db-wal").stat().st_size)

        assert 2**23 < max(sizes) < 2**25
        assert path.stat().st_size > 30 * 100 * 20_000

    async def test_the_same_key_twice_in_one_group_appends_once(self, path: Path) -> None:
        async with opened(path) as (store, told):
            answers = await asyncio.gather(
                store.append(draft("x"), "k"),
                store.append(draft("x"), "k"),
                store.append(draft("y"), "k"),
                store.append(draft("z")),
                return_exceptions=True,
            )

        assert [1, 1, 2] == [answers[0], answers[1], answers[3]]
        assert isinstance(answers[2], KeyReused)
        assert ["x", "z"] == texts(told.entries)

    async def test_an_event_that_cannot_be_written_takes_no_other_with_it(self, path: Path) -> None:
        async with opened(path) as (store, told):
            odd: Any = Draft(("\ud800",), b"data: odd\n\n")
            answers = await asyncio.gather(
                store.append(draft("x")), store.append(odd), store.append(draft("y")),
                return_exceptions=True,
            )  # fmt: skip

        assert [1, 2] == [answers[0], answers[2]]
        assert isinstance(answers[1], OSError)
        assert ["x", "y"] == texts(told.entries)

    async def test_a_turn_with_more_than_a_transaction_takes_keeps_its_order(
        self, path: Path
    ) -> None:
        many = 2 * GROUP + 100
        async with opened(path) as (store, told):
            tasks = [asyncio.ensure_future(store.append(draft(str(n)))) for n in range(many)]
            await asyncio.sleep(0)
            queued = store.state().queued
            places = await asyncio.gather(*tasks)

            assert 0 == store.state().queued
        assert many == queued
        assert list(range(1, many + 1)) == places
        assert [str(n) for n in range(many)] == texts(told.entries)

    async def test_a_turn_of_more_bytes_than_a_transaction_takes_keeps_its_order(
        self, path: Path
    ) -> None:
        blocks = [bytes([48 + n]) * (GROUP_BYTES // 3) for n in range(10)]
        async with opened(path) as (store, told):
            await asyncio.gather(*(store.append(Draft(("a",), block)) for block in blocks))

        assert blocks == [entry.block for entry in told.entries]

    @pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 100_000])
    async def test_a_block_of_any_size_is_read_as_it_was_appended(
        self, path: Path, size: int
    ) -> None:
        block = bytes(n % 256 for n in range(size))
        async with opened(path) as (store, told):
            await store.append(Draft(("a", "b"), block))
            page = await store.read(("b",), 0, 2, 100)

        for entry in (told.entries[0], page.entries[0]):
            assert (1, ("a", "b"), block, bytes) == (
                entry.position, entry.topics, entry.block, type(entry.block)
            )  # fmt: skip

    async def test_a_topic_that_comes_between_others_has_all_of_its_places(
        self, path: Path
    ) -> None:
        names = [("a",), ("b", "a"), ("c",), ("a", "c", "b"), ("b",)] * 60
        async with opened(path) as (store, _):
            await asyncio.gather(*(store.append(Draft(some, b"data: x\n\n")) for some in names))
            for topic in "abc":
                page = await store.read((topic,), 0, 1000, 10**6)
                having = [at for at, some in enumerate(names, 1) if topic in some]
                assert having == [entry.position for entry in page.entries]
                where = f"FROM topics WHERE name = '{topic}'"
                assert len(having) == ask(path, f"SELECT entries {where}")
                assert 9 * len(having) == ask(path, f"SELECT bytes {where}")

    async def test_what_was_written_singly_before_the_file_was_full_is_told(
        self, path: Path
    ) -> None:
        async with opened(path, size=400_000) as (store, told):
            odd: Any = Draft(("\ud800",), b"data: odd\n\n")
            large = Draft(("a",), b"data: " + b"x" * 500_000 + b"\n\n")
            answers = await asyncio.gather(
                store.append(draft("x")), store.append(odd), store.append(large), store.append(draft("y")),
                return_exceptions=True,
            )  # fmt: skip

            assert [1, OSError, StorageFull, StorageFull] == [
                answers[0], *(type(answer) for answer in answers[1:])
            ]  # fmt: skip
            await until(lambda: ("stalled", False) in told.news)
            assert 2 == await store.append(draft("z"))
        assert ["x", "z"] == texts(told.entries)

    async def test_a_publisher_that_was_cancelled_leaves_its_event(self, path: Path) -> None:
        async with opened(path) as (store, told):
            task = asyncio.ensure_future(store.append(draft("x")))
            await asyncio.sleep(0)
            task.cancel()
            assert 2 == await store.append(draft("y"))

        assert ["x", "y"] == texts(told.entries)

    async def test_closing_finishes_what_waits(self, path: Path) -> None:
        async with opened(path) as (store, _):
            tasks = [asyncio.ensure_future(store.append(draft(str(n)))) for n in range(100)]
            await asyncio.sleep(0)

        assert list(range(1, 101)) == await asyncio.gather(*tasks)
        assert 100 == ask(path, "SELECT count(*) FROM log")

    async def test_what_waits_is_bounded(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_QUEUE", 3)
        async with opened(path) as (store, _):
            answers = await asyncio.gather(
                *(store.append(draft(str(n))) for n in range(5)), return_exceptions=True
            )

            assert [1, 2, 3] == answers[:3]
            assert all(isinstance(a, OSError) and "too many" in str(a) for a in answers[3:])
            assert 4 == await store.append(draft("again"))

    async def test_an_append_that_the_disk_does_not_answer_fails_and_its_entry_may_come(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_PATIENCE", 0.05)
        async with opened(path) as (store, told):
            holder = sqlite3.connect(path, isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(OSError, match=r"not answered within 0.05 s"):
                await store.append(draft("x"))
            assert [("stalled", True)] == told.news
            holder.execute("ROLLBACK")
            holder.close()
            await until(lambda: len(told.news) == 3)

        assert ["x"] == texts(told.entries)
        assert ("stalled", False) in told.news


class TestKeys:
    async def test_keys_are_remembered_over_a_restart_and_within_their_window(
        self, path: Path
    ) -> None:
        async with opened(path, keys=2) as (store, _):
            for key in "abc":
                await store.append(draft(key), key)
        async with opened(path, keys=2) as (store, _):
            assert [3, 2] == [await store.append(draft(key), key) for key in "cb"]
            assert 4 == await store.append(draft("a"), "a")
        assert 2 == ask(path, "SELECT count(*) FROM keys")


class TestRetention:
    @pytest.mark.parametrize(
        ("keep", "left"), [(Keep(events=10), 10), (Keep(bytes=100), 9), (Keep(), 200)]
    )
    async def test_the_oldest_entries_go_and_the_floor_moves_on(
        self, path: Path, keep: Keep, left: int
    ) -> None:
        async with opened(path, retention=Retention(keep)) as (store, _):
            for n in range(200):
                await store.append(draft(f"{n:03}", "a", f"t{n % 5}"))
            await until(lambda: store.state().entries == left)
            page = await store.read(("a",), 0, 201, 100_000)
            head = await store.append(draft("x"))

        assert 201 == head
        assert (200 - left, 200) == (page.floor, page.end)
        assert list(range(201 - left, 201)) == [entry.position for entry in page.entries]
        assert Log(ask(path, "SELECT epoch FROM extent"), 201 - left, 201).head == head

    async def test_old_entries_go_while_nothing_happens(self, path: Path) -> None:
        async with opened(path, retention=Retention(Keep(seconds=0.2))) as (store, _):
            await store.append(draft("x"))
            await until(lambda: store.state().entries == 0)

            assert 1 == (await store.read(("a",), 0, 2, 100)).floor
        assert 0 == ask(path, "SELECT count(*) FROM topics")
        async with opened(path) as (store, told):
            assert [("lost", 1)] == told.news
            assert 2 == await store.append(draft("y"))

    @pytest.mark.parametrize("wrong", [-30 * 86_400, -3600, 3600, 10 * 365 * 86_400])
    async def test_a_clock_that_was_wrong_for_a_while_makes_nothing_old_that_came_since(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
    ) -> None:
        keep, right = Retention(Keep(seconds=600)), time.time
        async with opened(path, retention=keep) as (store, _):
            await store.append(draft("before"))
        with monkeypatch.context() as clock:
            clock.setattr(time, "time", lambda: right() + wrong)
            async with opened(path, retention=keep) as (store, _):
                await store.append(draft("meanwhile"))

        async with opened(path, retention=keep) as (store, told):
            await store.append(draft("after"))
            while await store.trim():
                pass

            assert ["meanwhile", "after"] == texts(told.entries)[-2:]
            assert (3 if wrong < 0 else 2) == store.state().entries

    async def test_a_topic_has_bounds_of_its_own_and_takes_nothing_from_others(
        self, path: Path
    ) -> None:
        keep = Retention(Keep(), ((Pattern.of("short*"), Keep(events=3)),))
        async with opened(path, retention=keep) as (store, _):
            for n in range(20):
                await store.append(draft(f"{n}", "short", "long"))
                await store.append(draft(f"only {n}", "short"))
            await until(lambda: store.state().entries == 22)
            short = await store.read(("short",), 0, 41, 100_000)
            long = await store.read(("long",), 0, 41, 100_000)

        assert ["only 18", "19", "only 19"] == texts(short.entries)
        assert 37 == short.floor
        assert [str(n) for n in range(20)] == texts(long.entries)
        assert 0 == long.floor
        async with opened(path, tail=1000) as (_, told):  # no reader may pass over what is gone
            assert [("lost", 37)] == told.news[:1]
            assert ["only 18", "19", "only 19"] == texts(told.entries)

    async def test_an_old_topic_of_its_own_bounds_goes_while_nothing_happens(
        self, path: Path
    ) -> None:
        keep = Retention(Keep(), ((Pattern.of("s"), Keep(seconds=0.2)),))
        async with opened(path, retention=keep) as (store, _):
            await store.append(draft("x", "s"))
            await store.append(draft("y", "l"))
            await until(lambda: store.state().entries == 1)

            assert 1 == (await store.read(("s",), 0, 3, 100)).floor
            assert 0 == (await store.read(("l",), 0, 3, 100)).floor

    async def test_counts_stay_true_while_entries_come_and_go(self, path: Path) -> None:
        keep = Retention(Keep(events=50), ((Pattern.of("t1"), Keep(events=2)),))
        async with opened(path, retention=keep) as (store, _):
            for _ in range(10):
                await asyncio.gather(
                    *(store.append(draft("x" * n, f"t{n % 3}", f"t{n % 2}" if n % 3 != n % 2 else "u"))
                      for n in range(40))
                )  # fmt: skip
            await until(lambda: (store.state().entries or 99) <= 50)
            await until(lambda: ask(path, "SELECT entries FROM topics WHERE name = 't1'") <= 2)
        for column, count in (("entries", "count(*)"), ("bytes", "sum(length(block))")):
            assert ask(path, f"SELECT {column} FROM extent") == ask(
                path, f"SELECT {count} FROM log"
            )
            wrong = (
                f"SELECT count(*) FROM topics t WHERE t.{column} <> (SELECT coalesce({count}, 0) FROM places p "
                "JOIN log l ON l.position = p.position WHERE p.topic = t.topic)"
            )
            assert 0 == ask(path, wrong)
        assert 0 == ask(
            path, "SELECT count(*) FROM places WHERE position NOT IN (SELECT position FROM log)"
        )


async def fill(store: SqliteStore, size: int) -> None:
    """Append events of a size until the store fails one."""
    while True:
        await store.append(draft("x" * size))


class TestFull:
    async def test_a_full_file_fails_appends_keeps_readers_and_recovers_by_itself(
        self, path: Path
    ) -> None:
        async with opened(path, size=400_000) as (store, told):
            with pytest.raises(StorageFull, match="no room"):
                await fill(store, 1000)
            head = told.entries[-1].position
            assert [("stalled", True)] == told.news[-1:]
            page = await store.read(("a",), 0, head + 1, 2**30)
            assert head == len(page.entries)

            await store.call(lambda table, _: table.db.execute("PRAGMA max_page_count = 9999"))
            await until(lambda: told.news[-1] == ("stalled", False))
            assert head + 1 == await store.append(draft("again"))

    async def test_a_full_file_recovers_as_entries_get_old(self, path: Path) -> None:
        keep = Retention(Keep(seconds=1.0))
        async with opened(path, size=400_000, retention=keep) as (store, told):
            with pytest.raises(StorageFull):
                await fill(store, 4000)
            await until(lambda: told.news[-1] == ("stalled", False))
            await store.append(draft("again"))

    @pytest.mark.skipif(sys.platform != "linux", reason="needs limits of a process")
    def test_a_disk_that_takes_no_more_fails_appends_until_it_takes_more(self, path: Path) -> None:
        code = """
import asyncio, resource, sys
from fastsse.broadcast import Draft
from fastsse.broadcast.stores.sqlite import SqliteStore
from fastsse.broadcast.stores.sqlite.appends import GROUP, GROUP_BYTES
from fastsse.broadcast.stores.sqlite.writer import Writer

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    done = 0
    try:
        while True:
            await store.append(Draft(("a",), b"data: " + b"x" * 4000 + b"\\n\\n"))
            done += 1
    except OSError as error:
        print(done > 3, error)
    page = await store.read(("a",), 0, 2**60, 2**30)
    print(len(page.entries) == done)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for _ in range(1000):
        try:
            print(done + 1 == await store.append(Draft(("a",), b"data: x\\n\\n")))
            break
        except OSError:
            await asyncio.sleep(0.05)
    await store.close()

asyncio.run(main())
"""
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            capture_output=True, text=True, check=False, timeout=DEADLINE,
        )  # fmt: skip

        lines = done.stdout.splitlines()
        assert lines[0].startswith("True "), done
        assert ["True", "True"] == lines[1:], done


class TestDamage:
    @pytest.mark.parametrize(
        "junk", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
    )
    async def test_a_file_that_is_no_database_is_refused_with_what_to_do(
        self, path: Path, junk: bytes
    ) -> None:
        path.write_bytes(junk)

        with pytest.raises(StoreUnusable, match="damaged") as caught:
            await SqliteStore(path).open()

        assert "move the file away" in str(caught.value)
        assert junk == path.read_bytes()

    async def test_a_file_that_was_cut_is_refused(self, path: Path) -> None:
        async with opened(path) as (store, _):
            for n in range(200):
                await store.append(draft("x" * 500 + str(n)))
        os.truncate(path, path.stat().st_size // 2)

        with pytest.raises(StoreUnusable, match="damaged"):
            await SqliteStore(path).open()

    async def test_a_database_of_another_program_is_refused(self, path: Path) -> None:
        change(path, "CREATE TABLE users (name TEXT)")

        with pytest.raises(StoreUnusable, match="another program"):
            await SqliteStore(path).open()

    async def test_a_newer_schema_is_refused(self, path: Path) -> None:
        async with opened(path):
            pass
        change(path, "PRAGMA user_version = 2")

        with pytest.raises(StoreUnusable, match=r"newer fastsse \(schema 2, known is 1\)"):
            await SqliteStore(path).open()

    async def test_a_refused_file_is_free_again(self, path: Path) -> None:
        path.write_bytes(b"junk" * 1000)
        with pytest.raises(StoreUnusable):
            await SqliteStore(path).open()
        path.unlink()

        async with opened(path) as (store, _):
            assert 1 == await store.append(draft("x"))

    @pytest.mark.parametrize("place", ["missing/log.db", "."])
    async def test_a_place_where_no_file_can_be_is_an_error_that_names_it(
        self, tmp_path: Path, place: str
    ) -> None:
        with pytest.raises(OSError, match=str(tmp_path)):
            await SqliteStore(tmp_path / place).open()

    async def test_entries_that_cannot_be_read_are_left_out_counted_and_logged_once(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with opened(path) as (store, _):
            for n in range(1, 6):
                await store.append(draft(str(n)))
        change(
            path,
            "UPDATE log SET form = 2 WHERE position = 2",
            "UPDATE log SET block = 5 WHERE position = 3",
            "DELETE FROM log WHERE position = 4",
        )

        with caplog.at_level(logging.WARNING, "fastsse.broadcast"):
            async with opened(path) as (store, told):
                pages = [await store.read(topics, 0, 6, 1000) for topics in [("a",), ("a", "b")]]
                state = store.state()

        assert ["1", "5"] == texts(told.entries)
        assert [["1", "5"]] * 2 == [texts(page.entries) for page in pages]
        assert 2 == state.unreadable
        assert 1 == sum("cannot read" in record.message for record in caplog.records)


class TestEpochs:
    """A log that a power failure may have shortened must not give its positions away twice."""

    @pytest.mark.parametrize(
        ("opened_as", "same"),
        [("normal another-start", False), ("full another-start", True), ("", True)],
    )
    async def test_a_log_that_may_have_lost_commits_is_another_log(
        self, path: Path, opened_as: str, same: bool
    ) -> None:
        async with opened(path) as (store, _):
            await store.append(draft("x"))
        epoch = ask(path, "SELECT epoch FROM extent")
        change(path, f"UPDATE extent SET opened = '{opened_as}'")

        store = SqliteStore(path)
        log = await store.open()
        await store.close()

        assert same is (epoch == log.epoch)
        assert 1 == log.head

    @pytest.mark.parametrize("mode", ["full", "normal"])
    async def test_a_file_says_how_it_is_open_and_nothing_once_it_is_closed(
        self, path: Path, mode: Any
    ) -> None:
        async with opened(path, synchronous=mode):
            during = ask(path, "SELECT opened FROM extent")

        assert during.startswith(mode)
        assert "" == ask(path, "SELECT opened FROM extent")


class TestReading:
    async def test_many_pages_give_each_entry_once_while_entries_come_and_go(
        self, path: Path
    ) -> None:
        async with opened(path, retention=Retention(Keep(events=5000))) as (store, _):
            for start in range(0, 4000, 500):
                await asyncio.gather(
                    *(
                        store.append(draft(f"{n} " + "x" * 200, f"t{n % 2}"))
                        for n in range(start, start + 500)
                    )
                )
            found: list[int] = []
            at = 0
            while at < 4000:
                page = await store.read(("t0",), at, 4001, 16_384)
                assert at < page.end
                assert sum(len(e.block) for e in page.entries) < 17_000
                found += [entry.position for entry in page.entries]
                at = page.end
                await store.append(draft("later", "t0"))

        assert list(range(1, 4000, 2)) == found

    async def test_a_reader_of_many_topics_gets_them_in_one_order(self, path: Path) -> None:
        topics = tuple(f"t{n}" for n in range(50))
        async with opened(path) as (store, _):
            await asyncio.gather(
                *(store.append(draft(str(n), topics[n * 7 % 50])) for n in range(3000))
            )
            found: list[int] = []
            at = 0
            while at < 3000:
                page = await store.read((*topics, "none"), at, 3001, 4096)
                found += [entry.position for entry in page.entries]
                assert at < page.end
                at = page.end

        assert list(range(1, 3001)) == found

    async def test_deep_replay_of_one_topic_does_not_read_the_others(self, path: Path) -> None:
        """The plan of the query walks the topic's own index: no scan, no sorting."""
        from fastsse.broadcast.stores.sqlite.reading import OF_TOPIC

        async with opened(path):
            pass
        with contextlib.closing(sqlite3.connect(path)) as db:
            plan = " ".join(
                row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {OF_TOPIC}", [1, 0, 9, 9])
            )

        assert "SEARCH p USING PRIMARY KEY (topic=? AND position>? AND position<?)" in plan
        assert "SCAN" not in plan
        assert "TEMP B-TREE" not in plan

    async def test_a_store_that_is_closed_reads_and_writes_nothing(self, path: Path) -> None:
        store = SqliteStore(path)
        await store.close()

        for call in (store.append(draft("x")), store.read(("a",), 0, 1, 1), store.scan(0, 1)):
            with pytest.raises(OSError, match="not open"):
                await call


class TestCopies:
    async def test_a_copied_log_keeps_epoch_positions_and_extent(self, tmp_path: Path) -> None:
        entries = [Entry(3, ("a",), b"data: x\n\n"), Entry(7, ("a", "b"), b"data: y\n\n")]
        store = SqliteStore(tmp_path / "copy.db")
        await store.open()
        await store.adopt(Log("elsewhere", 2, 9))
        await store.put(entries)
        page = await store.scan(0, 2**20)
        with pytest.raises(OSError, match="does not follow"):
            await store.put([Entry(7, ("a",), b"data: z\n\n")])
        with pytest.raises(OSError, match="new file"):
            await store.adopt(Log("other"))
        await store.close()

        assert Log("elsewhere", 2, 9) == await store.open()
        told = Recorder()
        await store.follow(told, 10)
        position = await store.append(draft("z"))
        await store.close()
        assert [("lost", 2), ("entry", 3), ("entry", 7), ("entry", 10)] == told.news
        assert 10 == position
        assert [(e.position, e.topics, e.block) for e in entries] == [
            (e.position, e.topics, e.block) for e in page.entries
        ]
        assert ("elsewhere", 2, 9) == (page.epoch, page.floor, page.end)

    async def test_trimming_goes_step_by_step(self, path: Path) -> None:
        async with opened(path) as (store, _):
            await asyncio.gather(*(store.append(draft(str(n))) for n in range(1500)))
        store = SqliteStore(path, retention=Retention(Keep(events=100)))
        await store.open()
        while await store.trim():
            pass
        await store.close()

        assert (100, 1401) == (
            ask(path, "SELECT count(*) FROM log"),
            ask(path, "SELECT min(position) FROM log"),
        )


async def test_opening_does_not_depend_on_the_size_of_the_log(path: Path) -> None:
    """An opening and a short tail take what an index finds, at any size."""
    store = SqliteStore(path)
    await store.open()
    entries = [Entry(n, (f"t{n % 100}",), b"data: x\n\n") for n in range(1, 100_001)]
    for start in range(0, len(entries), 20_000):
        await store.put(entries[start : start + 20_000])
    await store.close()

    begun = time.process_time()
    async with opened(path, tail=10) as (_, told):
        took = time.process_time() - begun

    assert 10 == len(told.entries)
    assert took < 0.5


async def test_a_trim_goes_through_all_topics_and_counts_what_went(path: Path) -> None:
    """More topics than one round looks at, and of the last ones more entries than one step takes."""
    async with opened(path) as (store, _):
        for topic, count in [*((f"t{n:03}", 1) for n in range(300)), ("u", 1300), ("v", 3)]:
            await asyncio.gather(*(store.append(draft("x", topic)) for _ in range(count)))
    keep = Retention(topics=((Pattern.of("u"), Keep(events=2)),))
    store = SqliteStore(path, retention=keep)

    log = await store.open_to_change()
    gone = [await store.trim()]
    while gone[-1]:
        gone.append(await store.trim())
    left = [(await store.read((topic,), 0, log.head + 1, 2**20)).entries for topic in "uv"]
    await store.close()

    assert 1298 == sum(gone)
    assert (2, 3) == (len(left[0]), len(left[1]))
