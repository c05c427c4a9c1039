"""Play a recorded event stream into a topic, event by event, at the speed at which it was once written.

    python examples/play.py examples/chat.sse --topic chat [--url http://localhost:8000] [--rate 30]

The script sends one POST with a chunked body of `text/event-stream`. The hub publishes each event as it arrives, so
readers of the topic see the answer being typed. Prints the hub's answer, JSON. Standard library only.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from urllib.parse import SplitResult, urlencode, urlsplit

# A block ends at a blank line; a line ends in CRLF, LF or CR (HTML standard, "Parsing an event stream").
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2,}")
_TIMEOUT = 30.0  # seconds


def main() -> int:
    given = _arguments()
    try:
        blocks = split_blocks(given.file.read_bytes())
        response = play(given.url, given.topic, paced(blocks, given.rate, given.seed))
        print(response.read().decode())
    except KeyboardInterrupt:
        return _fail("stopped; what was sent until then is published")
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename or given.url.geturl()}")
    except HTTPException as error:
        return _fail(f"{given.url.geturl()} broke the connection off: {error!r}")
    return 0 if response.status < 400 else 1


def split_blocks(stream: bytes) -> list[bytes]:
    """Cut an event stream into its blocks, each with the blank line that ends it."""
    ends = [match.end() for match in _BLANK_LINE.finditer(stream)]
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def paced(blocks: list[bytes], rate: float, seed: int) -> Iterator[bytes]:
    """Yield the blocks, `rate` a second on average, as unevenly as a model writes; 0: as fast as they are read."""
    rng = random.Random(seed)
    for block in blocks:
        if rate > 0:
            time.sleep(rng.uniform(0.2, 1.8) / rate)
        yield block


def play(url: SplitResult, topic: str, blocks: Iterator[bytes]) -> HTTPResponse:
    """POST the blocks, one chunk each, and return the hub's answer.

    Raises:
        OSError, HTTPException: the hub cannot be reached, or breaks off.
    """
    connect = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = connect(url.hostname or "localhost", url.port, timeout=_TIMEOUT)
    target = f"{url.path.rstrip('/')}/events?{urlencode({'topic': topic})}"
    headers = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
    connection.connect()
    # A hub that refuses answers before the end and closes; its answer says why.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", target, blocks, headers, encode_chunked=True)
    return connection.getresponse()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Play a recorded event stream into a topic.")
    parser.add_argument("file", type=Path, help="an event stream, such as examples/chat.sse")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--url", type=_url, default="http://localhost:8000", help="(%(default)s)")
    parser.add_argument(
        "--rate", type=float, default=30.0, help="events a second; 0: at once (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the unevenness (%(default)s)")
    return parser.parse_args()


def _url(text: str) -> SplitResult:
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} must be like http://localhost:8000")
    return url


def _fail(message: str) -> int:
    print(f"play: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
