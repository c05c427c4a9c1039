"""Several servers of ours on one store, and publishers that post to them: processes, each of which may be killed.

    engine ──── hub ── worker, worker       publisher ── posts with keys; says each id that it was given
           └─── hub ── worker, worker       publisher

Nothing here judges what comes of it. An engine is a row of `support.engines`; no other is known here by name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

from support.servers import environment, free_port, wait_for
from support.starts import STARTS, children_of

__all__ = ["Hub", "Publisher"]

_PUBLISHER = Path(__file__).parents[1] / "stress" / "publisher.py"


class Hub:
    """``fastsse serve`` with several workers, on a port that stays its own over all of its starts.

    Args:
        store: the URL of the store.
        workers: how many processes serve the port.
        flags: more options.
    """

    def __init__(self, store: str, workers: int = 2, *flags: str) -> None:
        self.port = free_port()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        where = ["--port", str(self.port), "--store", store, "--workers", str(workers)]
        where += ["--operator-port", "0"]  # each worker says its own, and so that it has started
        self._command = [sys.executable, "-m", "fastsse", "serve", *where, *flags]
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the processes; `wait` says when they serve."""
        self._process = subprocess.Popen(
            self._command,
            env=environment(),
            stdout=self._said,
            stderr=self._said,
            start_new_session=True,
        )

    def wait(self) -> None:
        """Wait until every worker has started, and one has said that the address answers."""
        wait_for(lambda: self.starts >= self._workers and self.addresses > 0, 3 * STARTS)

    @property
    def starts(self) -> int:
        """How many workers have started so far."""
        return self.said().count("fastsse: for operators: http")

    @property
    def addresses(self) -> int:
        """How many times the address has been printed so far."""
        return self.said().count("fastsse: http")

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that run."""
        return sorted(children_of(self._pid))

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End all processes as SIGKILL does: by their group, so that none that is just being started is left."""
        if self._process is not None:
            os.killpg(self._pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """End the server as a supervisor does, and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(3 * STARTS)
        self._process = None
        return code

    def said(self) -> str:
        """Return all that the processes have printed and logged."""
        return os.pread(self._said.fileno(), 2**24, 0).decode(errors="replace")

    def close(self) -> None:
        """End all processes."""
        self.kill()
        self._said.close()


class Publisher:
    """A process that posts numbered events, each with a key, to one hub or another, until it is told to stop.

    A killed one is started again after the last event of which it has said the id, and repeats keys where it must.

    Args:
        name: the beginning of its keys, and of its events' data.
        ports: of the hubs.
        pause: seconds between two events.

    Attributes:
        ids: the id of each event, by its number, as the first answer gave it.
    """

    def __init__(self, name: str, ports: list[int], pause: float) -> None:
        self.name = name
        self.ids: dict[int, str] = {}
        self.starts = 0
        self._ports = [str(port) for port in ports]
        self._pause = str(pause)
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Post on after the last event of which the id is known."""
        self.starts += 1
        command = [sys.executable, str(_PUBLISHER), self.name, str(len(self.ids)), self._pause]
        process = self._process = subprocess.Popen(
            [*command, *self._ports], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._thread = threading.Thread(target=self._hear, args=(process.stdout,), daemon=True)
        self._thread.start()

    def _hear(self, out: IO[bytes]) -> None:
        for line in out:
            number, _, id = line.decode().rstrip("\n").partition(" ")
            if line.endswith(b"\n"):
                self.ids[int(number)] = id

    def kill(self) -> None:
        """End the process as SIGKILL does, and hear what it has said."""
        assert self._process is not None
        self._process.kill()
        self._end()

    def stop(self, within: float) -> None:
        """Let the process finish its event, and wait for its end."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(within)
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        assert self._thread is not None
        self._process.wait()
        self._thread.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process = None

    def close(self) -> None:
        """End the process, if one runs."""
        if self._process is not None:
            self.kill()
