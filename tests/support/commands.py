"""The `fastsse` command run by tests: in this process, or as a child that prints events."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from support.servers import (
    DEADLINE,
    Server,
    environment,
)


class Done(NamedTuple):
    """The outcome of a command: its exit code, and the texts on stdout and stderr."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@contextmanager
def subscriber(server: Server, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `fastsse subscribe` as a child, which ends with the context."""
    command = [sys.executable, "-m", "fastsse", "subscribe", server.url, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), bufsize=0
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines(process: subprocess.Popen[bytes], count: int) -> list[str]:
    """Read so many lines of the child's stdout, or those that come before the deadline."""
    found: list[str] = []
    deadline = time.monotonic() + DEADLINE
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(found) < count and selector.select(max(0.0, deadline - time.monotonic())):
            found.append(process.stdout.readline().decode().rstrip("\n"))
    return found


def subscribed(server: Server, topic: str, count: int) -> list[Any]:
    """Return the first events that are kept of a topic, as `subscribe --json` prints them."""
    with subscriber(server, topic, "--json", "--last-event-id", "earliest") as process:
        return [json.loads(line) for line in lines(process, count)]
