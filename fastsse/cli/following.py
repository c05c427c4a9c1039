"""One event stream over all its connections, printed: what `subscribe` and `tail` share.

    ends with   when
    0           the server says that there is no more (204), or, with --no-retry, ends its answer
    1           the stream is refused, or a limit is reached; stderr says why, and how to go on
    130         Ctrl-C

A server that cannot be reached, or refuses, before the first stream has opened ends the command at once, because the
address may be wrong; with --max-retries it is asked again. After that the client comes back as the HTML standard says.

The module knows options and the client; it must not know topics.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from fastsse import Event
from fastsse.cli.arguments import body, header, seconds, whole
from fastsse.cli.printing import Tee, print_data, print_json, printer
from fastsse.cli.terminal import DIM, WARNING, Failure, show
from fastsse.cli.url import place
from fastsse.client import (
    DEFAULT_IDLE_TIMEOUT,
    ClientError,
    EventSource,
    NetworkError,
    Response,
    ResponseError,
    StreamEnded,
)

__all__ = ["EXITS", "Following", "add_options", "warn"]

EXITS = (
    "Exits with 0 when the server says that there is no more, 1 when the stream is refused or a limit is reached "
    "(stderr says why, and how to go on), 130 at Ctrl-C. Before the first stream has opened, an error ends the "
    "command, unless --max-retries is given."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a stream that is followed."""
    add = parser.add_argument
    add("--last-event-id", metavar="ID", default="", help="begin after this event")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--json",
        action="store_true",
        help="print each event as a line of JSON: id, event, data, retry",
    )
    forms.add_argument(
        "--raw",
        action="store_true",
        help="print the stream's own bytes, comments too, block by block",
    )
    add("--only", metavar="TYPE", action="append", default=[],
        help="print events of this type alone; may be repeated")  # fmt: skip
    retries = parser.add_mutually_exclusive_group()
    retries.add_argument("--no-retry", action="store_true", help="one connection, and no other")
    retries.add_argument("--max-retries", metavar="N", type=whole,
        help="come again at most N times in a row without an event (default: no limit)")  # fmt: skip
    add("--idle-timeout", metavar="S", type=seconds, default=DEFAULT_IDLE_TIMEOUT,
        help="seconds without a byte until a connection counts as lost; 0: never (default: %(default)g)")  # fmt: skip
    add("--header", metavar="'NAME: VALUE'", type=header, action="append", default=[],
        help="send this header, too; may be repeated")  # fmt: skip
    add("--method", help="of the request (default: GET, or POST with --data)")
    add("--data", type=body, metavar="TEXT",
        help="the body of the request; @FILE: what the file holds, @-: standard input")  # fmt: skip


class Following:
    """A stream that is followed and printed.

    Args:
        given: the options of `add_options`.
        url: the whole address.
        headers: to be sent.

    Attributes:
        print: prints one event in the form that was asked for.
        json: events are printed as JSON.

    Raises:
        Failure: an option is not allowed.
    """

    def __init__(
        self, given: argparse.Namespace, url: str, headers: Sequence[tuple[str, str]]
    ) -> None:
        if given.raw and given.only:
            raise Failure("--raw prints the stream as it is: leave out --only")
        self.json: bool = given.json
        form = print_json if given.json else _print_nothing if given.raw else print_data
        self.print = printer(form, given.only)
        self._place = place(url)
        self._opened = False
        self._patient = given.max_retries is not None
        try:
            self._source = EventSource(
                url,
                client=Tee() if given.raw else "stdlib",
                method=given.method,
                headers=headers,
                body=given.data,
                last_event_id=given.last_event_id,
                idle_timeout=given.idle_timeout or None,
                max_retries=0 if given.no_retry else given.max_retries,
                on_open=self._note_open,
                on_retry=self._note_retry,
            )
        except ValueError as error:
            raise Failure(str(error)) from error

    def run(self, take: Callable[[Event], bool]) -> bool:
        """Give each event to `take`, until it returns True or the stream is over for good.

        Returns:
            True when that was the end that somebody asked for: `take`, or the server by 204. False when the server has
            ended its answer, and --no-retry was given.

        Raises:
            Failure: the stream is refused, or a limit is reached.
        """
        try:
            with self._source as events:
                for event in events:
                    if take(event):
                        return True
        except ClientError as error:
            raise Failure(self._worded(error) + self._where()) from error
        response = self._source.response
        return response is not None and response.status == 204

    def where(self) -> str:
        """Say by which option another command goes on from here."""
        return f"to go on from here: --last-event-id {self._source.last_event_id or 'earliest'}"

    def _where(self) -> str:
        return f"; {self.where()}" if self._opened and self._source.last_event_id else ""

    def _worded(self, error: ClientError) -> str:
        if isinstance(error, ResponseError):
            return _refused(error)
        return f"{self._place}: {error}" if isinstance(error, NetworkError) else str(error)

    def _note_open(self, _: Response) -> None:
        self._opened = True

    def _note_retry(self, delay: float, why: ClientError) -> None:
        if not (self._opened or self._patient):
            raise why
        # Servers end streams now and then, and nothing is wrong.
        if not isinstance(why, StreamEnded):
            show(f"fastsse: {self._worded(why)}; comes again in {delay:.3g} s", sys.stderr, DIM)


def warn(text: str) -> None:
    """Tell something beside the events."""
    show(f"fastsse: {text}", sys.stderr, WARNING)


def _print_nothing(_: Event) -> None:
    """Leave an event to the transport, which prints the stream."""


def _refused(error: ResponseError) -> str:
    """Word an answer that is no stream: by its problem (RFC 9457) where it has one."""
    try:
        detail: Any = json.loads(error.body)["detail"]
    except (ValueError, KeyError, TypeError):
        return str(error)
    return f"refused ({error.response.status}): {detail}"
