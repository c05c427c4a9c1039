"""A client of your own: follow an event stream, and lose nothing when it is cut off.

    python examples/follow.py 'http://localhost:8000/events?topic=news'

The client reconnects as the HTML standard says: with the last event ID, after the reconnection time. A 204, or any
error answer but a 503, ends it. Needs the standard library and fastsse's decoder.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from fastsse import Decoder, Event, iter_events

CHUNK = 65536  # bytes
QUIET = 60.0  # seconds without a byte, heartbeats too, after which the connection counts as lost
RETRY = 2000  # milliseconds, until the stream says otherwise


def follow(url: str) -> Iterator[Event]:
    """Yield the events at `url`, over as many connections as needed."""
    decoder = Decoder()  # remembers the last event ID and the reconnection time
    while True:
        try:
            with urlopen(_request(url, decoder.last_event_id), timeout=QUIET) as response:
                if response.status == HTTPStatus.NO_CONTENT:
                    return
                yield from iter_events(iter(partial(response.read1, CHUNK), b""), decoder)
        except HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
        except (OSError, HTTPException) as error:
            print(f"follow: {error}", file=sys.stderr)
        decoder.reset()
        time.sleep((RETRY if decoder.retry is None else decoder.retry) / 1000)


def _request(url: str, last_event_id: str) -> Request:
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    return Request(url, headers=headers)


def main() -> int:
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} URL", file=sys.stderr)
        return 2
    try:
        for event in follow(sys.argv[1]):
            print(event.id or "-", event.event, event.data, flush=True)
    except HTTPError as error:
        print(f"follow: {error}: {error.read(400).decode(errors='replace')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
