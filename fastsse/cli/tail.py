"""``fastsse tail``: any event stream of the world, printed as it comes.

The module knows one address; it must not know what its events mean.
"""

from __future__ import annotations

import argparse

from fastsse import Event
from fastsse.cli.following import EXITS, Following, add_options
from fastsse.cli.url import split_url

__all__ = ["add_arguments"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tail`, and what runs it."""
    parser.description = (
        "Print the data of each event of a stream as it comes, and come back after a broken connection, and after the "
        "end of an answer, as the HTML standard says. A stream that is one answer, such as that of a language model, "
        "needs --no-retry: otherwise its request would be made again."
    )
    parser.epilog = EXITS + " With --no-retry, 0 also when the server ends its answer."
    parser.set_defaults(run=_tail)
    parser.add_argument("url", help="of the stream, such as https://example.com/events")
    add_options(parser)


def _tail(given: argparse.Namespace) -> int:
    split_url(given.url)
    following = Following(given, given.url, given.header)

    def take(event: Event) -> bool:
        following.print(event)
        return False

    following.run(take)
    return 0
