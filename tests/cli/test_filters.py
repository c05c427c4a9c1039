"""`fastsse decode` and `fastsse encode`: from streams to lines of JSON, and back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import CASES
from support.commands import Command, lines
from support.servers import DEADLINE, environment, run

from fastsse import Event, decode, encode_many


def events(out: str) -> list[Any]:
    return [json.loads(line) for line in out.split("\n") if line]


def test_decode_prints_each_event_as_a_line(command: Command) -> None:
    done = command(
        "decode", given=b"id: 1\ndata: a\n\nid\nevent: e\nretry: 5\ndata: b\ndata: c\n\n"
    )

    first = {"id": "1", "event": "message", "data": "a", "retry": None}
    second = {"id": "", "event": "e", "data": "b\nc", "retry": 5}
    assert (0, [first, second], "") == (done.code, events(done.out), done.err)


@pytest.mark.parametrize("only", [["e"], ["message"], ["message", "e"], ["x"]])
def test_decode_prints_some_types_alone(command: Command, only: list[str]) -> None:
    words = [word for name in only for word in ("--only", name)]

    done = command("decode", *words, given=b"data: a\n\nevent: e\ndata: b\n\ndata: c\n\n")

    kinds = [event["event"] for event in events(done.out)]
    assert [kind for kind in ("message", "e", "message") if kind in only] == kinds


def test_decode_tells_of_an_event_that_is_cut_off(command: Command) -> None:
    done = command("decode", given=b"data: a\n\ndata: b\n")

    assert (0, ["a"]) == (done.code, [event["data"] for event in events(done.out)])
    assert "no blank line ends event 2 of the input" in done.err


@pytest.mark.parametrize("tail", [b"data: long enough\n\ndata: b\n\n", b"data: long enough"])
def test_decode_names_the_event_that_is_too_large(command: Command, tail: bytes) -> None:
    done = command("decode", "--max-event-size", "10", given=b"data: a\n\n" + tail)

    assert (1, ["a"]) == (done.code, [event["data"] for event in events(done.out)])
    assert "event 2 of the input" in done.err
    assert "10" in done.err


def test_every_case_of_the_standard_goes_through_both(command: Command) -> None:
    for case in CASES:
        lines_of = command("decode", given=case.stream)
        again = command_bytes(lines_of.out.encode())

        assert [(e.data, e.event, e.id, e.retry) for e in decode(case.stream)] == [
            tuple(event[name] for name in ("data", "event", "id", "retry")) for event in events(lines_of.out)
        ], case  # fmt: skip
        assert decode(case.stream) == decode(again), case


def command_bytes(given: bytes) -> bytes:
    """Encode in this process; the command's stdout takes bytes, which `capsys` does not give back."""
    from fastsse.cli.filters import encoded

    return b"".join(encoded(given.splitlines(keepends=True)))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LINE = TEXT.filter(lambda text: not set(text) & set("\r\n\0"))


@given(
    st.lists(
        st.builds(
            Event,
            TEXT.map(lambda text: text.replace("\r", "\n")),
            LINE.filter(bool),
            LINE,
            st.none() | st.integers(0, 2**31),
        ),
        max_size=5,
    )
)
def test_what_decode_writes_encode_takes(some: list[Event]) -> None:
    rows = [
        {"id": event.id, "event": event.event, "data": event.data, "retry": event.retry}
        for event in decode(encode_many(some))
    ]

    assert some == decode(command_bytes("".join(json.dumps(row) + "\n" for row in rows).encode()))


@pytest.mark.parametrize(
    ("line", "block"),
    [
        ({"data": "a\nb"}, b"data: a\ndata: b\n\n"),
        ({"data": ""}, b"data: \n\n"),
        ({"data": "a", "event": "message"}, b"data: a\n\n"),
        ({"data": "a", "event": None, "id": None, "retry": None}, b"data: a\n\n"),
        ({"data": "a", "id": ""}, b"data: a\n\n"),
        ({"comment": "hello"}, b": hello\n\n"),
        ({"retry": 5}, b"retry: 5\n\n"),
        ({"id": "7"}, b"id: 7\n\n"),
        ({"data": "ä\u2028"}, "data: ä\u2028\n\n".encode()),
    ],
)
def test_encode_writes_a_block(line: dict[str, Any], block: bytes) -> None:
    done = run("encode", given=json.dumps(line).encode())

    assert (0, block, b"") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", ["must be JSON"]),
        (b"[]", ["must be an object"]),
        (b"1", ["must be an object"]),
        (b"null", ["must be an object"]),
        (b"{}", ["data"]),
        (b'{"data": null}', ["data"]),
        (b'{"data": 1}', ["data 1", "a string"]),
        (b'{"data": {"a": 1}}', ["data", "a string"]),
        (b'{"data": "a", "id": 1}', ["id 1", "a string"]),
        (b'{"data": "a", "retry": true}', ["retry True", "a whole number"]),
        (b'{"data": "a", "retry": 1.5}', ["retry 1.5", "a whole number"]),
        (b'{"data": "a", "retry": -1}', ["retry"]),
        (b'{"data": "a", "name": "b"}', ["member 'name'", "data, event, id"]),
        (b'{"data": "a", "id": "b\\nc"}', ["id"]),
        (b'{"data": "a", "event": ""}', ["event"]),
        (b'{"data": "\\ud800"}', ["data", "surrogates"]),
        (b'{"data": "\xff"}', ["must be UTF-8"]),
        (b"\xff\xfe{\0}\0", ["must be UTF-8"]),
        (b"\xef\xbb\xbf{}", ["must be JSON", "BOM"]),
        (b"[" * 100_000, ["line 3"]),
    ],
)  # fmt: skip
def test_encode_names_the_line_that_is_wrong_and_writes_those_before(
    line: bytes, words: list[str]
) -> None:
    done = run("encode", given=b'{"data": "a"}\n\n' + line + b'\n{"data": "b"}\n')

    assert (1, b"data: a\n\n") == (done.returncode, done.stdout)
    assert done.stderr.startswith(b"fastsse: line 3: "), done.stderr
    assert 1 == done.stderr.count(b"\n")
    for word in words:
        assert word in done.stderr.decode()


def filter_of(name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fastsse", name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), bufsize=0,
    )  # fmt: skip


WHOLE = {"decode": b"data: %d\n\n", "encode": b'{"data": "%d"}\n'}


@pytest.mark.parametrize("name", WHOLE)
def test_each_event_leaves_at_once(name: str) -> None:
    with filter_of(name) as process:
        assert process.stdin is not None
        for n in range(3):
            process.stdin.write(WHOLE[name] % n)
            found = lines(process, 1 if name == "decode" else 2)
            assert str(n) in found[0]
        process.stdin.close()

        assert 0 == process.wait(DEADLINE)


@pytest.mark.parametrize("name", WHOLE)
def test_a_reader_that_leaves_ends_the_filter_quietly(name: str) -> None:
    with filter_of(name) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stdin is not None
        process.stdin.write(WHOLE[name] % 1)
        process.stdin.close()

        assert 1 == process.wait(DEADLINE)
        assert process.stderr is not None
        assert b"" == process.stderr.read()


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
@pytest.mark.parametrize("name", WHOLE)
def test_an_interrupt_ends_the_filter_without_a_traceback(name: str) -> None:
    process = filter_of(name)
    assert process.stdin is not None
    process.stdin.write(WHOLE[name] % 1)
    lines(process, 1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE)

    assert (130, b"") == (process.returncode, errors)


def test_the_filters_join() -> None:
    body = b'id: 1\nevent: e\ndata: {"a": 1}\n\n'

    done = run("encode", given=run("decode", given=body).stdout)

    assert body == done.stdout
