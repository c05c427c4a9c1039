"""The contenders: fastsse, its peers and the floor, each started as its own documentation says.

All speak one small protocol: ``GET /events?topic=…`` is an event stream, ``POST /events?topic=…`` publishes its
body, ``GET /health`` says how many streams are open. A peer that is not installed is left out, and the report names
the line that installs it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from benchmarks.load.build import Unavailable, build

__all__ = [
    "BEFORE",
    "CONTENDERS",
    "FILES",
    "Contender",
    "describe_fastsse",
    "needs_packages",
    "of_checkout",
    "run_granian",
    "run_uvicorn",
    "versions_of",
]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MODULES = "benchmarks.load.servers"
FILES = 20_000  # descriptors that a server may need
STREAMS = 12_000  # streams that fastsse lets in
BROADCAST = "fastsse.broadcast.app:app"
BEFORE = "fastsse before"  # what another checkout serves

Command = list[str]


class Contender(NamedTuple):
    """One server.

    Attributes:
        name: the name in the tables.
        command: makes the command that starts it, from a free port and a folder of its own.
        version: describes what is measured.
        needs: raises `Unavailable`, with the line that installs what is missing.
        environment: variables of its own.
    """

    name: str
    command: Callable[[int, Path], Command]
    version: Callable[[], str]
    needs: Callable[[], object]
    environment: Mapping[str, str] = {}


def needs_packages(install: str, *names: str) -> Callable[[], object]:
    """Make a `needs` that looks for distributions, and gives the line that installs them."""

    def needs() -> None:
        for name in names:
            try:
                metadata.version(name)
            except metadata.PackageNotFoundError:
                raise Unavailable(f"pip install {install}") from None

    return needs


def versions_of(*names: str) -> Callable[[], str]:
    """Make a `version` that names distributions with their versions."""
    return lambda: ", ".join(f"{name} {metadata.version(name)}" for name in names)


def run_granian(target: str) -> Callable[[int, Path], Command]:
    """Make the command of granian with the flags of `fastsse serve`, for another application."""

    def command(port: int, _folder: Path) -> Command:
        start = [
            sys.executable,
            "-m",
            "granian",
            "--interface",
            "asgi",
            "--loop",
            "uvloop",
            "--no-ws",
        ]
        start += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
        start += ["--backlog", "4096", "--backpressure", str(STREAMS + 3000)]
        start += ["--http", "1", "--runtime-mode", "mt", "--runtime-threads", "2"]
        return [*start, target]

    return command


def run_uvicorn(target: str) -> Callable[[int, Path], Command]:
    """Make the command of uvicorn at its fastest: uvloop and httptools."""

    def command(port: int, _folder: Path) -> Command:
        start = [
            sys.executable,
            "-m",
            "uvicorn",
            target,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        start += ["--loop", "uvloop", "--http", "httptools", "--ws", "none", "--backlog", "4096"]
        # Otherwise uvicorn may close a connection just when the publisher uses it.
        start += ["--timeout-keep-alive", "120"]
        return [*start, "--no-access-log", "--log-level", "warning"]

    return command


def _serve(*flags: str, python: str = sys.executable) -> Callable[[int, Path], Command]:
    def command(port: int, _folder: Path) -> Command:
        start = [python, "-m", "fastsse", "serve", "--port", str(port), "--loop", "uvloop"]
        return [*start, "--max-streams", str(STREAMS), *flags]

    return command


def _floor(*flags: str) -> Callable[[int, Path], Command]:
    return lambda port, _folder: [str(build("floor")), str(port), *flags]


def describe_fastsse() -> str:
    """Name this package's version, and whether it is compiled."""
    import fastsse

    return f"fastsse {fastsse.__version__}, {'compiled' if fastsse.COMPILED else 'pure'}"


def of_checkout(folder: Path) -> Contender:
    """Describe `fastsse serve` of another checkout of this project, run by the ``.venv`` that `make` set up there."""
    python = folder.absolute() / ".venv" / "bin" / "python"

    def needs() -> None:
        if not python.exists():
            raise Unavailable(f"make -C {folder} .venv/.installed")

    def version() -> str:
        command = ["git", "-C", str(folder), "log", "-1", "--format=%h"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return f"fastsse at {said.strip() or 'an unknown commit'}"

    paths = {"PYTHONPATH": str(folder.absolute())}
    return Contender(BEFORE, _serve(python=str(python)), version, needs, paths)


# nginx with nchan


def _nchan_module() -> Path:
    """Return where nginx keeps nchan, or would keep it."""
    built = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=False).stderr
    found = re.search(r"--modules-path=(\S+)", built)
    return Path(found[1] if found else "/usr/lib/nginx/modules") / "ngx_nchan_module.so"


def _needs_nchan() -> None:
    if shutil.which("nginx") is None or not _nchan_module().exists():
        raise Unavailable("apt-get install nginx libnginx-mod-nchan")


def _nchan(port: int, folder: Path) -> Command:
    text = (HERE / "nchan.conf").read_text()
    values = {"MODULE": _nchan_module(), "PORT": port, "FOLDER": folder, "FILES": FILES}
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    (folder / "nginx.conf").write_text(text)
    return [
        "nginx",
        "-p",
        str(folder),
        "-e",
        str(folder / "error.log"),
        "-c",
        str(folder / "nginx.conf"),
    ]


def _nchan_version() -> str:
    said = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr
    return said.strip().removeprefix("nginx version: ") + " with nchan"


# node


def _needs_node() -> None:
    if shutil.which("node") is None or not (HERE / "node_modules" / "better-sse").is_dir():
        raise Unavailable("npm install --prefix benchmarks/load/servers (and node)")


def _node_version() -> str:
    package = (HERE / "node_modules" / "better-sse" / "package.json").read_text()
    found = re.search(r'"version": "([^"]+)"', package)
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    return f"better-sse {found[1] if found else '?'}, node {node.strip().lstrip('v')}"


_SERVER = needs_packages("'fastsse-core[server]'", "granian", "uvloop", "starlette")
_LIMITS = {"FASTSSE_MAX_STREAMS": str(STREAMS)}
# Room for a reader that stalls, which shall catch up and not be ended. See `scenarios.STALL_HISTORY`.
_ROOMY = ("--lag-bytes", str(2**30), "--lag-events", "100000", "--lag-seconds", "600",
          "--history-bytes", str(2**24), "--history-events", "20000")  # fmt: skip

CONTENDERS: dict[str, Contender] = {
    each.name: each
    for each in (
        Contender("floor", _floor(), lambda: "C, epoll", lambda: build("floor")),
        Contender("floor joined", _floor("--batch"), lambda: "C, epoll", lambda: build("floor")),
        Contender("nchan", _nchan, _nchan_version, _needs_nchan),
        Contender("fastsse", _serve(), describe_fastsse, _SERVER),
        Contender("fastsse roomy", _serve(*_ROOMY), describe_fastsse, _SERVER),
        Contender(
            "fastsse probed",
            run_granian(f"{MODULES}.probed:app"),
            describe_fastsse,
            _SERVER,
            _LIMITS,
        ),
        Contender(
            "fastsse wrapped",
            run_granian(f"{MODULES}.wrapped:app"),
            describe_fastsse,
            _SERVER,
            _LIMITS,
        ),
        Contender(
            "fastsse bypass",
            run_granian(f"{MODULES}.bypass:app"),
            describe_fastsse,
            _SERVER,
            _LIMITS,
        ),
        Contender(
            "fastsse/uvicorn",
            run_uvicorn(BROADCAST),
            describe_fastsse,
            needs_packages(
                "uvicorn httptools uvloop", "uvicorn", "httptools", "uvloop", "starlette"
            ),
            _LIMITS,
        ),
        Contender(
            "sse-starlette/uvicorn",
            run_uvicorn(f"{MODULES}.sse_starlette_app:app"),
            versions_of("sse-starlette", "uvicorn"),
            needs_packages(
                "sse-starlette uvicorn httptools uvloop", "sse-starlette", "uvicorn", "httptools"
            ),
        ),
        Contender(
            "sse-starlette/granian",
            run_granian(f"{MODULES}.sse_starlette_app:app"),
            versions_of("sse-starlette", "granian"),
            needs_packages("sse-starlette granian uvloop", "sse-starlette", "granian", "uvloop"),
        ),
        Contender(
            "sse-starlette wrapped",
            run_uvicorn(f"{MODULES}.sse_starlette_wrapped:app"),
            versions_of("sse-starlette", "uvicorn"),
            needs_packages(
                "sse-starlette uvicorn httptools uvloop", "sse-starlette", "uvicorn", "httptools"
            ),
        ),
        Contender(
            "FastAPI/uvicorn",
            run_uvicorn(f"{MODULES}.fastapi_app:app"),
            versions_of("fastapi", "uvicorn"),
            needs_packages(
                "'fastapi>=0.135' uvicorn httptools uvloop", "fastapi", "uvicorn", "httptools"
            ),
        ),
        Contender(
            "aiohttp-sse",
            lambda port, _folder: [sys.executable, str(HERE / "aiohttp_app.py"), str(port)],
            versions_of("aiohttp-sse", "aiohttp"),
            needs_packages("aiohttp-sse", "aiohttp-sse", "aiohttp"),
        ),
        Contender(
            "better-sse/node",
            lambda port, _folder: ["node", str(HERE / "better_sse.mjs"), str(port)],
            _node_version,
            _needs_node,
        ),
    )
}
