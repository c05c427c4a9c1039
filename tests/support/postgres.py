"""A PostgreSQL of a test's own: made by initdb, on a free port, killed with all of its processes."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from pathlib import Path

from support.engines import ENGINES, Engine
from support.starts import kill, tree

__all__ = ["Postgres"]

USER = "postgres"  # whom root runs the server as, since it refuses to run as root


def _program(name: str) -> str:
    """Find a program of PostgreSQL: Debian keeps them in a folder of each version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else name)


def _copy(folder: Path, to: Path) -> None:
    """Copy a folder, with the owners of its files."""
    subprocess.run(["cp", "-a", folder, to], check=True)


def _own(folder: Path) -> None:
    """Give an empty folder to the user that the server runs as."""
    if os.getuid() == 0:
        shutil.chown(folder, USER)


def _as_user(command: list[str]) -> list[str]:
    return ["runuser", "-u", USER, "--", *command] if os.getuid() == 0 else command


@functools.cache
def _template() -> Path:
    """Make an empty cluster once; each server begins with a copy."""
    root = tempfile.TemporaryDirectory(prefix="postgres-template-")
    _template.root = root  # type: ignore[attr-defined] - kept as long as this process
    folder = Path(root.name)
    _own(folder)
    initdb = [_program("initdb"), "-D", str(folder / "data"), "-U", "fastsse", "--auth=trust"]
    subprocess.run(
        _as_user([*initdb, "--encoding=UTF8", "--no-locale", "--no-sync"]),
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
    )
    return folder / "data"


class Postgres(Engine):
    """A PostgreSQL that leaves flushing to the system: what is written survives the end of its processes."""

    program = _program("postgres")
    package = "postgresql"
    driver = "asyncpg"

    def __init__(self, *flags: str) -> None:
        super().__init__()
        self._flags = flags

    def start(self) -> None:
        """Run the server; a new one begins with an empty cluster."""
        if not self.folder.exists():
            _own(self.folder.parent)
            _copy(_template(), self.folder)
        super().start()

    def save(self) -> None:
        """Remember the data as it is now, for `put_back`; that of a server that runs by a backup."""
        shutil.rmtree(self._older, ignore_errors=True)
        if self._process is None:
            _copy(self.folder, self._older)
            return
        backup = [_program("pg_basebackup"), "-d", self.dsn, "-D", str(self._older), "-c", "fast"]
        subprocess.run(_as_user([*backup, "--no-sync"]), check=True, cwd="/")

    def put_back(self) -> None:
        """Put the remembered data in place of a killed server's."""
        shutil.rmtree(self.folder)
        _copy(self._older, self.folder)

    def command(self) -> list[str]:
        settings = (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "shared_buffers=32MB",
            "max_connections=100",
            "fsync=off",
            "full_page_writes=off",
            *self._flags,
        )
        options = [word for setting in settings for word in ("-c", setting)]
        return _as_user([self.program, "-D", str(self.folder), *options])

    def url(self, namespace: str) -> str:
        return f"{self.dsn}?namespace={namespace}"

    @property
    def dsn(self) -> str:
        """The URL of the database, for other clients than our store."""
        return f"postgresql://fastsse@127.0.0.1:{self.port}/postgres"

    def answers(self) -> bool:
        """Begin a session; a server that still recovers answers by an error."""
        words = b"user\0fastsse\0database\0postgres\0\0"
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.settimeout(5)
                connection.sendall(struct.pack("!II", len(words) + 8, 3 << 16) + words)
                return connection.recv(1) == b"R"
        return False

    def pause(self) -> None:
        """Let no process of the server go on until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the server go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        for pid in tree({self._process.pid}):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End all processes of the server as SIGKILL does: the memory that they share is free after that."""
        process = self._process
        if process is not None:
            kill(tree({process.pid}))
            process.wait()
            self._process = None
            # Where nobody buries orphans, the ended process still has its number, and a new server would wait for it.
            (self.folder / "postmaster.pid").unlink(missing_ok=True)


ENGINES["postgresql"] = Postgres
