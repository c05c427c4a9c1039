"""Runs a server under load, and the generator that loads it, as processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from benchmarks.load import machine
from benchmarks.load.build import build
from benchmarks.load.servers import ROOT, Contender

__all__ = ["Failed", "Generator", "Server"]

READY = 30.0  # s that a server may take to answer
ANSWER = 200.0  # s that the generator may take for one command
KNOCK = 0.05  # s between two looks


class Failed(Exception):
    """A server did not come up, or broke under the load; the message has the server's last output."""


class Server:
    """A contender's process group on a free port, ready to be loaded."""

    def __init__(self, contender: Contender) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fastsse-load-")
        self._log: IO[bytes] = open(Path(self._folder.name) / "log", "w+b")  # noqa: SIM115
        self.port = _free_port()
        self.name = contender.name
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FASTSSE_")}
        kept = {k: v for k, v in os.environ.items() if k == "FASTSSE_NO_EXTENSIONS"}
        self.process = subprocess.Popen(
            contender.command(self.port, Path(self._folder.name)),
            env=environment | kept | {"PYTHONPATH": str(ROOT)} | dict(contender.environment),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            cwd=self._folder.name,  # "python -m" and uvicorn look there first: it must be nobody's package
        )
        self._await_answer()

    def _await_answer(self) -> None:
        end = time.monotonic() + READY
        while True:
            with contextlib.suppress(OSError):
                self.ask("/health")
                return
            if self.process.poll() is not None or time.monotonic() > end:
                said = self.said()
                self.stop()
                raise Failed(f"{self.name} did not come up: {said}")
            time.sleep(KNOCK)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the whole group at once, because many servers would wait for their streams."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()
        self._folder.cleanup()

    def said(self) -> str:
        """Read the end of the server's output."""
        self._log.flush()
        return Path(self._log.name).read_text(errors="replace")[-800:].strip()

    def ask(self, path: str) -> str:
        """Send a GET and return the body of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    @property
    def streams(self) -> int:
        """Ask the server how many streams are open."""
        text = self.ask("/health")
        if text.startswith("{"):
            return int(json.loads(text)["streams"])
        found = re.search(r"subscribers: (\d+)", text)  # nchan's status page
        return int(found[1]) if found else -1

    def await_streams(self, count: int, limit: float = 30.0) -> float | None:
        """Wait until so many streams are open, and return the seconds; None when that never happens."""
        began = time.monotonic()
        while self.streams != count:
            if time.monotonic() - began > limit:
                return None
            time.sleep(0.01)
        return time.monotonic() - began

    @property
    def cpu(self) -> float:
        return machine.cpu(self.process.pid)

    @property
    def rss(self) -> int:
        return machine.rss(self.process.pid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Generator:
    """The process of sseload, for one server: each command gets one answer."""

    def __init__(
        self,
        server: Server,
        *,
        path: str = "/events",
        publishers: int = 8,
        progress: bool = False,
    ) -> None:
        command = [str(build("sseload")), str(server.port), "--path", path]
        command += ["--publishers", str(publishers)]
        self._process = subprocess.Popen(
            command + ["--progress"] * progress, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._server = server

    def __enter__(self) -> Generator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()

    def ask(self, command: str) -> dict[str, Any]:
        """Give a command and return its answer.

        Raises:
            Failed: the generator has ended, or does not answer.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(ANSWER):
                raise Failed(f"{self._server.name}: no answer to {command!r}")
        line = self._process.stdout.readline()
        if not line:
            raise Failed(
                f"{self._server.name}: the generator broke off at {command!r}; {self._server.said()}"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def open(self, count: int, topics: int = 1, *, pending: int = 0) -> dict[str, Any]:
        """Open readers, and wait until the server says that all of them are there.

        Args:
            pending: how many may be connecting at a time; 0 for all at once.

        Raises:
            Failed: not all of them were let in.
        """
        answer = self.ask(f"open {count} {topics} {pending}")
        if answer["open"] != count or self._server.await_streams(count) is None:
            raise Failed(f"{self._server.name}: {answer['open']} of {count} readers are open")
        if answer["doubled"] or answer["gaps"]:
            raise Failed(f"{self._server.name}: new readers got old events")
        return answer
