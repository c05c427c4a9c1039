"""``fastsse subscribe``: the events of topics, printed as they come.

The module knows options, and what of an event is printed where; it must not know how a stream is read.
"""

from __future__ import annotations

import argparse
import json
import sys
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

from fastsse import Decoder, Event, EventTooLarge
from fastsse.cli.arguments import as_typed
from fastsse.cli.exchange import CHUNK, exchange
from fastsse.cli.terminal import Failure, show

__all__ = ["add_arguments"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `subscribe`, and what runs it."""
    parser.description = (
        "Print the data of each event as it comes, until the topics have ended. Gaps are told on stderr, and so are "
        "ends that are no finish."
    )
    parser.set_defaults(run=_subscribe)
    add = parser.add_argument
    add("url", help="of the broadcast, such as http://127.0.0.1:8000")
    add("topic", nargs="+")
    add(
        "--last-event-id",
        metavar="ID",
        help="begin after this event; earliest: with all that is kept",
    )
    add(
        "--json",
        action="store_true",
        help="print each event as a line of JSON: id, event, data, retry",
    )


def _subscribe(given: argparse.Namespace) -> int:
    """Print events until the topics have ended; every other end of the stream is a failure."""
    query = [("topic", topic) for topic in given.topic]
    headers: dict[str, str | bytes] = {"Accept": "text/event-stream"}
    if given.last_event_id:
        headers["Last-Event-ID"] = as_typed(given.last_event_id)
    decoder = Decoder(last_event_id=given.last_event_id or "")
    print_event = _print_json if given.json else _print_data
    left = set(given.topic)  # topics that have not ended
    with exchange("GET", given.url, query, headers) as response:
        if response.status == 204:
            return 0
        while chunk := _read(response, decoder):
            try:
                events = decoder.feed(chunk)
            except EventTooLarge as error:
                for event in error.events:
                    print_event(event)
                raise
            for event in events:
                print_event(event)
                if event.event == "end":
                    left.discard(_end(event).get("topic", ""))
    if not left:
        return 0
    raise Failure(f"the stream ended; {_where(decoder)}")


def _read(response: HTTPResponse, decoder: Decoder) -> bytes:
    try:
        return response.read1(CHUNK)
    except (OSError, HTTPException) as error:
        raise Failure(f"the stream broke off; {_where(decoder)}") from error


def _print_data(event: Event) -> None:
    if event.event == "gap":
        show(f"fastsse: gap: {event.data}", sys.stderr)
    elif event.event == "end":
        if _end(event).get("reason") != "finished":
            show(f"fastsse: end: {event.data}", sys.stderr)
    else:
        show(event.data, sys.stdout)


def _end(event: Event) -> dict[str, Any]:
    """Read the topic and the reason of an end; nothing where the data is of another make."""
    try:
        data: Any = json.loads(event.data)
    except ValueError:
        return {}
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def _print_json(event: Event) -> None:
    members = {"id": event.id, "event": event.event, "data": event.data, "retry": event.retry}
    show(json.dumps(members, ensure_ascii=False), sys.stdout)


def _where(decoder: Decoder) -> str:
    return f"to go on from here: --last-event-id {decoder.last_event_id or 'earliest'}"
