"""The examples do what they say, from the command line as their readers call them."""

from __future__ import annotations

import runpy
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.servers import environment, free_port, serve, wait_for

from fastsse import decode

EXAMPLES = Path(__file__).parents[1] / "examples"
DEADLINE = 20.0  # s


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@contextmanager
def following(url: str) -> Iterator[Any]:
    """follow.py at work; its stdout."""
    command = [sys.executable, str(EXAMPLES / "follow.py"), url]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment(), text=True, **pipes) as process:
        try:
            yield process.stdout
        finally:
            process.kill()


@pytest.fixture(scope="module")
def broadcast() -> Iterator[Any]:
    pytest.importorskip("granian")
    with serve() as server:
        yield server


@pytest.fixture(scope="module")
def countdown() -> Iterator[str]:
    """The countdown's address."""
    pytest.importorskip("granian")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "asgi",
        "--working-dir",
        str(EXAMPLES),
    ]
    command += ["--port", str(port), "--log-level", "error", "countdown:app"]
    with subprocess.Popen(command, env=environment()) as process:
        try:
            wait_for(lambda: _listens(port))
            yield f"http://127.0.0.1:{port}/countdown"
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# make_chat.py


def test_the_recorded_answer_is_what_its_script_makes(tmp_path: Path) -> None:
    made = tmp_path / "made.sse"

    assert 0 == run("make_chat.py", "--out", str(made)).returncode

    assert (EXAMPLES / "chat.sse").read_bytes() == made.read_bytes()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_tokens_add_up_to_the_answer_whatever_the_seed(seed: int) -> None:
    script = runpy.run_path(str(EXAMPLES / "make_chat.py"))
    *chunks, done = decode(script["make_stream"](seed))

    objects = [chunk.json() for chunk in chunks]
    deltas = [choice["delta"] for it in objects for choice in it["choices"]]

    assert script["ANSWER"].rstrip("\n") == "".join(it.get("content", "") for it in deltas)
    assert "[DONE]" == done.data
    assert "assistant" == deltas[0]["role"]
    assert [] == objects[-1]["choices"]
    assert len(deltas) - 2 == objects[-1]["usage"]["completion_tokens"]
    assert 1 == len({it["id"] for it in objects})


# play.py


def test_a_recording_is_published_event_by_event(broadcast: Any) -> None:
    events = decode((EXAMPLES / "chat.sse").read_bytes())

    played = run(
        "play.py",
        str(EXAMPLES / "chat.sse"),
        "--topic",
        "whole",
        "--url",
        broadcast.url,
        "--rate",
        "0",
    )

    assert f'"count":{len(events)}' in played.stdout.replace(" ", "")
    assert (0, "") == (played.returncode, played.stderr)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_recording_is_cut_at_its_blank_lines(line_end: str) -> None:
    split_blocks = runpy.run_path(str(EXAMPLES / "play.py"))["split_blocks"]
    lines = [
        "data: 1",
        "",
        ": comment",
        "data: 2",
        "data: 2",
        "",
        "",
        "data: 3",
        "",
        "data: cut off",
    ]

    blocks = split_blocks(line_end.join(lines).encode())

    assert [["1"], ["2\n2"], ["3"]] == [[event.data for event in decode(block)] for block in blocks]
    assert line_end.join(lines[:-1]).encode() + line_end.encode() == b"".join(blocks)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["missing.sse", "--topic", "a"], 1, "No such file or directory: missing.sse"),
        ([str(EXAMPLES / "chat.sse"), "--topic", "a", "--url", "http://127.0.0.1:1"], 1, "refused"),
        (
            [str(EXAMPLES / "chat.sse"), "--topic", "a", "--url", "localhost"],
            2,
            "must be like http://",
        ),
        ([str(EXAMPLES / "chat.sse")], 2, "--topic"),
    ],
)
def test_what_cannot_be_played_is_said_in_one_line(
    arguments: list[str], status: int, says: str
) -> None:
    played = run("play.py", *arguments)

    assert status == played.returncode
    assert says in played.stderr
    assert "Traceback" not in played.stderr


def test_the_problem_that_the_hub_answers_is_printed(broadcast: Any) -> None:
    played = run(
        "play.py",
        str(EXAMPLES / "chat.sse"),
        "--topic",
        "x" * 300,
        "--url",
        broadcast.url,
        "--rate",
        "0",
    )

    assert 1 == played.returncode
    assert '"field":"topic"' in played.stdout.replace(" ", "")


# follow.py


def test_a_topic_is_followed_from_where_it_is_asked_to(broadcast: Any) -> None:
    id = broadcast.publish("followed", "kept", event="note")

    with following(f"{broadcast.url}/events?topic=followed&last_event_id=earliest") as lines:
        assert f"{id} note kept\n" == lines.readline()
        id = broadcast.publish("followed", "live")
        assert f"{id} message live\n" == lines.readline()


def test_a_stream_that_is_refused_is_the_end_and_says_why(broadcast: Any) -> None:
    followed = run("follow.py", f"{broadcast.url}/events")

    assert 1 == followed.returncode
    assert "topic" in followed.stderr
    assert "Traceback" not in followed.stderr


# countdown.py and follow.py


def test_a_countdown_is_followed_over_its_reconnections(countdown: str) -> None:
    with following(f"{countdown}?start=3") as lines:
        assert ["2 left 2\n", "1 left 1\n", "0 done lift-off\n"] == [
            lines.readline() for _ in range(3)
        ]
        assert "0 done lift-off\n" == lines.readline()  # it came back with the last id


def test_a_start_that_is_no_number_is_refused(countdown: str) -> None:
    followed = run("follow.py", f"{countdown}?start=soon")

    assert 1 == followed.returncode
    assert "start 'soon': must be 0 to 3600" in followed.stderr
