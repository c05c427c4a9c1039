"""Engines of stores as processes of their own: started on a free port, killed, and started again over what is left.

Nothing here knows a store. An engine keeps its data in a folder of its own, which a test can copy, empty, or put back
to an older state. Where a program is not installed a test skips and says how to get it, or fails where engines are
required.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.servers import free_port
from support.starts import STARTS, Hung, note
from support.twins import is_set

__all__ = ["ENGINES", "Engine", "Nats", "Redis", "need_engine", "shared"]

_DRIVERS = "make .venv/.group-stores, or python -m pip install --group stores"


class Engine(ABC):
    """A server that keeps a log, on a port that stays its own over all of its starts.

    Attributes:
        program: the command that runs the server, or its path.
        package: what Debian installs for that.
        driver: the module that a store of ours imports.
        folder: where the server's data is.
        port: the port.
    """

    program = ""
    package = ""
    driver = ""

    def __init__(self) -> None:
        self.port = free_port()
        self._root = tempfile.TemporaryDirectory(
            prefix=f"{Path(self.program).name}-", ignore_cleanup_errors=True
        )
        self.folder = Path(self._root.name) / "data"
        self._older = Path(self._root.name) / "older"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""

    @abstractmethod
    def url(self, namespace: str) -> str:
        """Return the URL of a store whose log has this name."""

    @abstractmethod
    def answers(self) -> bool:
        """Return True when the server takes commands."""

    def start(self) -> None:
        """Run the server over the data that is there, and wait until it answers."""
        for left in (2, 1, 0):
            self.folder.mkdir(exist_ok=True)
            self._process = subprocess.Popen(
                self.command(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self.folder,
            )
            deadline = time.monotonic() + STARTS
            while time.monotonic() < deadline and self._process.poll() is None:
                if self.answers():
                    return
                time.sleep(0.01)
            self.kill()
            if not left:
                raise Hung(f"{self.program} did not answer within {STARTS:g} s")
            note(self.program, "did not answer in time")

    def kill(self) -> None:
        """End the server as SIGKILL does; its data stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let the server answer nothing, with all connections open, until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the server go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def save(self) -> None:
        """Remember the data as it is now, for `put_back`."""
        shutil.rmtree(self._older, ignore_errors=True)
        shutil.copytree(self.folder, self._older)

    def put_back(self) -> None:
        """Put the remembered data in place of a killed server's."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._older, self.folder)

    def empty(self) -> None:
        """Take all data of a killed server away."""
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """End the server, and remove its data."""
        self.kill()
        self._root.cleanup()


class Redis(Engine):
    """A Redis that appends each command to a file before the answer."""

    program = "redis-server"
    package = "redis-server"
    driver = "redis"

    def __init__(self, *flags: str) -> None:
        super().__init__()
        self._flags = flags

    def command(self) -> list[str]:
        """Return the command: the file is written at each command, and never rewritten, so a copy of it is a past."""
        return [
            self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--appendonly", "yes", "--appendfsync", "no", "--save", "", "--auto-aof-rewrite-percentage", "0",
            *self._flags,
        ]  # fmt: skip

    def url(self, namespace: str) -> str:
        return f"redis://127.0.0.1:{self.port}/0?namespace={namespace}"

    def answers(self) -> bool:
        return self.ask("PING").startswith((b"+PONG", b"-NOAUTH"))

    def ask(self, *command: str) -> bytes:
        """Send a command, and return the first line of the answer; nothing where no server answers."""
        words = [word.encode() for word in command]
        text = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.settimeout(5)
                connection.sendall(text)
                with connection.makefile("rb") as answer:
                    return answer.readline().rstrip()
        return b""


class Nats(Engine):
    """A NATS server with JetStream, which keeps its streams in files.

    Args:
        flags: more of the command line.
    """

    program = "nats-server"
    package = "nats-server"
    driver = "nats"

    def __init__(self, *flags: str) -> None:
        super().__init__()
        self._flags = flags

    def command(self) -> list[str]:
        return [
            self.program, "--jetstream", "--store_dir", str(self.folder), "--addr", "127.0.0.1",
            "--port", str(self.port), *self._flags,
        ]  # fmt: skip

    def url(self, namespace: str) -> str:
        return f"nats://127.0.0.1:{self.port}?namespace={namespace}"

    def answers(self) -> bool:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return "error" not in self.ask("INFO")
        return False

    def ask(self, what: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Make a request of JetStream's API; raise OSError where no server answers."""
        text = b"" if body is None else json.dumps(body).encode()
        answer: dict[str, Any] = json.loads(self.publish(f"$JS.API.{what}", text))
        return answer

    def publish(self, subject: str, payload: bytes) -> bytes:
        """Publish a message that is answered; return the answer.

        Raises:
            OSError: no server answers, or nobody listens to the subject.
        """
        options = json.dumps({"verbose": False, "headers": True, "no_responders": True})
        head = f"CONNECT {options}\r\nSUB a 1\r\nPUB {subject} a {len(payload)}\r\n"
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.settimeout(5)
            connection.sendall(head.encode() + payload + b"\r\n")
            with connection.makefile("rb") as answers:
                for line in answers:
                    if line.startswith(b"MSG "):
                        return answers.read(int(line.split()[-1]))
                    if line.startswith((b"HMSG ", b"-ERR")):
                        raise OSError(line.decode())
        raise OSError("no answer")


ENGINES: dict[str, type[Engine]] = {"nats": Nats, "redis": Redis}
"""The engines that a run of several processes is tried with, by the scheme of their stores."""


def need_engine(kind: type[Engine]) -> None:
    """Skip the test where an engine or its driver is not installed, or fail where engines are required."""
    why = ""
    if shutil.which(kind.program) is None:
        why = f"no {kind.program} here; apt-get install {kind.package}"
    elif importlib.util.find_spec(kind.driver) is None:
        why = f"no {kind.driver} here; {_DRIVERS}"
    if why and is_set("FASTSSE_REQUIRE_STORES"):
        pytest.fail(f"FASTSSE_REQUIRE_STORES is set, and there is {why}")
    if why:
        pytest.skip(why)


@functools.cache
def shared(kind: type[Engine]) -> Engine:
    """Return an engine that runs until the tests end, for those that leave it running; each takes a namespace."""
    need_engine(kind)
    engine = kind()
    engine.start()
    atexit.register(engine.close)
    return engine
