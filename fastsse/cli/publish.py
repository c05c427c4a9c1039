"""``fastsse publish``: one event from the arguments or standard input, or a whole event stream as it arrives.

The module knows options and how a body is sent; it must not know how a broadcast reads one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

from fastsse.cli.arguments import as_typed, whole
from fastsse.cli.exchange import CHUNK, exchange
from fastsse.cli.terminal import Failure, show

__all__ = ["add_arguments"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `publish`, and what runs it."""
    parser.description = (
        "Publish one event, or with --stream every event of an event stream as it arrives."
    )
    parser.set_defaults(run=_publish)
    add = parser.add_argument
    add("url", help="of the broadcast, such as http://127.0.0.1:8000")
    add("topic")
    add("data", nargs="?", default="-", help="the event's data; - or nothing: standard input")
    add("--event", help="the event type")
    add("--retry", type=whole, metavar="MS", help="reconnection time for the topic's readers")
    add("--stream", action="store_true", help="standard input is an event stream")
    add("--end", action="store_true", help="the topic ends after that")


def _publish(given: argparse.Namespace) -> int:
    if given.stream and (given.data != "-" or given.event is not None or given.retry is not None):
        raise Failure(
            "--stream reads everything from standard input: leave out DATA, --event and --retry"
        )
    asked = {"topic": given.topic, "event": given.event, "retry": given.retry}
    query = [(name, value) for name, value in asked.items() if value is not None]
    if given.end:
        query.append(("end", 1))
    kind = "text/event-stream" if given.stream else "text/plain; charset=utf-8"
    with exchange("POST", given.url, query, {"Content-Type": kind}, _body(given)) as response:
        show(response.read().decode(errors="replace").removesuffix("\n"), sys.stdout)
    return 0


def _body(given: argparse.Namespace) -> bytes | Iterator[bytes]:
    if given.stream:
        return _chunks(sys.stdin.buffer)
    if given.data == "-":
        return sys.stdin.buffer.read()
    return as_typed(given.data)


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    """Read what there is as soon as there is something: a stream is published event by event."""
    read: Callable[[int], bytes] = getattr(source, "read1", source.read)
    while chunk := read(CHUNK):
        yield chunk
