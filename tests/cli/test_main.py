"""The `fastsse` command as a whole: version, help, what its subcommands load, and URLs that lead nowhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import Command
from support.servers import (
    DEADLINE,
    Server,
    environment,
    run,
)

import fastsse
from fastsse.broadcast.settings import KNOBS


def test_it_says_its_version() -> None:
    done = run("--version")

    assert (0, f"fastsse {fastsse.__version__}\n") == (done.returncode, done.stdout.decode())


def test_without_a_command_it_says_what_there_is() -> None:
    done = run()

    assert 2 == done.returncode
    assert b"usage: fastsse" in done.stderr


def test_help_names_every_setting_with_its_variable() -> None:
    text = " ".join(run("serve", "--help", COLUMNS="200").stdout.decode().split())

    for name in KNOBS:
        assert f"--{name.replace('_', '-')} " in text
        assert f"FASTSSE_{name.upper()}" in text


@pytest.mark.parametrize("name", ["publish", "subscribe", "tail", "decode", "encode"])
def test_the_document_names_every_option(name: str) -> None:
    text = run(name, "--help", COLUMNS="200").stdout.decode()
    document = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")

    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--help"}
    assert [] == [option for option in sorted(options) if f"`{option}" not in document]


@pytest.mark.parametrize("name", ["publish", "subscribe", "tail"])
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", ["127.0.0.1:1", "refused"]),
        ("127.0.0.1:8000", ["must be http://HOST"]),
        ("http://", ["must be http://HOST"]),
        ("http://127.0.0.1:port", ["must be http://HOST"]),
        ("ftp://127.0.0.1", ["must be http://HOST"]),
    ],
)
def test_a_url_that_leads_nowhere_is_a_failure(
    command: Command, name: str, url: str, words: list[str]
) -> None:
    done = command(name, url, *([] if name == "tail" else ["topic"]))

    assert 1 == done.code
    for word in words:
        assert word in done.err


@pytest.mark.parametrize("name", ["publish", "subscribe", "tail"])
def test_the_clients_load_neither_the_hub_nor_a_framework(
    name: str, server: Server, topic: str
) -> None:
    more = [topic, "x" * 300]  # a topic too long to follow, or data
    arguments = [name, server.url, *([] if name == "tail" else more)]
    script = (
        "import sys; from fastsse.cli.main import main; main(sys.argv[1:])\n"
        "names = ('fastsse.broadcast', 'starlette', 'granian', 'asyncio')\n"
        "print([name for name in names if name in sys.modules])"
    )

    process = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        env=environment(),
        timeout=DEADLINE,
        check=False,
    )

    assert b"[]" == process.stdout.splitlines()[-1], process
