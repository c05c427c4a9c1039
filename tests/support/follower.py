"""Clients of other projects, each in a Node process of its own that reports in lines of JSON."""

from __future__ import annotations

import json
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.servers import DEADLINE
from support.twins import is_set

__all__ = ["Follower", "follower"]

NODE = Path(__file__).parents[1] / "node"


class Follower:
    """A script of tests/node, running."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            ["node", *command], cwd=NODE, stdout=subprocess.PIPE, bufsize=0
        )  # no buffer: a line that lies in one is not seen by `select`

    def next(self, wanted: str) -> Any:
        """Wait for the next news that has the member `wanted`, and pass over all others."""
        deadline = time.monotonic() + DEADLINE
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - time.monotonic())):
                news = json.loads(self.process.stdout.readline())
                if wanted in news:
                    return news
        raise AssertionError(f"no {wanted} within {DEADLINE} s")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def follower(url: str, *types: str, client: str | None = None) -> Iterator[Follower]:
    """Start npm's EventSource, which reports some event types besides; or another client, by its package's name."""
    package = {"fetch-event-source": "@microsoft/fetch-event-source"}.get(client or "", client)
    folder = NODE / "node_modules" / (package or "eventsource")
    if shutil.which("node") is None or not folder.is_dir():
        missing = "needs Node and, in tests/node: npm install"
        if is_set("FASTSSE_REQUIRE_NODE"):
            pytest.fail(f"FASTSSE_REQUIRE_NODE is set: {missing}")
        pytest.skip(missing)
    command = ("follow.js", url, *types) if client is None else ("client.js", client, url)
    started = Follower(*command)
    try:
        yield started
    finally:
        started.close()
