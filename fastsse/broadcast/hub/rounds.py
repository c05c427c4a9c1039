"""The clock of the streams: heartbeats, lifetimes, slow readers, and a drain that takes its time.

A hub has one timer, whatever the number of its streams. The module knows streams, their limits and the loop's time; it
must not know stores, requests or how a block is sent.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING

from fastsse import encode, encode_comment
from fastsse.broadcast.hub.drafts import EXPIRED
from fastsse.broadcast.hub.fanout import AGES

if TYPE_CHECKING:
    from fastsse.broadcast.hub.fanout import Fanout
    from fastsse.broadcast.hub.subscriber import Subscriber

__all__ = ["Farewell", "Rounds", "expired"]

_PACE = 0.02  # seconds between the steps of a paced drain
_LAST_WORDS = 0.5  # seconds that a blocked stream has at shutdown before it is cut
_BUSY = 1.5  # seconds beyond that for streams that are not blocked, and whose tasks a busy machine delays
_LIFETIME = encode_comment("lifetime")  # a stream's last block when its time is over


class Rounds:
    """The hub's one timer.

    Args:
        fanout: whose streams are looked after.
        shortest_lag: seconds, the least `lag_seconds` of any topic.
    """

    def __init__(self, fanout: Fanout, shortest_lag: float) -> None:
        knobs = fanout.settings
        self._fanout = fanout
        self._loop = fanout.loop
        self._heartbeat = knobs.heartbeat
        self._lifetime = knobs.lifetime
        self._keep_ended = knobs.keep_ended
        times = [t for t in (knobs.heartbeat, knobs.lifetime, shortest_lag) if t]
        # Often enough for the shortest time that is asked for, and once a second at least.
        self._interval = max(0.01, min(1.0, *(t / 8 for t in times)))
        self._ages_due = self._loop.time() if knobs.lifetime else float("inf")
        self.timer = self._loop.call_later(self._interval, self._tick)

    def stop(self) -> None:
        """Look no more."""
        self.timer.cancel()

    def _tick(self) -> None:
        now = self._loop.time()
        self._beat(now)
        for subscriber in tuple(self._fanout.sender.blocked):
            _judge(subscriber, now)
        if not self._fanout.sender.blocked:
            self._fanout.sender.cuts.clear()
        self._end_old(now)
        if self._keep_ended:
            self._fanout.expire(now - self._keep_ended)
        self.timer = self._loop.call_later(self._interval, self._tick)

    def _beat(self, now: float) -> None:
        """Give a heartbeat to each audience that will have been quiet for long enough by the middle of this tick."""
        if not self._heartbeat:
            return
        quiet = self._heartbeat - self._interval / 2
        for audience in self._fanout.audiences:
            if now - audience.quiet_since >= quiet:
                self._fanout.delivery.beat(audience)

    def _end_old(self, now: float) -> None:
        """End the streams whose time is over."""
        for subscriber, until in tuple(self._fanout.expiring.items()):
            if now >= until:
                self._fanout.finish(subscriber, "expired", expired("expired"))
        if now < self._ages_due:
            return
        self._ages_due = now + self._lifetime / AGES
        for subscriber in self._fanout.audiences.members():
            if now >= subscriber.deadline:
                self._fanout.delivery.end(subscriber, "lifetime", _LIFETIME)


def expired(reason: str) -> bytes:
    """Write the last block of a stream whose reader may read no longer; it leaves the last event ID as it is."""
    return encode(json.dumps({"reason": reason}, separators=(",", ":")), event=EXPIRED)


def _judge(subscriber: Subscriber, now: float) -> None:
    """End or skip a blocked subscriber that is over a limit.

    A skip makes up for events and bytes, not for time: a stream that stays blocked is judged by that again.
    """
    since = subscriber.blocked_since
    limits = subscriber.audience.limits
    blocked = since is not None and now - since > limits.lag_seconds
    late = subscriber.lag_events > limits.lag_events or subscriber.lag_bytes > limits.lag_bytes
    if not (blocked or late):
        return
    if limits.slow_policy == "end" or subscriber.ending:
        subscriber.end("slow")
    else:
        subscriber.skip_later()


class Farewell:
    """The end of all streams of a hub, over `Settings.drain` seconds.

    The last blocks spread the readers' return: each names another reconnection time, one to two times the usual.
    """

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout
        self._leaving = fanout.audiences.members()
        random.shuffle(self._leaving)
        steps = max(1, round(fanout.settings.drain / _PACE))
        self._count = -(-len(self._leaving) // steps)

    def step(self) -> None:
        """End the next streams: all of them, unless the drain is to take its time."""
        retry = self._fanout.settings.retry
        for subscriber in self._leaving[: self._count]:
            later = retry + random.randrange(retry + 1)
            last_words = encode(None, comment="shutdown", retry=later)
            self._fanout.finish(subscriber, "shutdown", last_words)
        del self._leaving[: self._count]

    async def run(self) -> None:
        """End the streams that are left, and wait until no stream is open."""
        while self._leaving:
            await asyncio.sleep(_PACE)
            self.step()
        await self._see_off()

    async def _see_off(self) -> None:
        """Wait until no stream is left. Blocked ones are cut, and in the end whatever is left.

        The clock runs for the blocked ones only: a stream whose task has merely not had its turn yet is not cut for
        that.
        """
        fanout = self._fanout
        await fanout.until(self._nobody, _LAST_WORDS)
        end = fanout.loop.time() + _BUSY
        while fanout.open_streams and (now := fanout.loop.time()) < end:
            for subscriber in tuple(fanout.sender.blocked):
                since = subscriber.blocked_since
                if since is not None and now - since >= 0.9 * _LAST_WORDS:
                    subscriber.end("shutdown")
            await fanout.until(self._nobody, _LAST_WORDS / 10)
        for subscriber in fanout.audiences.members():
            subscriber.end("shutdown")
        await fanout.until(self._nobody, _LAST_WORDS)
        for subscriber in fanout.audiences.members():
            fanout.dismiss(subscriber)  # its task hangs in the server, or in a middleware

    def _nobody(self) -> bool:
        return not self._fanout.open_streams
