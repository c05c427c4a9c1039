"""Subjects, streams and messages: what everything of one log is called in NATS, and how a topic becomes a subject.

The module knows texts; it must not know connections.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from hashlib import blake2b
from typing import Any, NamedTuple, Self
from urllib.parse import quote, unquote

from nats.aio.msg import Msg

__all__ = ["ID", "Name", "Names", "Place", "place_of", "topic_of"]

ID = "Nats-Msg-Id"  # the header by which JetStream knows a message that it has already
_PLAIN = "/:@!&+,;=()'"  # left as they are, besides letters, digits and _-~
_LONGEST = 512  # characters of an escaped topic; a line of the protocol has 4096 bytes
_EPOCH = re.compile(r"[0-9A-Za-z_.]{1,64}", re.ASCII)


class Names:
    """The names of one log.

    Args:
        namespace: 1 to 32 of the characters ``0-9 A-Z a-z _ -``.

    Attributes:
        stream: the stream of events.
        ledger: the stream that holds the log's name.
        subjects: the subjects of events and marks.
        page: the subject of the log's name.
        many: the subject of events with several topics.
        mark: the subject of the messages at which the log's name changed.
    """

    def __init__(self, namespace: str) -> None:
        self._one = f"{namespace}.one."
        self.stream = namespace
        self.ledger = f"{namespace}_epoch"
        self.page = f"{namespace}.epoch"
        self.many = f"{namespace}.many"
        self.mark = f"{namespace}.mark"
        self.subjects = [f"{self._one}*", self.many, self.mark]

    def subject(self, topics: tuple[str, ...]) -> str:
        """Return the subject of an event: that of its topic, otherwise `many`."""
        [first, *others] = topics
        return self.many if others else self.subject_of(first)

    def subject_of(self, topic: str) -> str:
        """Return the subject of a topic: percent-encoded, and a very long one by a digest."""
        token = quote(topic, safe=_PLAIN).replace(".", "%2E")
        if len(token) > _LONGEST:
            token = f"%~{blake2b(topic.encode(), digest_size=20).hexdigest()}"
        return self._one + token


def topic_of(token: str) -> str | None:
    """Return the topic of the last part of a subject; None where a digest stands for it."""
    return None if token.startswith("%~") else unquote(token)


class Name(NamedTuple):
    """The name of a log's numbering, as it is written down for all processes.

    Attributes:
        epoch: the name.
        generation: how many names the log has had; a smaller one is older.
        created: when the stream of events was made, which tells it from another stream of the same name.
        start: the sequence after which the events belong to this numbering alone.
    """

    epoch: str
    generation: int
    created: str
    start: int

    @classmethod
    def after(cls, generation: int, created: str, start: int) -> Self:
        """Make a new name, which begins with the time, so that epochs sort by eye."""
        return cls(f"{int(time.time()):x}{secrets.token_hex(4)}", generation + 1, created, start)

    def write(self) -> bytes:
        """Write the name as JSON."""
        return json.dumps(self._asdict()).encode()

    @classmethod
    def read(cls, text: bytes) -> Self:
        """Read what `write` has written.

        Raises:
            ValueError: that is no name.
        """
        found: Any = json.loads(text)
        try:
            epoch, created = str(found["epoch"]), str(found["created"])
            name = cls(epoch, int(found["generation"]), created, int(found["start"]))
        except (KeyError, IndexError, TypeError, OverflowError) as error:
            raise ValueError("no name of a log") from error
        if (
            _EPOCH.fullmatch(name.epoch) is None
            or not 0 < name.generation < 2**31
            or name.start < 0
        ):
            raise ValueError("no name of a log")
        return name


class Place(NamedTuple):
    """Where a message that a consumer has sent stands.

    Attributes:
        position: its sequence in the stream.
        number: its number among the messages of the consumer.
        pending: how many more there are for the consumer.
    """

    position: int
    number: int
    pending: int


def place_of(msg: Msg) -> Place | None:
    """Read a message's place from the subject that would acknowledge it; None for messages that are not of a stream.

    The subject is ``$JS.ACK.<stream>.<consumer>.<times>.<sequence>.<count>.<time>.<pending>``. Newer servers may have
    domain and account before the stream, and more after the rest.
    """
    if not msg.reply.startswith("$JS.ACK."):
        return None
    parts = msg.reply.split(".")
    at = 5 if len(parts) == 9 else 7
    return Place(int(parts[at]), int(parts[at + 1]), int(parts[at + 3]))
