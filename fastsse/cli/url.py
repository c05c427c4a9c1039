"""The address of a broadcast as it is given on the command line.

The module knows URLs; it must not know requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, urlencode, urlsplit

from fastsse.cli.terminal import Failure

__all__ = ["broadcast_url", "place", "split_url"]


def split_url(url: str) -> SplitResult:
    """Cut an address into its parts.

    Raises:
        Failure: the address is none of HTTP.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass
    raise Failure(
        f"{url!r}: must be http://HOST or https://HOST, optionally with a port and a path"
    )


def broadcast_url(url: str, query: Sequence[tuple[str, str | int]]) -> str:
    """Return the address of the broadcast's streams.

    Args:
        url: where the broadcast is; without a path ``/events`` is meant.
        query: names and values, in the order to be sent; a text that is no UTF-8 is sent as it was typed.

    Raises:
        Failure: the address is none of HTTP.
    """
    parts = split_url(url)
    path = parts.path if parts.path.strip("/") else "/events"
    asked = "&".join(filter(None, (parts.query, urlencode(query, errors="surrogateescape"))))
    return parts._replace(path=path, query=asked, fragment="").geturl()


def place(url: str) -> str:
    """Return the scheme, the host and the port of an address for a message, without a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
