"""Standard streams that are closed, full or left, and texts as Windows writes them: a word, and no traceback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.commands import Command
from support.servers import DEADLINE, Server, environment, serve

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="no POSIX shell")
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
MARK = b"\xef\xbb\xbf"
ONE = b"data: a\n\n"
LOG = b'{"fastsse":"log","version":1,"epoch":"e","floor":0,"head":0}\n{"entries":0}\n'


def shell(line: str, given: bytes = b"", **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of the shell, in which `fastsse` is this interpreter's."""
    script = f'fastsse() {{ "{sys.executable}" -m fastsse "$@"; }}\n{line}'
    return subprocess.run(
        ["sh", "-c", script],
        input=given,
        capture_output=True,
        env={**environment(), **variables},
        timeout=DEADLINE,
        check=False,
    )


@LINUX
@pytest.mark.parametrize("command", ["decode", "encode"])
def test_a_full_disk_is_told_of_in_a_line(command: str) -> None:
    given = ONE if command == "decode" else b'{"data": "a"}\n'

    done = shell(f"fastsse {command} > /dev/full", given)

    assert (1, b"fastsse: No space left on device\n") == (done.returncode, done.stderr)


@LINUX
def test_a_log_that_does_not_fit_on_a_disk_is_told_of_in_a_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    assert 0 == shell(f"fastsse store import {url}", LOG).returncode

    done = shell(f"fastsse store export {url} > /dev/full")

    assert (1, b"fastsse: No space left on device\n") == (done.returncode, done.stderr)


@POSIX
@pytest.mark.parametrize(
    "line",
    [
        "decode <&-",
        "encode <&-",
        "publish http://127.0.0.1:1 news <&-",
        "publish http://127.0.0.1:1 news --stream <&-",
        "tail http://127.0.0.1:1 --data @- <&-",
        "store import sqlite:///never.db <&-",
    ],
)
def test_without_a_standard_input_there_is_nothing_to_read(line: str) -> None:
    done = shell(f"fastsse {line}")

    expected = b"fastsse: standard input is closed, and there is nothing to read\n"
    assert (1, expected, b"") == (done.returncode, done.stderr, done.stdout)


@POSIX
def test_what_nobody_can_get_is_not_lost_in_silence() -> None:
    done = shell("fastsse decode >&-", ONE)

    assert (1, b"fastsse: Bad file descriptor\n") == (done.returncode, done.stderr)


@POSIX
def test_without_any_stream_a_failure_is_still_told_by_the_exit_code() -> None:
    done = shell("fastsse publish http://127.0.0.1:1 news hello <&- >&- 2>&-")

    assert (1, b"", b"") == (done.returncode, done.stdout, done.stderr)


@POSIX
@pytest.mark.parametrize("line", ["--help", "serve --help", "decode", "store export {}"])
def test_a_reader_that_leaves_ends_the_command_without_a_word(line: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    if "store" in line:
        assert 0 == shell(f"fastsse store import {url}", LOG).returncode
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fastsse", *line.format(url).split()],
            input=ONE,
            stdout=writing,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=DEADLINE,
            check=False,
        )
    finally:
        os.close(writing)

    assert b"" == done.stderr
    assert done.returncode == (0 if "--help" in line else 1)


@POSIX
@pytest.mark.parametrize("output", ["> /dev/full", ">&-", "<&- >&- 2>&-"])
def test_a_hub_serves_although_nobody_takes_the_line_with_its_address(output: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = f'exec "{sys.executable}" -m fastsse serve --port {port} {output}'
    process = subprocess.Popen(
        ["sh", "-c", line], stderr=subprocess.PIPE, env=environment(), start_new_session=True
    )
    try:
        server = Server(process, port)
        answered(server)

        server.publish("a", "x")

        server.signal(signal.SIGTERM)
        assert 0 == server.wait()
        assert process.stderr is not None
        assert b"" == process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def answered(server: Server) -> None:
    """Wait until a server that has no way to say so serves."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        assert server.process.poll() is None
        try:
            if server.request("GET", "/health").status == 200:
                return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("the server has not answered")


@POSIX
def test_ctrl_c_while_the_body_is_typed_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "fastsse", "tail", "http://127.0.0.1:1", "--data", "@-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:  # the last import before the arguments are read
            if line.rstrip().endswith(b"fastsse.cli.tail"):
                break
        process.send_signal(signal.SIGINT)
        _, left = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()

    assert 130 == process.returncode
    assert b"Traceback" not in left


# Texts as Windows writes them.


def test_lines_of_json_may_begin_with_a_mark_and_end_as_on_windows(command: Command) -> None:
    done = command("encode", given=MARK + b'{"data": "a"}\r\n\r\n{"data": "b"}\r\n')

    assert (0, "data: a\n\ndata: b\n\n") == (done.code, done.out)


def test_a_mark_in_a_later_line_is_a_fault(command: Command) -> None:
    done = command("encode", given=b'{"data": "a"}\n' + MARK + b'{"data": "b"}\n')

    assert 1 == done.code
    assert "line 2: must be JSON" in done.err


def test_a_copied_log_may_begin_with_a_mark_and_end_as_on_windows(
    command: Command, tmp_path: Path
) -> None:
    given = MARK + LOG.replace(b"\n", b"\r\n")

    done = command("store", "import", f"sqlite:///{tmp_path / 'log.db'}", given=given)

    assert (0, "0 entries\n") == (done.code, done.err)


def test_a_stream_that_is_published_may_begin_with_a_mark(
    command: Command, server: Server, topic: str
) -> None:
    given = MARK + b"data: a\r\n\r\ndata: b\r\n\r\n"

    done = command("publish", server.url, topic, "--stream", given=given)

    assert 0 == done.code
    assert '"count":2' in done.out


@pytest.mark.parametrize("text", ["max_streams = 5\n", "# caf\u00e9\r\nmax_streams = 5\r\n"])
def test_a_file_of_settings_may_begin_with_a_mark(text: str, tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_bytes(MARK + text.encode())

    with serve("--config", str(file)) as running:
        assert 200 == running.request("GET", "/health").status


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"max_streams = 5\n# caf\xe9\n", 2),
        ("max_streams = 5\n".encode("utf-16"), 1),
        (b"\xff", 1),
    ],
)
def test_a_file_of_settings_that_is_not_utf_8_is_refused_with_the_line(
    content: bytes, line: int, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "hub.toml"
    file.write_bytes(content)

    done = command("serve", "--config", str(file))

    assert 2 == done.code
    assert f"hub.toml: not TOML: line {line} must be UTF-8" in done.err


# One line says what is wrong.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "--port", "x"), "fastsse serve: error: argument --port: 'x'"),
        (("serve", "--max-streams", "0"), "fastsse serve: error: max_streams 0: must be 1 to"),
        (("serve", "--nope", "extra"), "fastsse serve: error: unknown arguments: '--nope' 'extra'"),
        (("store", "trim", "--retain-events", "x"), "fastsse store trim: error: argument"),
        (("subscribe", "http://127.0.0.1:1"), "fastsse subscribe: error: the following arguments"),
        (("serv",), "fastsse: error: argument COMMAND: invalid choice: 'serv'"),
        (("--nope",), "fastsse: error: the following arguments are required: COMMAND"),
    ],
)
def test_arguments_that_are_wrong_are_told_in_one_line(
    command: Command, arguments: tuple[str, ...], words: str
) -> None:
    done = command(*arguments)

    assert (2, "", 1) == (done.code, done.out, done.err.count("\n"))
    assert done.err.startswith(words)
    assert " --help tells more" in done.err


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("FASTSSE_MAX_STREAM", "FASTSSE_MAX_STREAM: is no setting; FASTSSE_MAX_STREAMS is"),
        ("FASTSSE_HOST", "FASTSSE_HOST: is no setting; FASTSSE_HOSTS is"),
        ("FASTSSE_HISTORY_EVENT", "FASTSSE_HISTORY_EVENT: is no setting; FASTSSE_HISTORY_EVENTS is"),
        ("FASTSSE_PORT", ""),  # of Kubernetes, for a service of this name
        ("FASTSSE_SERVICE_HOST", ""),
        ("FASTSSE_PORT_8000_TCP_ADDR", ""),
        ("FASTSSE_TOKEN", ""),
    ],
)  # fmt: skip
def test_a_variable_that_misspells_a_setting_is_told_of(
    command: Command, monkeypatch: pytest.MonkeyPatch, variable: str, words: str
) -> None:
    monkeypatch.setenv(variable, "5")

    done = command("serve", "--host", "nowhere.invalid")

    told = [line for line in done.err.splitlines() if "is no setting" in line]
    assert ([f"fastsse: {words}"] if words else []) == told


def test_a_person_at_a_terminal_is_told_that_the_command_reads() -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fastsse", "encode"],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    os.close(slave)
    try:
        assert process.stderr is not None
        told = process.stderr.readline()
        os.write(master, b'{"data": "a"}\n\x04')
        out, _ = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
        os.close(master)

    assert b"fastsse: reads from this terminal, up to Ctrl-D\n" == told
    assert b"data: a\n\n" == out
