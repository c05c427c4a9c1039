"""``fastsse publish``: one event from the arguments or standard input, or a whole event stream as it arrives.

Each request has a key, so a request whose answer was lost is sent again, and what it carries is published once. Of a
stream each event has a key, made of the stream's and of the event's number, so the same input gives the same keys.

The module knows options and keys; it must not know how a broadcast reads a body.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import uuid
from typing import Any

from fastsse.cli.arguments import TOKEN, as_typed, credentials, header, whole
from fastsse.cli.batches import Batch, batches
from fastsse.cli.exchange import MAX_RETRIES, Exchange, Refused
from fastsse.cli.filters import chunks
from fastsse.cli.progress import Progress
from fastsse.cli.terminal import Failure, show, standard_input

__all__ = ["add_arguments"]

_CHUNK = 262_144  # bytes of a stream that are read at once
_MAX_KEY = 256  # bytes
_MAX_STEM = 238  # bytes of a stream's key: each event adds its number
_OURS = {"content-type", "idempotency-key"}
_PLAIN = re.compile(r"[ -~]+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `publish`, and what runs it."""
    parser.description = (
        "Publish one event, or with --stream every event of an event stream as it arrives. A request that the server "
        "did not answer is sent again, up to --max-retries times in a row, with the same key (Idempotency-Key), so "
        "what it carries is published once for as long as the server remembers the key. With --stream, event n has "
        "the key KEY-n: after a crash, the same input with the same --key publishes what was missing."
    )
    parser.epilog = (
        "Prints the server's answer, as JSON. Exits with 0 when everything is published, 1 when it is not (stderr says "
        "why, and what stays published), 130 at Ctrl-C. A server that cannot be reached at the first request ends the "
        f"command at once. The token of {TOKEN} is sent as Authorization: Bearer."
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
    add("--key", type=_key,
        help="the key of the event, or of the stream: printable ASCII, 256 characters at most, 238 for a stream "
        "(default: a random one)")  # fmt: skip
    add("--header", metavar="'NAME: VALUE'", type=header, action="append", default=[],
        help="send this header, too; may be repeated")  # fmt: skip
    add("--max-retries", metavar="N", type=whole, default=MAX_RETRIES,
        help="send a request again at most N times in a row (default: %(default)s)")  # fmt: skip
    add("--progress", action=argparse.BooleanOptionalAction,
        help="tell on stderr how far a stream is (default: on a terminal)")  # fmt: skip


def _key(text: str) -> str:
    if not _PLAIN.fullmatch(text) or len(text) > _MAX_KEY:
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be 1 to {_MAX_KEY} printable ASCII characters"
        )
    return text


def _publish(given: argparse.Namespace) -> int:
    _check(given)
    progress = Progress(given.progress if given.stream else False)
    exchange = Exchange(given.url, credentials(given.header), given.max_retries, progress.say)
    with contextlib.closing(exchange):
        try:
            answer = (_stream if given.stream else _one)(given, exchange, progress)
            if given.end:
                answer |= {"ends": _end(given.topic, exchange)}
        finally:
            progress.finish()
    show(json.dumps(answer, ensure_ascii=False, separators=(",", ":")), sys.stdout)
    return 0


def _end(topic: str, exchange: Exchange) -> Any:
    """End a topic; return the ids of its ends."""
    try:
        return exchange.send("DELETE", [("topic", topic)], {}).get("ends")
    except Failure as error:
        raise Failure(f"{error}; everything is published, and the topic has not ended") from error


def _check(given: argparse.Namespace) -> None:
    """Refuse what does not go together.

    Raises:
        Failure: options that exclude each other, or a key that is too long.
    """
    if any(name.lower() in _OURS for name, _ in given.header):
        raise Failure(f"--header: {' and '.join(sorted(_OURS))} are set by the command (--key)")
    if not given.stream:
        return
    if given.data != "-" or given.event is not None or given.retry is not None:
        raise Failure(
            "--stream reads everything from standard input: leave out DATA, --event and --retry"
        )
    if given.key is not None and len(given.key) > _MAX_STEM:
        raise Failure(f"--key: must be at most {_MAX_STEM} characters for a stream")


def _one(given: argparse.Namespace, exchange: Exchange, _: Progress) -> dict[str, Any]:
    """Publish one event."""
    asked = {"topic": given.topic, "event": given.event, "retry": given.retry}
    query = [(name, value) for name, value in asked.items() if value is not None]
    body = standard_input().read() if given.data == "-" else as_typed(given.data)
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Idempotency-Key": _quoted(given.key or uuid.uuid4().hex),
    }
    return exchange.send("POST", query, headers, body)


def _stream(given: argparse.Namespace, exchange: Exchange, progress: Progress) -> dict[str, Any]:
    """Publish each event of a stream; return one answer for all of it."""
    key = given.key or uuid.uuid4().hex
    whole: dict[str, Any] = {}
    for batch in batches(chunks(standard_input(), _CHUNK)):
        try:
            answer = _send(given.topic, exchange, batch, key)
        except Failure as error:
            raise _broken(error, batch, key) from error
        whole = _joined(whole, answer)
        progress.add(batch.events, len(batch.body))
    return whole


def _send(topic: str, exchange: Exchange, batch: Batch, key: str) -> dict[str, Any]:
    headers = {
        "Content-Type": "text/event-stream",
        "Idempotency-Key": f"{_quoted(key)};first={batch.first}",
    }
    answer = exchange.send("POST", [("topic", topic)], headers, batch.body)
    if answer.get("count") != batch.events:
        raise Failure(
            f"the server counts {answer.get('count')} events from event {batch.first} on, and there are {batch.events}"
        )
    return answer


def _joined(before: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Make one answer of those before and the next one."""
    ids = [*before.get("ids", []), *answer["ids"]]
    return answer | {
        "ids": ids[:1] + ids[1:][-1:],
        "count": before.get("count", 0) + answer["count"],
    }


def _broken(error: Failure, batch: Batch, key: str) -> Failure:
    """Say where in the input a stream broke, and how to go on."""
    text = str(error)
    if batch.first > 1:
        text += f"; that is from event {batch.first}, byte {batch.offset} of the input on"
        if not isinstance(error, Refused):
            text += f"; {batch.first - 1} events stay published"
    if batch.events and (batch.first > 1 or not isinstance(error, Refused)):
        text += f"; the same input goes on with --key {key}"
    return Failure(text)


def _quoted(key: str) -> str:
    """Write a key as a string of RFC 9651."""
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
