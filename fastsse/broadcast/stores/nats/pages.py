"""Pages of the past: the messages of some topics, sent by consumers that are made for one page.

A server before 2.10 filters by one subject. There a page of a few topics has a consumer for each of them, and one for
the events with several topics; this module puts their messages in order. With more topics one consumer sends
everything, and what is of other topics is passed over here.

The module knows consumers and entries; it must not know where the log stands.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from nats.aio.msg import Msg

from fastsse.broadcast.stores import Entry
from fastsse.broadcast.stores._entries import Unreadable, read_entry
from fastsse.broadcast.stores.nats.link import ANSWERS, Link
from fastsse.broadcast.stores.nats.names import Names, place_of
from fastsse.broadcast.stores.nats.watch import NANO

__all__ = ["Part", "pull", "read_part", "read_parts"]

_MESSAGES = 1000  # that one page takes from one consumer, at most
_BYTES = 2**16  # that they may take at least, with their subjects and headers
_CONSUMERS = 4  # for one page, on a server whose consumers have one filter


class Part(NamedTuple):
    """The entries that a page has found.

    Attributes:
        entries: the entries in order.
        end: the sequence up to which they are complete; None: all that there was.
    """

    entries: list[Entry]
    end: int | None


async def read_parts(
    link: Link,
    names: Names,
    topics: Sequence[str],
    after: int,
    limit: int,
    skip: Callable[[object], None],
) -> Part:
    """Read entries that have one of some topics.

    Args:
        after: the sequence after which the page begins.
        limit: bytes of blocks that are wanted, about.
        skip: is told of a message that cannot be read.

    Raises:
        OSError: the stream cannot be read now.
    """
    subjects = sorted({names.subject_of(topic) for topic in topics} | {names.many})
    wanted: list[list[str]] = [subjects]
    if not link.newer:
        wanted = [[one] for one in subjects] if len(subjects) <= _CONSUMERS else [[]]
    parts = await asyncio.gather(
        *(read_part(link, names, filters, after, limit, skip) for filters in wanted)
    )
    ends = [part.end for part in parts if part.end is not None]
    end = min(ends, default=None)
    found = sorted((e for part in parts for e in part.entries), key=lambda entry: entry.position)
    asked = frozenset(topics)
    return Part(
        [
            entry
            for entry in found
            if (end is None or entry.position <= end) and not asked.isdisjoint(entry.topics)
        ],
        end,
    )


async def read_part(
    link: Link,
    names: Names,
    filters: Sequence[str],
    after: int,
    limit: int,
    skip: Callable[[object], None],
) -> Part:
    """Read what one consumer sends.

    Args:
        filters: the subjects; all of the stream when there are none.

    Raises:
        OSError: the stream cannot be read now.
    """
    config: dict[str, Any] = {
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": after + 1,
        "ack_policy": "none",
        "replay_policy": "instant",
        "inactive_threshold": 10 * NANO,
        "mem_storage": True,
        "num_replicas": 1,
    }
    if len(filters) == 1:
        config["filter_subject"] = filters[0]
    elif filters:
        config["filter_subjects"] = list(filters)
    body = {"stream_name": names.stream, "config": config}
    made = await link.ask(f"CONSUMER.CREATE.{names.stream}", body)
    consumer = f"{names.stream}.{made['name']}"
    messages: list[Msg] = []
    exhausted = not made.get("num_pending")
    try:
        if not exhausted:
            messages, exhausted = await pull(link, consumer, _MESSAGES, max(_BYTES, 2 * limit))
        if not messages and not exhausted:  # the first one is larger than all that
            messages, exhausted = await pull(link, consumer, 1, 0)
    finally:
        if link.alive:
            await link.request(f"CONSUMER.DELETE.{consumer}", b"", "")
    entries = [entry for msg in messages if (entry := _entry(msg, names, skip)) is not None]
    place = place_of(messages[-1]) if messages else None
    return Part(entries, None if exhausted or place is None else place.position)


async def pull(link: Link, consumer: str, count: int, size: int) -> tuple[list[Msg], bool]:
    """Take messages that a consumer has: so many and so many bytes at most, and whether there are no more.

    Raises:
        OSError: they did not come.
    """
    messages: list[Msg] = []
    status = ""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def take(msg: Msg) -> None:
        nonlocal status
        place = place_of(msg)
        if place is not None:
            messages.append(msg)
        elif msg.headers:
            status = f"{msg.headers.get('Status')} {msg.headers.get('Description', '')}"
        if (status or len(messages) == count) and not done.done():
            done.set_result(None)

    subject, end = await link.listen(take)
    try:
        wish: dict[str, Any] = {"batch": count, "no_wait": True}
        if size:
            wish["max_bytes"] = size
        await link.request(f"CONSUMER.MSG.NEXT.{consumer}", json.dumps(wish).encode(), subject)
        if not await link.until(done):
            raise TimeoutError(f"the stream could not be read within {ANSWERS:g} s")
    finally:
        await end()
    if messages or "MaxBytes" in status or status[:3] in ("404", "408"):
        return messages, status[:3] in ("404", "408")
    raise ConnectionError(f"the stream cannot be read now: {status}")


def _entry(msg: Msg, names: Names, skip: Callable[[object], None]) -> Entry | None:
    """Decode a message; None for a mark, and for one that cannot be read."""
    if msg.subject == names.mark:
        return None
    place = place_of(msg)
    try:
        topics, block = read_entry(msg.data)
    except Unreadable as error:
        skip(error)
        return None
    return None if place is None else Entry(place.position, topics, block)
