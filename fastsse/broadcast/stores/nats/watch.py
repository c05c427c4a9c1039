"""The messages of a stream, from one sequence on, for as long as a connection lasts.

The consumer is an ephemeral one that nobody acknowledges: JetStream forgets it with the connection, and the store makes
another one at the next sequence. Its messages are counted, so none can be missed or come twice without being noticed.
JetStream says that it is there whenever it has nothing to send; a consumer that is silent is gone.

The module knows consumers and their messages; it must not know entries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from nats.aio.msg import Msg

from fastsse.broadcast.stores.nats.link import Link
from fastsse.broadcast.stores.nats.names import place_of

__all__ = ["NANO", "SILENCE", "Watch"]

NANO = 1_000_000_000
_HEARTBEAT = 2.0  # s of silence after which JetStream says that the consumer is there
SILENCE = 10.0  # s of silence after which the consumer is given up
_COUNT = "Nats-Last-Consumer"
_STALLED = "Nats-Consumer-Stalled"

_log = logging.getLogger("fastsse.broadcast")


class Watch:
    """A consumer of all messages of a stream.

    Args:
        link: the connection.
        stream: the stream's name.
        take: is called for each message with its sequence, in order, each once.

    Attributes:
        link: the connection.
        caught_up: done once everything has been taken that was in the stream when the watch began.
    """

    def __init__(self, link: Link, stream: str, take: Callable[[int, Msg], None]) -> None:
        self.link = link
        self._stream = stream
        self._take = take
        self._count = 0
        self._target = 0
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self.caught_up: asyncio.Future[None] = self._loop.create_future()

    async def begin(self, after: int, target: int) -> None:
        """Begin after a sequence.

        Args:
            target: the newest sequence; everything up to it has to come before the watch is caught up.

        Raises:
            OSError: the consumer cannot be made.
        """
        self._target = target
        subject, _ = await self.link.listen(self._hear)
        config = {
            "deliver_subject": subject,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": after + 1,
            "ack_policy": "none",
            "replay_policy": "instant",
            "flow_control": True,
            "idle_heartbeat": int(_HEARTBEAT * NANO),
            "mem_storage": True,
            "num_replicas": 1,
        }
        body = {"stream_name": self._stream, "config": config}
        made = await self.link.ask(f"CONSUMER.CREATE.{self._stream}", body)
        self._heard = self._loop.time()
        if not made.get("num_pending") and not self._count:
            self._catch_up()

    def check(self) -> None:
        """Check that the consumer lives.

        Raises:
            OSError: it has been silent.
        """
        if self._loop.time() > self._heard + SILENCE:
            raise ConnectionError(f"nothing was heard of the stream for {SILENCE:g} s")

    async def _hear(self, msg: Msg) -> None:
        self._heard = self._loop.time()
        if not self.link.alive:
            return
        place = place_of(msg)
        if place is None:
            await self._hear_control(msg)
            return
        if place.number != self._count + 1:
            self.link.lose("a message of the stream was missed on the way")
            return
        self._count = place.number
        try:
            self._take(place.position, msg)
        except Exception:
            _log.exception("a message of the stream cannot be taken")
            self.link.lose("a message of the stream cannot be taken")
        if not place.pending or place.position >= self._target:
            self._catch_up()

    async def _hear_control(self, msg: Msg) -> None:
        """Answer a request for flow control; compare the count of a heartbeat."""
        headers = msg.headers or {}
        if headers.get("Status") != "100":
            return
        if msg.reply:
            await self.link.tell(msg.reply)
            return
        if stalled := headers.get(_STALLED):
            await self.link.tell(stalled)
        if headers.get(_COUNT, "") not in ("", str(self._count)):
            self.link.lose("messages of the stream were missed on the way")
        else:
            self._catch_up()

    def _catch_up(self) -> None:
        if not self.caught_up.done():
            self.caught_up.set_result(None)
