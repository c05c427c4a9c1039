"""``fastsse decode`` and ``fastsse encode``: from an event stream to lines of JSON, and back.

    data: hello            {"id": "", "event": "message", "data": "hello", "retry": null}

The stream that `encode` makes of the lines of `decode` has the events of the first one. Both work through
a pipe that never ends: each event leaves as soon as it is complete.

The module knows stdin and stdout; it must not know HTTP.
"""

from __future__ import annotations

import argparse
import codecs
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

from fastsse import Decoder, EventTooLarge, InvalidField, encode
from fastsse.cli.arguments import positive
from fastsse.cli.following import warn
from fastsse.cli.printing import print_json, printer
from fastsse.cli.terminal import Failure, standard_input
from fastsse.errors import quote

__all__ = ["add_decode_arguments", "add_encode_arguments", "chunks", "encoded", "without_mark"]

MAX_EVENT_SIZE = 64 * 2**20  # bytes of an event, or of a line of JSON, that are held
_CHUNK = 65536  # bytes read at once
_EXITS = "Exits with 0 at the end of the input, 1 where something in it is not allowed; what came before is written."
_KINDS: dict[str, type] = {"data": str, "event": str, "id": str, "retry": int, "comment": str}
_NAMES = ", ".join(_KINDS)


def add_decode_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `decode`, and what runs it."""
    parser.description = (
        "Read an event stream from standard input; print each event as a line of JSON: id, event, data, retry. As in "
        "the standard, bytes that are not UTF-8 become U+FFFD, and an event that no blank line ends is discarded; "
        "stderr tells of the latter."
    )
    parser.epilog = _EXITS
    parser.set_defaults(run=_decode)
    parser.add_argument("--only", metavar="TYPE", action="append", default=[],
        help="print events of this type alone; may be repeated")  # fmt: skip
    parser.add_argument("--max-event-size", metavar="BYTES", type=positive, default=MAX_EVENT_SIZE,
        help="of one event, beyond which the command fails (default: %(default)s)")  # fmt: skip


def add_encode_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `encode`, and what runs it."""
    parser.description = (
        f"Read lines of JSON from standard input, objects with some of {_NAMES}; write each as a block of an event "
        "stream. Empty lines are passed over. A line is at most 64 MiB long."
    )
    parser.epilog = _EXITS + " The number of the line stands in the message."
    parser.set_defaults(run=_encode)


def chunks(source: BinaryIO, size: int = _CHUNK) -> Iterator[bytes]:
    """Read what there is as soon as there is something, `size` bytes at a time at most."""
    read: Callable[[int], bytes] = getattr(source, "read1", source.read)
    while chunk := read(size):
        yield chunk


def _decode(given: argparse.Namespace) -> int:
    decoder = Decoder(max_event_size=given.max_event_size)
    print_event = printer(print_json, given.only)
    count = 0
    for chunk in chunks(standard_input()):
        try:
            events, fault = decoder.feed(chunk), None
        except EventTooLarge as error:
            events, fault = error.events, error
        for event in events:
            print_event(event)
        count += len(events)
        if fault is not None:
            raise Failure(f"event {count + 1} of the input: {fault}") from fault
    if _unfinished(decoder):
        warn(f"no blank line ends event {count + 1} of the input: it is discarded")
    return 0


def _unfinished(decoder: Decoder) -> bool:
    """Return True when an event was begun: two CRs end its line and make the blank line, which would dispatch it."""
    try:
        return bool(decoder.feed(b"\r\r"))
    except EventTooLarge:
        return True


def _encode(given: argparse.Namespace) -> int:  # noqa: ARG001 - there are no options
    for block in encoded(_lines(standard_input())):
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
    return 0


def encoded(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Write the block of each line of JSON.

    Raises:
        Failure: a line is no event; its number is in the message.
    """
    last_id = ""
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = without_mark(line)
        if not line.strip():
            continue
        try:
            block, last_id = _block(_members(line), last_id)
        except (ValueError, TypeError, InvalidField, RecursionError) as error:
            raise Failure(f"line {number}: {error}") from error
        yield block


def without_mark(line: bytes) -> bytes:
    """Return the first line of a text without the byte-order mark with which programs of Windows begin one."""
    return line.removeprefix(codecs.BOM_UTF8)


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Read lines; of one that is too long, a piece, which `_members` refuses."""
    while line := source.readline(MAX_EVENT_SIZE + 1):
        yield line


def _members(line: bytes) -> dict[str, Any]:
    """Read a line of JSON; a member that is null is left out.

    Raises:
        ValueError, TypeError: the line is no object of the known members.
    """
    if len(line) > MAX_EVENT_SIZE:
        raise ValueError(f"must be at most {MAX_EVENT_SIZE} bytes")
    try:
        found: Any = json.loads(line.decode())
    except UnicodeDecodeError:
        raise ValueError("must be UTF-8") from None
    except ValueError as error:
        raise ValueError(f"must be JSON: {error}") from None
    if not isinstance(found, dict):
        raise TypeError(f'must be an object, such as {{"data": "hello"}}, not {quote(found)}')
    members = {
        name: value for name, value in cast("dict[str, Any]", found).items() if value is not None
    }
    for name, value in members.items():
        kind = _KINDS.get(name)
        if kind is None:
            raise ValueError(f"member {quote(name)}: must be one of {_NAMES}")
        if type(value) is not kind:
            word = "a string" if kind is str else "a whole number"
            raise ValueError(f"{name} {quote(value)}: must be {word} or null")
    return members


def _block(members: dict[str, Any], last_id: str) -> tuple[bytes, str]:
    """Write a block, and return the last event ID after it. An empty ID is written where there was another before."""
    id: str = members.get("id", "")
    event = members.get("event", "message")
    block = encode(
        members.get("data"),
        event=None if event == "message" else event,
        id=id if id or ("id" in members and last_id) else None,
        retry=members.get("retry"),
        comment=members.get("comment"),
    )
    return block, id if "id" in members else last_id
