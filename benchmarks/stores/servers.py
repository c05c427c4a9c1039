"""Servers that stores are measured over: started once, on a free port, with an empty log, and ended with this process.

No server waits for a disk, so that the figures show what a store costs and not what a disk costs: Redis keeps all in
memory, NATS syncs its files every two minutes, and PostgreSQL leaves flushing to the operating system.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["nats_port", "postgres_port", "program", "redis_port"]

_STARTS = 60.0  # s that a server may take to start
_USER = "postgres"  # whom PostgreSQL runs as where we are root, as whom it refuses to run


def program(name: str) -> str | None:
    """Find a program; Debian keeps those of PostgreSQL in a folder of each version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@functools.cache
def redis_port() -> int:
    """Start a Redis that keeps all in memory, and return its port."""
    folder = _folder("redis")
    return _start(
        lambda port: ["redis-server", "--port", str(port), "--save", "", "--dir", folder], _is_taken
    )


@functools.cache
def nats_port() -> int:
    """Start a NATS server with JetStream, and return its port."""
    command = ["nats-server", "--addr", "127.0.0.1", "--jetstream", "--store_dir", _folder("nats")]
    return _start(lambda port: [*command, "--port", str(port)], _is_taken)


@functools.cache
def postgres_port() -> int:
    """Start a PostgreSQL with a user and a database ``postgres``, and return its port."""
    folder = _folder("postgres")
    user: list[str] = []
    if os.getuid() == 0:
        shutil.chown(folder, _USER)
        user = ["runuser", "-u", _USER, "--"]
    initdb = [program("initdb") or "initdb", "-D", f"{folder}/data", "-U", "postgres"]
    subprocess.run(
        [*user, *initdb, "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
    )
    command = [*user, program("postgres") or "postgres", "-D", f"{folder}/data"]
    for setting in ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"):
        command += ["-c", setting]
    status = Path(folder, "data", "postmaster.pid")  # whose last line tells when sessions begin

    def is_ready(port: int) -> bool:
        return _is_taken(port) and status.read_text("utf-8").rstrip().endswith("ready")

    return _start(lambda port: [*command, "-c", f"port={port}"], is_ready)


def _folder(name: str) -> str:
    """Make a folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix=f"bench-{name}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _start(command: Callable[[int], Sequence[str]], is_ready: Callable[[int], bool]) -> int:
    """Run a server until this process ends, and return its port once the server is ready.

    A server that ends at once may have lost its port to another process, and is started again on another one.
    """
    for _ in range(3):
        port = _free_port()
        server = subprocess.Popen(
            command(port),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        atexit.register(_end, server)
        begun = time.monotonic()
        while server.poll() is None and time.monotonic() < begun + _STARTS:
            if is_ready(port):
                return port
            time.sleep(0.01)
    raise SystemExit(f"{command(0)[0]} did not start")


def _end(server: subprocess.Popen[bytes]) -> None:
    """End a server and the processes that it has started: SIGINT lets PostgreSQL end its own at once."""
    try:
        os.killpg(server.pid, signal.SIGINT)
        server.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    except ProcessLookupError:
        pass
