"""A log in JetStream through everything that befalls a server: killed, rolled back, emptied, paused, cut off, full.

The servers are real, and killed by SIGKILL. Tests that leave their server running share one, each with a namespace of
its own.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
import random
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from support.engines import Nats, need_engine, shared
from support.gates import Gate
from support.servers import DEADLINE, free_port
from support.stores import Recorder

from fastsse.broadcast import SettingError, Settings
from fastsse.broadcast.stores import Archive, Draft, KeyReused, StorageFull, StoreUnusable
from fastsse.broadcast.stores._remote import RemoteStore
from fastsse.broadcast.stores.opening import Address, open_url
from fastsse.broadcast.stores.retention import Keep, Retention

_names = itertools.count()
Opened = tuple[RemoteStore, Recorder]
Open = Callable[..., "asyncio.Future[Opened]"]


@pytest.fixture(autouse=True, scope="module")
def _needed() -> None:
    need_engine(Nats)


def draft(text: object, *topics: str) -> Draft:
    return Draft(topics or ("a",), f"data: {text}\n\n".encode())


def texts(told: Recorder) -> list[bytes]:
    return [entry.block[6:-2] for entry in told.entries]


def epochs(told: Recorder) -> list[str]:
    return [log.epoch for verb, log in told.news if verb == "renewed"]  # type: ignore[attr-defined]


def lost(told: Recorder) -> list[object]:
    return [value for verb, value in told.news if verb == "lost"]


@pytest.fixture
def server() -> Iterator[Nats]:
    """Run a server that this test may kill."""
    engine = Nats()
    engine.start()
    yield engine
    engine.close()


@pytest.fixture
def calm() -> Nats:
    """Give the server that all tests share."""
    return cast("Nats", shared(Nats))


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., object]]:
    """Give a function that opens and follows a store, which is closed in the end."""
    async with AsyncExitStack() as stack:

        async def open(url: str, *, tail: int = 100, keep: Keep | None = None) -> Opened:
            store = cast("RemoteStore", open_url(url, retention=Retention(keep or Keep())))
            store._patience = DEADLINE
            stack.push_async_callback(store.close)
            told = Recorder()
            await store.open()
            await store.follow(told, tail)
            return store, told

        yield open


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here, which makes the key")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*request.split(), *names], check=True, capture_output=True)
    return certificate, key


def fresh(engine: Nats) -> str:
    return engine.url(f"n{next(_names)}")


def namespace(url: str) -> str:
    return url.rpartition("=")[2]


def through(gate: Gate, url: str) -> str:
    return f"nats://127.0.0.1:{gate.port}?namespace={namespace(url)}"


class TestShared:
    async def test_all_processes_are_told_all_entries_in_one_order(
        self, calm: Nats, opened: Open
    ) -> None:
        url = fresh(calm)
        stores = [await opened(url) for _ in range(3)]

        given = await asyncio.gather(
            *(
                store.append(draft(f"{n}-{k}"))
                for n in range(50)
                for k, (store, _) in enumerate(stores)
            )
        )

        orders = [[e.position for e in await told.told(150)] for _, told in stores]
        assert orders[0] == orders[1] == orders[2] == sorted(given)
        assert 150 == len({entry.block for entry in stores[0][1].entries})

    async def test_a_key_holds_in_every_process(self, calm: Nats, opened: Open) -> None:
        url = fresh(calm)
        (one, told), (two, _) = await opened(url), await opened(url)

        first = await one.append(draft("x"), "k")

        assert first == await two.append(draft("x"), "k")
        with pytest.raises(KeyReused):
            await two.append(draft("y"), "k")
        await one.append(draft("z"))
        await told.told(2)
        assert [b"x", b"z"] == texts(told)

    async def test_one_key_at_once_from_everywhere_appends_once(
        self, calm: Nats, opened: Open
    ) -> None:
        url = fresh(calm)
        stores = [await opened(url) for _ in range(3)]

        found = await asyncio.gather(*(s.append(draft("x"), "k") for s, _ in stores * 5))

        assert 1 == len(set(found))

    async def test_two_namespaces_are_two_logs(self, calm: Nats, opened: Open) -> None:
        (one, told), (_, other) = await opened(fresh(calm)), await opened(fresh(calm))

        await one.append(draft("x"))
        await told.told(1)

        assert [] == other.news

    @pytest.mark.parametrize(
        "topics",
        [
            ("a.b",), ("a b",), ("*",), (">",), ("%2E",), ("%~x",), ("ü/é\N{SNOWMAN}",), ("$JS.API",), ("..",),
            ("\xa0",), ("x" * 256,), ("\N{SNOWMAN}" * 1365,), tuple(sorted(f"t{n}.ü" for n in range(100))),
        ],
        ids=ascii,
    )  # fmt: skip
    async def test_topics_of_any_name_come_as_they_were_and_can_be_read(
        self, calm: Nats, opened: Open, topics: tuple[str, ...]
    ) -> None:
        store, told = await opened(fresh(calm))

        position = await store.append(draft("x", *topics))

        [entry] = await told.told(1)
        assert topics == entry.topics
        page = await cast("Archive", store).read(topics[-1:], 0, position + 1, 1000)
        assert [topics] == [entry.topics for entry in page.entries]

    async def test_a_large_event_comes_whole_and_one_too_large_is_refused_alone(
        self, calm: Nats, opened: Open
    ) -> None:
        store, told = await opened(fresh(calm))

        large, huge, small = await asyncio.gather(
            *(store.append(draft("x" * size)) for size in (2**20 - 1000, 2**20, 1)),
            return_exceptions=True,
        )

        assert isinstance(huge, OSError)
        assert "max_payload" in str(huge)
        assert [large, small] == [entry.position for entry in await told.told(2)]

    async def test_a_short_tail_of_a_long_log(self, calm: Nats, opened: Open) -> None:
        url = fresh(calm)
        store, _ = await opened(url)
        positions = await asyncio.gather(*(store.append(draft(n)) for n in range(2500)))

        _, told = await opened(url, tail=1500)

        assert [("lost", positions[999])] == told.news[:1]
        assert positions[1000:] == [entry.position for entry in told.entries]

    async def test_its_numbers_are_those_of_the_stream(self, calm: Nats, opened: Open) -> None:
        url = fresh(calm)
        store, _ = await opened(url)
        for n in range(3):
            await store.append(draft(n))

        other, _ = await opened(url)

        state = other.state()  # type: ignore[attr-defined]
        assert ("nats", 0, 3, 0) == (state.engine, state.queued, state.entries, state.unreadable)
        assert state.size > 3 * len(b"data: 0\n\n")


class TestServerKilled:
    async def test_with_its_data_nothing_is_lost_and_nothing_comes_twice(
        self, server: Nats, opened: Open
    ) -> None:
        (one, told), (two, other) = await opened(server.url("n")), await opened(server.url("n"))
        before = [await one.append(draft(n)) for n in range(10)]

        server.kill()
        waiting = [
            asyncio.ensure_future(s.append(draft(f"w{n}"))) for n, s in enumerate((one, two))
        ]
        await told.until(lambda told: ("stalled", True) in told.news)
        server.start()
        positions = before + await asyncio.gather(*waiting)

        for recorder in (told, other):
            assert sorted(positions) == [e.position for e in await recorder.told(12)]
            assert [] == epochs(recorder)
            assert ["stalled", "stalled"] == [v for v, _ in recorder.news if v not in ("entry",)]
        assert max(before) < min(positions[10:])

    async def test_keys_are_remembered_over_a_restart(self, server: Nats, opened: Open) -> None:
        store, told = await opened(server.url("n"))
        first = await store.append(draft("x"), "k")

        server.kill()
        server.start()

        assert first == await store.append(draft("x"), "k")
        with pytest.raises(KeyReused):
            await store.append(draft("y"), "k")
        assert [first] == [entry.position for entry in await told.told(1)]

    @pytest.mark.parametrize("change", ["put_back", "empty"])
    async def test_with_less_than_it_had_every_process_is_told_one_other_log(
        self, server: Nats, opened: Open, change: str
    ) -> None:
        stores = [await opened(server.url("n")) for _ in range(3)]
        log = await cast("Archive", stores[0][0]).read(("a",), 0, 1, 1)
        await stores[0][0].append(draft("kept"))
        server.save()
        for n in range(3):
            await stores[n][0].append(draft(f"gone{n}"))
        for _, told in stores:
            await told.told(4)

        server.kill()
        getattr(server, change)()
        server.start()
        for _, told in stores:
            await told.until(epochs)
        after = [await store.append(draft(f"after{n}")) for n, (store, _) in enumerate(stores)]

        assert 1 == len({epochs(told)[-1] for _, told in stores} - {log.epoch})
        for _, told in stores:
            await told.told(7)
            assert [
                b"kept",
                b"gone0",
                b"gone1",
                b"gone2",
                b"after0",
                b"after1",
                b"after2",
            ] == texts(told)
            assert after == [entry.position for entry in told.entries[4:]]

    async def test_an_append_that_was_lost_with_its_key_can_be_made_again(
        self, server: Nats, opened: Open
    ) -> None:
        store, told = await opened(server.url("n"))
        server.save()
        await store.append(draft("x"), "k")
        await told.told(1)

        server.kill()
        server.put_back()
        server.start()
        await told.until(epochs)
        again = await store.append(draft("x"), "k")

        assert again == (await told.told(2))[-1].position
        assert again == await store.append(draft("x"), "k")

    async def test_a_rollback_that_only_one_process_can_know_is_told_to_all(
        self, server: Nats, opened: Open
    ) -> None:
        (old, told), _ = await opened(server.url("n")), None
        await old.append(draft("kept"))
        server.save()
        await old.append(draft("gone"))
        await told.told(2)
        before = (await old.read(("a",), 0, 1, 1)).epoch  # type: ignore[attr-defined]
        await old.close()
        server.kill()
        server.put_back()
        server.start()
        new, other = await opened(server.url("n"))
        for n in range(3):
            await new.append(draft(f"between{n}"))
        await other.told(4)

        log = await old.open()
        await other.until(epochs)
        last = await new.append(draft("after"))

        assert log.epoch == epochs(other)[-1] != before
        assert last == (await other.told(5))[-1].position
        _, fresh_one = await opened(server.url("n"))
        assert last > cast("int", lost(fresh_one)[0]) >= log.head
        assert [last] == [entry.position for entry in fresh_one.entries]

    async def test_a_name_that_only_the_ledger_has_is_marked_by_the_next_process(
        self, server: Nats, opened: Open
    ) -> None:
        """A process that dies between ledger and mark must not leave the others in the old log."""
        url = server.url("n")
        store, told = await opened(url)
        await store.append(draft("x"))
        found = server.ask("STREAM.MSG.GET.n_epoch", {"last_by_subj": "n.epoch"})["message"]
        name = json.loads(base64.b64decode(found["data"]))
        name |= {"epoch": "other", "generation": 2, "start": 1}
        server.publish("n.epoch", json.dumps(name).encode())

        await opened(url)
        await told.until(epochs)

        assert ["other"] == epochs(told)

    async def test_a_stream_that_is_deleted_under_everybody_is_another_log(
        self, server: Nats, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fastsse.broadcast.stores.nats.store._TEND", 0.2)
        (one, told), (_, other) = await opened(server.url("n")), await opened(server.url("n"))
        await one.append(draft("x"))
        await other.told(1)

        server.ask("STREAM.DELETE.n")
        await one.append(draft("y"))

        for recorder in (told, other):
            await recorder.told(2)
            assert [b"x", b"y"] == texts(recorder)
            assert epochs(told) == epochs(recorder)
            assert 1 == len(epochs(recorder))


class TestContactLost:
    async def test_an_append_whose_answer_was_lost_is_found_and_not_made_twice(
        self, calm: Nats, opened: Open
    ) -> None:
        async with Gate(calm.port) as gate:
            store, told = await opened(through(gate, fresh(calm)))
            await store.append(draft("before"))

            gate.swallow = b"data: x"
            position = await store.append(draft("x"))
            last = await store.append(draft("after"))

            assert 1 == gate.swallowed
            await told.told(3)
            assert [b"before", b"x", b"after"] == texts(told)
            assert [position, last] == [e.position for e in told.entries[1:]]

    async def test_a_key_whose_answer_was_lost_is_no_key_of_another_event(
        self, calm: Nats, opened: Open
    ) -> None:
        async with Gate(calm.port) as gate:
            store, told = await opened(through(gate, fresh(calm)))

            gate.swallow = b"data: x"
            position = await store.append(draft("x"), "k")

            assert 1 == gate.swallowed
            assert [position] == [e.position for e in await told.told(1)]

    async def test_an_append_that_never_left_is_made_later(self, calm: Nats, opened: Open) -> None:
        async with Gate(calm.port) as gate:
            store, told = await opened(through(gate, fresh(calm)))
            gate.shut()
            await told.until(lambda told: ("stalled", True) in told.news)

            waiting = asyncio.ensure_future(store.append(draft("x")))
            await asyncio.sleep(0)
            gate.open()

            assert await waiting == (await told.told(1))[0].position
            await told.until(lambda told: ("stalled", False) in told.news)

    async def test_what_was_missed_is_reported_in_order(self, calm: Nats, opened: Open) -> None:
        url = fresh(calm)
        async with Gate(calm.port) as gate:
            (_, told), (other, _) = await opened(through(gate, url)), await opened(url)
            gate.shut()
            positions = [await other.append(draft(n)) for n in range(20)]
            gate.open()

            assert positions == [e.position for e in await told.told(20)]
            assert [] == [verb for verb, _ in told.news if verb in ("lost", "renewed")]

    async def test_what_was_trimmed_meanwhile_is_lost_exactly(
        self, calm: Nats, opened: Open
    ) -> None:
        url = fresh(calm)
        async with Gate(calm.port) as gate:
            (_, told), (other, _) = await opened(through(gate, url)), await opened(url)
            gate.shut()
            positions = [await other.append(draft(n)) for n in range(20)]
            calm.ask(f"STREAM.PURGE.{namespace(url)}", {"seq": positions[12]})
            gate.open()

            assert positions[12:] == [entry.position for entry in await told.told(8)]
            assert [positions[11]] == lost(told)

    async def test_a_log_that_was_trimmed_to_nothing_meanwhile_is_lost_to_its_end(
        self, calm: Nats, opened: Open
    ) -> None:
        url = fresh(calm)
        async with Gate(calm.port) as gate:
            (_, told), (other, _) = await opened(through(gate, url)), await opened(url)
            gate.shut()
            last = [await other.append(draft(n)) for n in range(3)][-1]
            calm.ask(f"STREAM.PURGE.{namespace(url)}")
            gate.open()
            await told.until(lost)
            after = await other.append(draft("after"))

            assert [after] == [entry.position for entry in await told.told(1)]
            assert [last] == lost(told)

    async def test_an_entry_that_somebody_deletes_before_it_was_read_is_lost_alone(
        self, calm: Nats, opened: Open
    ) -> None:
        url = fresh(calm)
        async with Gate(calm.port) as gate:
            (_, told), (other, _) = await opened(through(gate, url)), await opened(url)
            gate.shut()
            one, two, three, four = [await other.append(draft(n)) for n in range(4)]
            calm.ask(f"STREAM.MSG.DELETE.{namespace(url)}", {"seq": two})
            gate.open()

            assert [one, three, four] == [entry.position for entry in await told.told(3)]
            assert [two] == lost(told)

    async def test_a_consumer_that_is_deleted_is_made_anew_at_the_next_entry(
        self, calm: Nats, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = fresh(calm)
        store, told = await opened(url)
        first = await store.append(draft("x"))
        await told.told(1)
        monkeypatch.setattr("fastsse.broadcast.stores.nats.watch.SILENCE", 0.5)
        monkeypatch.setattr("fastsse.broadcast.stores.nats.store._TEND", 0.2)
        store._watch.link.lose("the short waits begin")  # type: ignore[attr-defined]
        [name] = await _consumers(calm, namespace(url))

        calm.ask(f"CONSUMER.DELETE.{namespace(url)}.{name}")
        second = await store.append(draft("y"))

        assert [first, second] == [entry.position for entry in await told.told(2)]

    async def test_appends_give_up_after_a_while_and_the_store_recovers(
        self, server: Nats, opened: Open
    ) -> None:
        store, told = await opened(server.url("n"))
        await store.append(draft("x"))

        server.pause()
        store._patience = 0.5
        with pytest.raises(OSError, match=r"did not answer within 0\.5 s: nobody knows"):
            await store.append(draft("y"))
        server.resume()

        store._patience = DEADLINE
        last = await store.append(draft("z"))
        await told.until(lambda told: told.entries and told.entries[-1].position == last)
        assert texts(told) in ([b"x", b"z"], [b"x", b"y", b"z"])

    async def test_a_store_that_is_down_at_the_start_can_be_opened_later(
        self, server: Nats
    ) -> None:
        server.kill()
        store = open_url(server.url("n"))
        with pytest.raises(OSError, match="Connect"):
            await store.open()

        server.start()

        assert 0 == (await store.open()).head
        await store.close()

    async def test_another_server_of_several_is_taken_when_one_is_down(
        self, server: Nats, opened: Open
    ) -> None:
        down = free_port()
        for _ in range(4):  # which are taken in any order
            url = f"nats://127.0.0.1:{down},127.0.0.1:{server.port}?namespace=n"
            store, _ = await opened(url)
            assert await store.append(draft("x"))


async def _consumers(engine: Nats, stream: str) -> list[str]:
    """Wait until a stream has one consumer, and return its name."""
    async with asyncio.timeout(DEADLINE):
        while True:
            names = engine.ask(f"CONSUMER.NAMES.{stream}")["consumers"] or []
            if len(names) == 1:
                return cast("list[str]", names)
            await asyncio.sleep(0.05)


class TestServerRefuses:
    async def test_without_jetstream_the_error_says_so(self) -> None:
        engine = Nats()
        engine.command = lambda: ["nats-server", "--addr", "127.0.0.1", "--port", str(engine.port)]  # type: ignore[method-assign]
        engine.answers = lambda: _listens(engine.port)  # type: ignore[method-assign]
        engine.start()
        try:
            with pytest.raises(OSError, match="JetStream"):
                await open_url(engine.url("n")).open()
        finally:
            engine.close()

    async def test_a_stream_of_somebody_else_is_left_alone(self, calm: Nats) -> None:
        calm.ask("STREAM.CREATE.theirs", {"name": "theirs", "subjects": ["their.>"]})

        with pytest.raises(StoreUnusable, match="another namespace"):
            await open_url(calm.url("theirs")).open()

        assert ["their.>"] == calm.ask("STREAM.INFO.theirs")["config"]["subjects"]

    async def test_no_room_for_the_log_is_an_error_that_says_so(self, calm: Nats) -> None:
        store = open_url(fresh(calm), retention=Retention(Keep(bytes=2**60)))

        with pytest.raises(StorageFull, match="keep less"):
            await store.open()

    async def test_a_full_stream_refuses_appends_and_recovers(
        self, calm: Nats, opened: Open
    ) -> None:
        url = fresh(calm)
        store, told = await opened(url)
        config = calm.ask(f"STREAM.INFO.{namespace(url)}")["config"]
        full = {"discard": "new", "max_msgs": 2}
        calm.ask(f"STREAM.UPDATE.{namespace(url)}", {**config, **full})
        await store.append(draft(1))
        await store.append(draft(2))

        with pytest.raises(StorageFull):
            await store.append(draft(3))
        calm.ask(f"STREAM.UPDATE.{namespace(url)}", config)
        await store.append(draft(4))

        await told.told(3)
        assert [b"1", b"2", b"4"] == texts(told)

    @pytest.mark.parametrize(
        ("account", "allowed"),
        [("me:se%20cret@", True), ("me:no@", False), ("", False), ("token@", False)],
    )
    async def test_user_and_password(self, account: str, allowed: bool) -> None:
        engine = Nats("--user", "me", "--pass", "se cret")
        engine.answers = lambda: _listens(engine.port)  # type: ignore[method-assign]
        engine.start()
        store = open_url(f"nats://{account}127.0.0.1:{engine.port}")
        try:
            if allowed:
                assert await store.open()
            else:
                with pytest.raises(OSError, match="Authorization") as caught:
                    await store.open()
                assert "no@" not in str(caught.value)
        finally:
            await store.close()
            engine.close()

    async def test_a_token(self) -> None:
        engine = Nats("--auth", "to/ken")
        engine.answers = lambda: _listens(engine.port)  # type: ignore[method-assign]
        engine.start()
        store = open_url(f"nats://to%2Fken@127.0.0.1:{engine.port}")
        try:
            assert await store.open()
        finally:
            await store.close()
            engine.close()

    async def test_tls_with_an_authority_of_ones_own(self, keys: tuple[Path, Path]) -> None:
        certificate, key = keys
        engine = Nats("--tls", "--tlscert", str(certificate), "--tlskey", str(key))
        engine.answers = lambda: _listens(engine.port)  # type: ignore[method-assign]
        engine.start()
        store = open_url(f"tls://127.0.0.1:{engine.port}?tls_ca={certificate}")
        try:
            assert await store.open()
            with pytest.raises(OSError, match="certificate"):
                await open_url(f"tls://127.0.0.1:{engine.port}").open()
        finally:
            await store.close()
            engine.close()


def _listens(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


class TestForeignMessages:
    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"hello",
            b"1\na\n\n",
            b"2\na\n\ndata: x\n\n",
            b"1\n\xff\n\ndata: x\n\n",
            b"1\na\n\ndata",
        ],
    )
    async def test_what_is_not_ours_is_passed_over(
        self, calm: Nats, opened: Open, payload: bytes
    ) -> None:
        url = fresh(calm)
        store, told = await opened(url)
        for subject in ("one.a", "many", "mark"):
            calm.publish(f"{namespace(url)}.{subject}", payload)

        position = await store.append(draft("x"))

        await told.told(1)
        assert [("entry", position)] == told.news
        assert 3 == store.skipped
        page = await cast("Archive", store).read(("a",), 0, position + 1, 1000)
        assert ([position], position) == ([e.position for e in page.entries], page.end)

    async def test_the_first_one_is_logged_and_all_are_counted(
        self, calm: Nats, opened: Open, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = fresh(calm)
        store, told = await opened(url)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                calm.publish(f"{namespace(url)}.one.a", b"hello")
            await store.append(draft("x"))
            await told.told(1)

        assert 1 == sum("cannot be read" in record.message for record in caplog.records)
        assert 3 == store.skipped

    @pytest.mark.parametrize(
        "change",
        [{"generation": 0}, {"generation": 2**31}, {"generation": "x"}, {"epoch": "a b"}, {"start": -1},
         {"created": None}],
    )  # fmt: skip
    async def test_a_mark_that_cannot_be_is_no_mark(
        self, calm: Nats, opened: Open, change: dict[str, Any]
    ) -> None:
        url = fresh(calm)
        store, told = await opened(url)
        name = {"epoch": "x", "generation": 9, "created": "x", "start": 0} | change
        if change.get("created", "") is None:
            del name["created"]
        calm.publish(f"{namespace(url)}.mark", json.dumps(name).encode())

        await store.append(draft("x"))

        await told.told(1)
        assert [] == epochs(told)

    async def test_a_ledger_that_cannot_be_read_is_written_anew(
        self, server: Nats, opened: Open
    ) -> None:
        store, told = await opened(server.url("n"))
        await store.append(draft("x"))
        server.publish("n.epoch", b"hello")

        server.kill()
        server.start()
        await told.until(epochs)
        await store.append(draft("y"))

        await told.told(2)
        assert [b"x", b"y"] == texts(told)


class TestArchive:
    async def test_pages_have_what_the_log_has_whatever_is_gone_from_it(
        self, calm: Nats, opened: Open
    ) -> None:
        chance = random.Random(7)
        url = fresh(calm)
        store, told = await opened(url)
        names = [f"t.{n}" for n in range(8)]

        def some() -> Draft:
            topics = sorted(chance.sample(names, chance.choice([1, 1, 1, 2, 5])))
            return draft("x" * chance.choice([1, 50, 3000]), *topics)

        await asyncio.gather(*(store.append(some()) for _ in range(600)))
        log = list(await told.told(600))
        holes = {chance.randrange(1, 600) for _ in range(15)}
        gone = holes | set(range(1, 100))
        calm.ask(f"STREAM.PURGE.{namespace(url)}", {"seq": 100})
        for sequence in holes:
            calm.ask(f"STREAM.MSG.DELETE.{namespace(url)}", {"seq": sequence})
        log = [entry for entry in log if entry.position not in gone]

        for count, limit in ((1, 1), (1, 4000), (3, 700), (8, 2**15)):
            topics = tuple(chance.sample(names, count))
            wanted = [e.position for e in log if not set(topics).isdisjoint(e.topics)]
            found: list[int] = []
            at = chance.choice([0, 150])
            first = at
            while at < 601:
                page = await cast("Archive", store).read(topics, at, 602, limit)
                found += [entry.position for entry in page.entries]
                assert at < page.end <= 601
                assert page.floor >= 99
                assert sum(len(e.block) for e in page.entries[:-1]) < limit
                at = page.end
            assert [position for position in wanted if position > first] == found

    async def test_an_event_that_is_larger_than_a_page_comes_alone(
        self, calm: Nats, opened: Open
    ) -> None:
        store, _ = await opened(fresh(calm))
        for size in (10, 500_000, 10):
            await store.append(draft("x" * size))

        pages = [await cast("Archive", store).read(("a",), at, 4, 100) for at in (0, 1, 2)]

        found = [[entry.position for entry in page.entries] for page in pages]
        assert [1] == found[0][:1]
        assert [[2], [3]] == found[1:]

    async def test_reading_leaves_no_consumers(self, calm: Nats, opened: Open) -> None:
        url = fresh(calm)
        store, _ = await opened(url)
        await store.append(draft("x"))

        for _ in range(20):
            await cast("Archive", store).read(("a",), 0, 2, 100)

        assert await _consumers(calm, namespace(url))

    async def test_without_contact_nothing_can_be_read(self, server: Nats, opened: Open) -> None:
        store, told = await opened(server.url("n"))
        server.kill()
        await told.until(lambda told: told.news)

        with pytest.raises(OSError, match="reached"):
            await cast("Archive", store).read(("a",), 0, 2, 100)


class TestRetention:
    async def test_a_count_of_events_is_kept(self, calm: Nats, opened: Open) -> None:
        url = fresh(calm)
        store, _ = await opened(url, keep=Keep(events=10))
        last = [await store.append(draft(n)) for n in range(30)][-1]

        page = await cast("Archive", store).read(("a",), 0, last + 1, 10_000)

        assert (10, last - 10) == (len(page.entries), page.floor)

    async def test_a_count_of_bytes_is_kept(self, calm: Nats, opened: Open) -> None:
        store, _ = await opened(fresh(calm), keep=Keep(bytes=10_000))
        last = [await store.append(draft("x" * 1000)) for n in range(30)][-1]

        page = await cast("Archive", store).read(("a",), 0, last + 1, 10**6)

        assert 5 <= len(page.entries) <= 9

    async def test_old_entries_go(self, calm: Nats, opened: Open) -> None:
        url = fresh(calm)
        store, _ = await opened(url, keep=Keep(seconds=1))
        first = await store.append(draft("x"))

        async with asyncio.timeout(DEADLINE):
            while True:
                page = await cast("Archive", store).read(("a",), 0, first + 1, 100)
                if page.floor:
                    break
                await asyncio.sleep(0.1)

        assert ([], first) == (page.entries, page.floor)

    async def test_other_bounds_at_the_next_start_are_those_of_the_stream(
        self, calm: Nats, opened: Open
    ) -> None:
        url = fresh(calm)
        store, _ = await opened(url)
        for n in range(10):
            await store.append(draft(n))

        other = open_url(url, retention=Retention(Keep(events=3)))
        log = await other.open()
        await other.close()

        assert 3 == calm.ask(f"STREAM.INFO.{namespace(url)}")["config"]["max_msgs"]
        assert 10 == log.head


class TestUrl:
    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("nats://host?namespace=a.b", "namespace"),
            ("nats://host?namespace=" + "x" * 33, "namespace"),
            ("nats://host:0", "port"),
            ("nats://a:1,b:x", "port"),
            ("nats://host/events", "path"),
            ("nats://me:secret@host?replicas=7", "replicas"),
            ("nats://me:secret@host?keys=1", "keys"),
            ("nats://me:secret@host?storage=disk", "storage"),
            ("nats://me:secret@host?tls_ca=/nowhere", "TLS"),
            ("nats://me:secret@host?x=1", "'x' is unknown"),
        ],
    )
    def test_a_url_that_cannot_be_used_says_what_is_wrong(self, url: str, words: str) -> None:
        with pytest.raises(SettingError, match=words) as caught:
            open_url(url)

        assert "secret" not in str(caught.value)

    def test_topics_with_bounds_of_their_own_are_refused(self) -> None:
        bounds = Retention.of(Settings(topics={"a*": {"retain_events": 5}}))

        with pytest.raises(SettingError, match="bounds of their own"):
            open_url("nats://host", retention=bounds)

    def test_several_hosts_are_no_error_of_the_url(self) -> None:
        assert open_url("nats://a:1,b:2,[::1]:3,c")
        assert "nats://a:1,b:2" == Address.of("nats://secret@a:1,b:2").shown


def test_tls_is_asked_for_by_the_scheme_or_an_option() -> None:
    from fastsse.broadcast.stores.nats.link import Place

    found = [
        Place(Address.of(url).parts, Address.of(url).options)._options.get("tls")
        for url in ("nats://a", "tls://a", "nats://a?tls_hostname=b")
    ]

    assert [None, True, True] == [one and isinstance(one, ssl.SSLContext) for one in found]
