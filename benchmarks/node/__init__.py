"""npm's eventsource-parser, in a node process of its own that stays for the whole run.

The process is not pinned to our core, because V8 compiles and collects garbage in threads of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.corpora import Cut

__all__ = ["INSTALL", "Node", "NodeCell", "installed"]

HERE = Path(__file__).parent
INSTALL = "npm install --prefix benchmarks/node"
WARM_UP = 300_000_000  # nanoseconds of reading before the first sample, so that V8 has compiled


def installed(package: str) -> str | None:
    """Return why `package` cannot be used, or None when it can."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (HERE / "node_modules" / package).is_dir():
        return INSTALL
    return None


class Node:
    """The node process, started on every processor that this process may use, whatever that is pinned to now."""

    def __init__(self, package: str, processors: Iterable[int] | None) -> None:
        here = os.sched_getaffinity(0) if processors is not None else None
        if processors is not None:
            os.sched_setaffinity(0, processors)
        try:
            self._process = subprocess.Popen(
                ["node", str(HERE / "parse.mjs"), package],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        finally:
            if here is not None:
                os.sched_setaffinity(0, here)
        self._folder = tempfile.TemporaryDirectory()
        hello = self._answer()
        self.version: str = hello["version"]
        self.node: str = hello["node"]
        self._open: Cut | None = None

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("node ended; is eventsource-parser whole? " + INSTALL)
        return json.loads(line)

    def ask(self, **request: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def open(self, cut: Cut) -> bool:
        """Read `cut` from now on; False when it is open already."""
        if self._open is cut:
            return False
        file = Path(self._folder.name) / "stream"
        file.write_bytes(b"".join(cut.chunks))
        self.ask(open=str(file), sizes=[len(chunk) for chunk in cut.chunks])
        self._open = cut
        return True

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()


class NodeCell:
    """One stream, read in node."""

    def __init__(self, node: Node, cut: Cut) -> None:
        self._node = node
        self._cut = cut

    def sample(self, passes: int) -> float:
        if self._node.open(self._cut):
            spent = 0.0
            while spent < WARM_UP:
                spent += self._node.ask(**{"pass": 1})
        return float(self._node.ask(**{"pass": passes}))

    def right(self) -> bool:
        self._node.open(self._cut)
        return [tuple(answer) for answer in self._node.ask(answers=True)] == [
            (seen.data, seen.event) for seen in self._cut.events
        ]
