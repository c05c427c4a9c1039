"""Every code block of the README runs as it stands there."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.blocks import code_blocks, run_block
from support.neighbours import need
from support.servers import (
    DEADLINE,
    ROOT,
    Clients,
    Server,
    environment,
    serve,
    serve_command,
    serve_granian,
    serve_uvicorn,
    unchunk,
    wait_for,
)

README = Path(__file__).parents[1] / "README.md"
BLOCKS = code_blocks(README)
ADDRESS = "localhost:8000"
# For the tests to know that the application answers.
PROBE = '\n\n@app.get("/health")\nasync def health():\n    return "ok"\n'


@contextmanager
def serving(serve_by: Any, shown: str, folder: Path) -> Iterator[Server]:
    """Serve the application that a block shows."""
    pytest.importorskip("fastapi")
    pytest.importorskip(serve_by.__name__.removeprefix("serve_"))
    (folder / "readme.py").write_text(shown + PROBE, "utf-8")
    with serve_by(app="readme:app", PYTHONPATH=f"{ROOT}{os.pathsep}{folder}") as server:
        yield server


def test_each_block_has_its_test_below() -> None:
    languages = ["sh", *["python"] * 6, "sh", "python"]

    assert languages == [it.language for it in BLOCKS]


def test_what_is_installed_is_this_project_with_extras_that_it_has() -> None:
    project = tomllib.loads((README.parent / "pyproject.toml").read_text("utf-8"))["project"]

    asked = re.findall(r"^pip install '?([\w-]+)(?:\[(\w+)\])?'?  ", BLOCKS[0].text, re.MULTILINE)

    assert [(project["name"], ""), (project["name"], "server")] == asked
    assert "server" in project["optional-dependencies"]


def test_the_event_that_is_written_is_read_again(capsys: pytest.CaptureFixture[str]) -> None:
    checked = run_block(BLOCKS[1], {})

    assert 1 == checked
    assert "1 greeting hello\n" == capsys.readouterr().out
    assert "print(event.id, event.event, event.data)  # 1 greeting hello\n" in BLOCKS[1].text


# How each endpoint is served: its block, the framework, what makes `application` of it, the server's command.
_DJANGO = """
from django.conf import settings
settings.configure(ROOT_URLCONF="readme", SECRET_KEY="none", ALLOWED_HOSTS=["*"])
from django.core.{0} import get_{0}_application
application = get_{0}_application()
"""
_AIOHTTP = (
    "import sys, readme\nreadme.web.run_app(readme.app, host='127.0.0.1', port=int(sys.argv[1]))\n"
)
_GUNICORN = (
    "gunicorn",
    "-k",
    "gthread",
    "--threads",
    "4",
    "-b",
    "127.0.0.1:PORT",
    "main:application",
)
_UVICORN = ("uvicorn", "--port", "PORT", "main:application")
_GRANIAN = ("granian", "--interface", "asgi", "--port", "PORT", "main:application")
_BARE = "from readme import app as application\n"
ENDPOINTS = {
    "fastapi-uvicorn": (2, _BARE, _UVICORN),
    "fastapi-granian": (2, _BARE, _GRANIAN),
    "django-asgi": (3, _DJANGO.format("asgi"), _UVICORN),
    "django-wsgi": (3, _DJANGO.format("wsgi"), _GUNICORN),
    "flask": (4, _BARE, _GUNICORN),
    "aiohttp": (5, _AIOHTTP, ("main", "PORT")),
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_reads_what_each_endpoint_answers(endpoint: str, tmp_path: Path) -> None:
    number, main, command = ENDPOINTS[endpoint]
    need(endpoint.partition("-")[0])
    if command[0] != "main":
        need(command[0])
    (tmp_path / "readme.py").write_text(BLOCKS[number].text, "utf-8")
    (tmp_path / "main.py").write_text(main, "utf-8")
    client = BLOCKS[6].text
    assert 1 == client.count(ADDRESS)
    path = f"{ROOT}{os.pathsep}{tmp_path}"

    with serve_command([sys.executable, "-m", *command], status=404, PYTHONPATH=path) as server:
        read = subprocess.run(
            [sys.executable, "-c", client.replace(ADDRESS, f"127.0.0.1:{server.port}")],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    assert ("", "You\nasked:\nwhy\n") == (read.stderr, read.stdout)


def command(line: str, server: Server) -> list[str]:
    """Make the command of a line: this Python's `fastsse`, at the server's address."""
    words = shlex.split(line.replace(ADDRESS, f"127.0.0.1:{server.port}"), comments=True)
    if words[0] == "fastsse":
        return [sys.executable, "-m", *words]
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    return words


def test_what_is_published_on_the_command_line_is_read_there() -> None:
    pytest.importorskip("granian")
    first, *lines = BLOCKS[7].text.splitlines()
    assert "fastsse serve" == first.partition("#")[0].strip()
    assert f"http://{ADDRESS}" in first  # the default address, which no other line needs to name
    subscribe, publish, follow, post = lines

    with serve() as server:
        readers = [
            subprocess.Popen(
                command(line, server), env=environment(), stdout=subprocess.PIPE, text=True
            )
            for line in (subscribe, follow)
        ]
        try:
            wait_for(lambda: server.health()["streams"] == 2)
            for line in (publish, post):
                subprocess.run(
                    command(line, server), env=environment(), timeout=DEADLINE, check=True
                )
            shown = [until(reader, "hello", 2) for reader in readers]
        finally:
            for reader in readers:
                reader.kill()
                reader.communicate()

    assert ["hello", "hello"] == shown[0]
    assert ["data: hello", "data: hello"] == [it for it in shown[1] if it.startswith("data")]


def until(reader: subprocess.Popen[str], text: str, times: int) -> list[str]:
    """Read lines up to the one with the last of so many appearances of a text."""
    lines: list[str] = []
    assert reader.stdout is not None
    while sum(text in line for line in lines) < times:
        line = reader.stdout.readline()
        assert line, lines
        lines.append(line.rstrip("\n"))
    return lines


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
@pytest.mark.parametrize("serve_by", [serve_granian, serve_uvicorn])
async def test_the_embedded_hub_publishes_and_ends_at_a_signal(
    serve_by: Any, signum: signal.Signals, tmp_path: Path
) -> None:
    clients = Clients()
    with serving(serve_by, BLOCKS[8].text, tmp_path) as server:
        stream = await clients.follow(server, "/events?user=1")
        posted = await asyncio.to_thread(server.request, "POST", "/news?text=hello")
        [event] = await stream.events(1)

        server.signal(signum)
        content, complete = unchunk(await stream.to_the_end())
        code = await asyncio.to_thread(server.wait)
    await clients.close()

    assert (200, "hello") == (posted.status, event.data)
    assert (True, True) == (content.startswith(b": shutdown\nretry: "), complete)
    assert code in (0, -signum, 128 + signum)
