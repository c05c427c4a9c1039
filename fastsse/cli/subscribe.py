"""``fastsse subscribe``: the events of topics, printed as they come.

The module knows topics, gaps and ends; it must not know how a stream is read.
"""

from __future__ import annotations

import argparse
import json
from typing import Any, cast

from fastsse import Event
from fastsse.cli.arguments import TOKEN, credentials
from fastsse.cli.following import EXITS, Following, add_options, warn
from fastsse.cli.terminal import Failure
from fastsse.cli.url import broadcast_url

__all__ = ["add_arguments"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `subscribe`, and what runs it."""
    parser.description = (
        "Print the data of each event as it comes, until the topics have ended, and come back after a broken "
        "connection without missing an event. Gaps are told on stderr, and so are ends that are no finish."
    )
    parser.epilog = (
        EXITS + " With --no-retry, 1 also when the stream ends before its topics. "
        f"The token of {TOKEN} is sent as Authorization: Bearer."
    )
    parser.set_defaults(run=_subscribe)
    add = parser.add_argument
    add("url", help="of the broadcast, such as http://127.0.0.1:8000")
    add("topic", nargs="+")
    add_options(parser)


def _subscribe(given: argparse.Namespace) -> int:
    """Print events until the topics have ended."""
    url = broadcast_url(given.url, [("topic", name) for name in given.topic])
    following = Following(given, url, credentials(given.header))
    left = set(given.topic)  # topics that have not ended

    def take(event: Event) -> bool:
        if event.event not in ("gap", "end"):
            following.print(event)
            return False
        if following.json:
            following.print(event)
        if event.event == "gap":
            warn(f"gap: {event.data}")
            return False
        end = _end(event)
        if end.get("reason") != "finished":
            warn(f"end: {event.data}")
        left.discard(end.get("topic", ""))
        return not left

    if not following.run(take):
        raise Failure(f"the stream ended; {following.where()}")
    return 0


def _end(event: Event) -> dict[str, Any]:
    """Read the topic and the reason of an end; nothing where the data is of another make."""
    try:
        data: Any = json.loads(event.data)
    except ValueError:
        return {}
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}
