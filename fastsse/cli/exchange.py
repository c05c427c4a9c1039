"""One HTTP request and its response, by the standard library: what `publish` and `subscribe` share.

The module knows URLs, statuses and problems; it must not know events.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, urlencode, urlsplit

from fastsse.cli.terminal import Failure

__all__ = ["CHUNK", "exchange"]

CHUNK = 65536  # bytes read at once
_CONNECT = 10.0  # s


@contextlib.contextmanager
def exchange(
    method: str,
    url: str,
    query: Sequence[tuple[str, str | int]],
    headers: Mapping[str, str | bytes],
    body: bytes | Iterator[bytes] | None = None,
) -> Generator[HTTPResponse, None, None]:
    """Send a request; give its response, whose status is 200 or 204, to be read.

    Args:
        method: ``GET`` or ``POST``.
        url: where the broadcast is; without a path ``/events`` is meant.
        query: names and values, in the order to be sent.
        headers: names and values.
        body: bytes; or an iterator, each chunk of which is sent as soon as it comes.

    Raises:
        Failure: the URL is none of HTTP, nobody answers there, or the status is another one.
    """
    parts = _broadcast_url(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_CONNECT)
    path = parts.path if parts.path.strip("/") else "/events"
    with contextlib.closing(connection):
        try:
            connection.connect()
            connection.sock.settimeout(None)  # streams may be quiet
            # A server that refuses a body stops reading before the body's end: sending fails, and the answer says why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                target = f"{path}?{urlencode(query, errors='surrogateescape')}"
                connection.request(method, target, body, headers)
            response = connection.getresponse()
        except (OSError, HTTPException, ValueError) as error:  # ValueError: no header, no URL
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Failure(f"{parts.scheme}://{parts.netloc}: {reason}") from error
        with response:
            if response.status not in (200, 204):
                raise _refused(response)
            yield response


def _broadcast_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass
    raise Failure(
        f"{url!r}: must be http://HOST or https://HOST, optionally with a port and a path"
    )


def _refused(response: HTTPResponse) -> Failure:
    """Make a failure of an answer's problem (RFC 9457), or of its status line where there is none."""
    try:
        detail = json.loads(response.read())["detail"]
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        detail = response.reason
    return Failure(f"refused ({response.status}): {detail}")
