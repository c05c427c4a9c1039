"""Events on stdout, as they come: the data alone, lines of JSON, or the stream's own bytes.

Each event is flushed, so that a reader behind a pipe has it at once. The module knows the forms; it must not know where
events come from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable

from fastsse import BlockSplitter, Event
from fastsse.cli.terminal import EVENT, show
from fastsse.client import Answer, Request, Response
from fastsse.client.transports import find

__all__ = ["Tee", "print_data", "print_json", "printer"]


def printer(form: Callable[[Event], None], only: Iterable[str]) -> Callable[[Event], None]:
    """Return a function that prints the events of some types; of all where `only` is empty."""
    types = frozenset(only)
    if not types:
        return form

    def print_some(event: Event) -> None:
        if event.event in types:
            form(event)

    return print_some


def print_data(event: Event) -> None:
    """Print the data of an event; a terminal gets the type, too, where that is not ``message``."""
    if event.event == "message":
        show(event.data, sys.stdout)
    else:
        show(event.data, sys.stdout, EVENT, event.event)


def print_json(event: Event) -> None:
    """Print an event as one line of JSON."""
    members = {"id": event.id, "event": event.event, "data": event.data, "retry": event.retry}
    show(json.dumps(members, ensure_ascii=False), sys.stdout)


class Tee:
    """The standard library's transport; each whole block of an event stream goes to stdout as well, byte for byte."""

    def __init__(self) -> None:
        self._transport = find(None)

    def open(self, request: Request, idle_timeout: float | None) -> Answer:
        """Send a request, as `Transport.open` does."""
        answer = self._transport.open(request, idle_timeout)
        kind = answer.response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if answer.response.status == 200 and kind == "text/event-stream":
            return _TeeAnswer(answer)
        return answer

    def interrupt(self) -> None:
        """End an `open` of another thread."""
        self._transport.interrupt()

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()


class _TeeAnswer:
    """An answer whose blocks are written as they are read; one that is cut off is not written."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._splitter = BlockSplitter()
        self.response: Response = answer.response

    def read(self) -> bytes:
        chunk = self._answer.read()
        blocks = (
            self._splitter.feed_joined(chunk) if chunk else b"".join(self._splitter.finish()[0])
        )
        if blocks:
            _write(blocks)
        return chunk

    def interrupt(self) -> None:
        self._answer.interrupt()

    def close(self) -> None:
        self._answer.close()


def _write(blocks: bytes) -> None:
    """Write bytes to stdout; a terminal gets them as text that it need not obey."""
    if sys.stdout.isatty():
        show(blocks.decode("utf-8", "replace").removesuffix("\n"), sys.stdout)
        return
    sys.stdout.buffer.write(blocks)
    sys.stdout.buffer.flush()
