"""`fastsse store`: a log is looked at, copied with its ids, trimmed; whatever cannot be is told in words."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from support.commands import Command

from fastsse.broadcast import Draft, Hub
from fastsse.broadcast.stores.sqlite import SqliteStore


async def _fill(path: Path, count: int) -> None:
    store = SqliteStore(path, synchronous="normal")
    await store.open()
    await asyncio.gather(
        *(
            store.append(Draft(("a", f"t{n % 3}"), f"data: ä {n}\n\n".encode()))
            for n in range(count)
        )
    )
    await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    asyncio.run(_fill(path, 300))
    return path


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def test_info_says_what_a_log_holds(command: Command, path: Path) -> None:
    done = command("store", "info", url(path))

    assert 0 == done.code, done
    found = json.loads(done.out)
    assert (0, 300, 300, "sqlite") == tuple(
        found[k] for k in ("floor", "head", "entries", "engine")
    )


def test_a_copy_has_the_entries_the_ids_and_the_extent(
    command: Command, path: Path, tmp_path: Path
) -> None:
    out = command("store", "export", url(path))
    copy = tmp_path / "copy.db"
    put = command("store", "import", url(copy), given=out.out.encode())
    again = command("store", "export", url(copy))

    assert (0, 0, 0) == (out.code, put.code, again.code), put
    assert out.out == again.out
    lines = [json.loads(line) for line in out.out.splitlines()]
    assert {"position": 2, "topics": ["a", "t1"], "block": "data: ä 1\n\n"} == lines[2]
    assert {"entries": 300} == lines[-1]
    assert 302 == len(lines)


def test_a_copy_keeps_what_hubs_have_told_each_other_and_whatever_a_hub_writes(
    command: Command, tmp_path: Path
) -> None:
    async def fill() -> None:
        async with Hub(store=SqliteStore(tmp_path / "log.db")) as hub:
            await hub.publish("a", "", event="x", retry=5)
            await hub.publish("a", "one\n\nid: 7\r\ndata: \u2028")
            await hub.publish_block("a", b"id: 5\nevent: id\ndata:\ndata:id\n\n")
            await hub.revoke(jti="lost")
            await hub.end("a")

    asyncio.run(fill())
    out = command("store", "export", url(tmp_path / "log.db"))
    put = command("store", "import", url(tmp_path / "copy.db"), given=out.out.encode())

    assert (0, 0) == (out.code, put.code), put
    assert out.out == command("store", "export", url(tmp_path / "copy.db")).out
    assert 5 == json.loads(out.out.splitlines()[-1])["entries"]


def test_a_log_that_a_server_writes_to_can_be_looked_at_and_copied(
    command: Command, path: Path
) -> None:
    store = SqliteStore(path)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(store.open())
    try:
        assert 0 == command("store", "info", url(path)).code
        assert 302 == len(command("store", "export", url(path)).out.splitlines())
        refused = command("store", "trim", url(path))
    finally:
        loop.run_until_complete(store.close())
        loop.close()

    assert 1 == refused.code
    assert "in use by process" in refused.err


def test_trim_keeps_the_newest(command: Command, path: Path) -> None:
    done = command("store", "trim", url(path), "--retain-events", "10")

    assert (0, "290 entries have gone\n") == (done.code, done.err)
    found = json.loads(command("store", "info", url(path)).out)
    assert (290, 300, 10) == (found["floor"], found["head"], found["entries"])


def test_import_goes_into_a_new_log_alone(command: Command, path: Path) -> None:
    lines = command("store", "export", url(path)).out.encode()

    done = command("store", "import", url(path), given=lines)

    assert 1 == done.code
    assert "import into a new file" in done.err
    assert 300 == json.loads(command("store", "info", url(path)).out)["entries"]


HEAD = '{"fastsse":"log","version":1,"epoch":"e","floor":0,"head":9}\n'
ENTRY = '{"position":1,"topics":["a"],"block":"data: x\\n\\n"}\n'


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "line 1: no JSON"),
        ("[]\n", "line 1: must be an object"),
        ("{}\n", "line 1: not a log"),
        (HEAD.replace(":1,", ":2,"), "line 1: written by a newer fastsse"),
        (HEAD.replace(":9", ":-9"), "line 1: epoch, floor and head"),
        (HEAD.replace(':"e"', ":5"), "line 1: epoch, floor and head"),
        (HEAD.replace(':"e"', ':""'), "line 1: epoch, floor and head"),
        (HEAD.replace(':"e"', """:"e'-"}"""), "line 1: no JSON"),
        (HEAD.replace(':"e"', """:"e'-x" """), "line 1: epoch, floor and head"),
        (HEAD, "the lines end too early: 0 entries"),
        (HEAD + ENTRY, "the lines end too early: 1 entries"),
        (HEAD + ENTRY + '{"entries":2}\n', "line 3: 2 entries were written, and 1 are here"),
        (HEAD + "{}\n", "line 2: must have position"),
        (HEAD + ENTRY.replace("1", "true"), "line 2: must have position"),
        (HEAD + ENTRY.replace('"a"', ""), "line 2: must have position"),
        (HEAD + ENTRY.replace("a", "a\\n"), "line 2: must have position"),
        (HEAD + ENTRY.replace("a", "\\u0001others"), "line 2: must have position"),
        (HEAD + ENTRY.replace("data: x\\n\\n", ""), "line 2: the block must be that of one event"),
        (HEAD + ENTRY.replace("x\\n\\n", "x\\n"), "line 2: the block must be that of one event"),
        (
            HEAD + ENTRY.replace("x", "x\\n\\ndata: y"),
            "line 2: the block must be that of one event",
        ),
        (
            HEAD + ENTRY.replace("x", "x\\r\\rdata: y"),
            "line 2: the block must be that of one event",
        ),
        (HEAD + ENTRY.replace("x", "x\\nid: 9"), "line 2: the block must be that of one event"),
        (HEAD + ENTRY.replace("data: x", "id"), "line 2: the block must be that of one event"),
        (HEAD + "[" * 100_000, "line 2: no JSON"),
        (HEAD + ENTRY + ENTRY + '{"entries":2}\n', "position 1 does not follow 1"),
        (HEAD + "\xff", "line 2: no JSON"),
    ],
)
def test_lines_that_are_no_log_are_refused_with_their_number(
    command: Command, tmp_path: Path, lines: str, words: str
) -> None:
    done = command("store", "import", url(tmp_path / "new.db"), given=lines.encode("latin-1"))

    assert 1 == done.code, done
    assert words in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("info",), 1, "give a URL"),
        (("info", "memory:"), 1, "memory:: this kind cannot be"),
        (("info", "sqlite:///no/such/file.db"), 1, "unable to open"),
        (("info", "mysql://u:secret@h"), 2, "unknown scheme 'mysql'"),
        (("trim", "memory:", "--retain-events", "-1"), 2, "retain_events"),
        (("burn", "memory:"), 2, "invalid choice"),
    ],
)
def test_a_store_that_cannot_be_is_told_in_words(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    monkeypatch.delenv("FASTSSE_STORE", raising=False)

    done = command("store", *arguments)

    assert code == done.code, done
    assert words in done.err
    assert "secret" not in done.err


def test_the_url_may_stand_in_the_environment(
    command: Command, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTSSE_STORE", url(path))

    assert 300 == json.loads(command("store", "info").out)["entries"]


def test_damage_ends_a_copy_unless_it_is_to_be_skipped(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    asyncio.run(_fill(path, 5000))
    whole = path.read_bytes()
    leaves = [
        start
        for start in range(4096, len(whole), 4096)
        if whole[start] == 0x0D and b"data: " in whole[start : start + 4096]  # a leaf of the table
    ]
    with path.open("r+b") as file:
        file.seek(leaves[5])
        file.write(b"\xff" * 4096)

    plain = command("store", "export", url(path))
    skipping = command("store", "export", url(path), "--skip-damaged")

    assert 1 == plain.code
    assert "damaged" in plain.err
    assert 1 == skipping.code
    assert "could not be read: " in skipping.err
    positions = [json.loads(line).get("position") for line in skipping.out.splitlines()[1:-1]]
    assert 4500 < len(positions) < 5000
    assert positions == sorted(set(positions))
    assert 5000 == positions[-1]
