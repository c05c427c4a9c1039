"""A hub on an event loop without a clock of its own, with connections that a test can block at any message.

`World` does one thing at a time: it publishes, lets a reader join, blocks it, lets time pass. After each it runs the
loop until nothing is left to do, and holds what every reader was sent against the naive model of `support.model`.
Nothing sleeps: time moves only in `pass_time`, so one run does the same as the next.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from support.engine import ArchivedEngine, Engine
from support.ledger import Block, Disagreement, Event, Log
from support.model import Follower
from support.readers import Consumer, Loop, Reader

from fastsse.broadcast import Hub, Settings, TopicEnded
from fastsse.broadcast.hub import pace
from fastsse.broadcast.stores import Log as StoredLog
from fastsse.broadcast.stores.memory import MemoryStore

__all__ = ["Config", "World"]

RETRY = 2000
_TICK = 1.01  # s, a little more than the hub's timer takes between two looks


class Config(NamedTuple):
    """The settings of a world.

    Attributes:
        kept: events that the history keeps of each topic, by its name.
        steps: the pump may call `send`; otherwise each connection's own task does.
        awaits: `send` returns a future; otherwise a coroutine.
        scripted: the log lives in a store that does on command what engines do; otherwise in memory.
        archived: ... and can be read from any place.
        stride: how far apart that store's positions are.
        policy, lag_events, lag_seconds, heartbeat, coalesce: as in `Settings`.
    """

    kept: dict[str, int]
    steps: bool = True
    awaits: bool = False
    policy: str = "end"
    lag_events: int = 1000
    lag_seconds: float = 30.0
    heartbeat: float = 0.0
    coalesce: float = 0.0  # s
    scripted: bool = False
    archived: bool = False
    stride: int = 1

    @property
    def opening(self) -> Block:
        """The first block of every stream, but for its id."""
        every = f" heartbeat={self.heartbeat:g}" if self.heartbeat else ""
        return Block(retry=str(RETRY), comment=f"fastsse{every}")

    def settings(self) -> Settings:
        topics = {name: {"history_events": count} for name, count in self.kept.items()}
        return Settings(
            heartbeat=self.heartbeat,
            lifetime=0,
            retry=RETRY,
            history_bytes=2**30,
            history_total=2**34,
            lag_events=self.lag_events,
            lag_bytes=2**40,
            lag_seconds=self.lag_seconds,
            keep_ended=0,
            slow_policy=self.policy,
            coalesce=self.coalesce,
            topics=topics,
        )


class _Memory(MemoryStore):
    """A store in memory whose epochs are counted: an example does the same when it is run again."""

    openings = 0

    async def open(self) -> StoredLog:
        await super().open()
        self.openings += 1
        return StoredLog(f"memory{self.openings}")


class World:
    """A hub, its readers and the model.

    Attributes:
        ids: every id that a reader was sent or that could have been: what readers come back with.
        published: topics, data and id of each event that may be published again, by its key.
        steps: how many things were done.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.loop = Loop()
        self._clock, pace.clock = pace.clock, self.loop.time  # no work takes time here
        kept = config.kept.__getitem__
        kind = ArchivedEngine if config.archived else Engine
        self.engine = kind(kept, config.stride) if config.scripted or config.archived else None
        self.hub = Hub(config.settings(), self.engine or _Memory(), step_sends=config.steps)
        self.readers: list[Reader] = []
        self.epochs: list[str] = []
        self.steps = 0
        self._gathers = bool(config.coalesce)  # what is published waits for the time to pass
        self._number = 0
        self.ending: dict[str, int] = {}  # positions of ends that the hub has not been told of
        self.published: dict[str, tuple[Sequence[str], str, str]] = {}
        self.loop.finish(self.hub.start())
        self._begin_log()

    def _begin_log(self) -> None:
        if self.engine is not None:
            self.engine.reopened()
            self.log = self.engine.known
        else:
            self.log = Log(str(self.hub.health()["epoch"]), self.config.kept.__getitem__)
        if self.log.epoch not in self.epochs:
            self.epochs.append(self.log.epoch)
            self.published.clear()
        self._told_of = self.log, len(self.log.losses)

    def close(self) -> None:
        """Stop the hub, and leave nothing behind, also after a disagreement."""
        try:
            self.loop.finish(self.hub.stop())
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.settle()
            self.loop.close()
            pace.clock = self._clock

    # Do.

    def publish(self, batch: Sequence[tuple[Sequence[str], int]], end: str | None = None) -> None:
        """Publish events in one turn of the loop, each with its topics and the size of its data; then end a topic."""
        asks = any(not self._closed(topics) for topics, _ in batch)
        asks |= end is not None and not self._closed([end])
        task = self.loop.create_task(self._publish(batch, end))
        self._settle()
        if self.engine is not None and self.engine.away and asks:
            _agree("a publish while the engine is away", OSError, type(task.exception()))
        else:
            task.result()

    def publish_again(self, key: str) -> None:
        """Publish an event once more with the key that it had: nobody gets anything."""
        topics, data, id = self.published[key]
        task = self.loop.create_task(self.hub.publish(topics, data, key=key))
        self._settle()
        if self._closed(topics):
            _agree("an event of an ended topic published again", TopicEnded, type(task.exception()))
            return
        _agree("the id of an event published again", id, task.result().id)

    def command(self, verb: str, *given: Any) -> None:
        """Let the engine do something, in the loop, by the name of one of its methods."""

        async def do() -> None:
            getattr(self.engine, verb)(*given)

        if verb == "renew_up_to":
            self.published.clear()
            if self.config.archived:  # pages would be read of a log that the hub does not know yet
                self.command("release")
        task = self.loop.create_task(do())
        self._settle()
        task.result()

    def publish_elsewhere(self, topics: Sequence[str]) -> None:
        """Let another process publish to the same log."""
        self._number += 1
        self.command("add_from_elsewhere", topics, str(self._number))

    def end_elsewhere(self, topic: str) -> None:
        """Let another process end a topic of the same log."""
        if self._has_end(topic):
            return
        self.command("end_from_elsewhere", topic)

    def _has_end(self, topic: str) -> bool:
        """Return True when one more end would stand twice in an archive, where only some of its readers can know."""
        archived = self.engine is not None and self.config.archived
        return archived and self.engine.has_ended(topic)  # type: ignore[union-attr]

    def _closed(self, topics: Sequence[str]) -> bool:
        """Return True when one of these topics has ended, or its end is on its way."""
        return any(topic in self.ending or self.log.over([topic]) for topic in topics)

    async def _publish(
        self, batch: Sequence[tuple[Sequence[str], int]], end: str | None = None
    ) -> None:
        for topics, size in batch:
            if self._closed(topics):
                try:
                    await self.hub.publish(topics, "late")
                except TopicEnded:
                    continue
                raise Disagreement(f"an event was published to {topics}, one of which has ended")
            self.hub._fanout.burst = 0  # type: ignore[union-attr] # a batch is one turn of the loop, whatever its size
            self._number += 1
            data = f"{self._number}" if not size else f"{self._number} ".ljust(size, "x")
            following = sum(bool(set(topics) & {*r.follower.topics}) for r in self.readers)
            receipt = await self.hub.publish(topics, data, key=data[:9])
            epoch, _, position = receipt.id.rpartition("-")
            _agree("a receipt's readers", following, receipt.subscribers)
            if self.engine is not None and self.engine.epoch != self.engine.known.epoch:
                continue  # the hub has not been told of the new log, so it takes the position for one of the old
            self.published[data[:9]] = (topics, data, receipt.id)
            _agree("a receipt's epoch", self.log.epoch, epoch)
            if self.engine is None:
                self.log.append(Event(int(position), tuple(sorted(set(topics))), data))
        if end is not None and (self._closed([end]) or not self._has_end(end)):
            await self._end(end)

    async def _end(self, topic: str) -> None:
        known = self.log.over([topic])
        receipt = await self.hub.end(topic)
        if known:
            _agree("the receipt of an end that is known", self.log.id(known), receipt.id)
            return
        position = int(receipt.id.rpartition("-")[2])
        if topic in self.ending:
            if self.ending[topic] < 2**62:
                _agree("the receipt of an end on its way", self.ending[topic], position)
        elif self.engine is None:
            data = json.dumps({"topic": topic, "reason": "finished"}, separators=(",", ":"))
            self.log.append(Event(position, (topic,), data, end=True))
        elif self.engine.epoch != self.engine.known.epoch or position > self.log.head:
            renewed = self.engine.epoch != self.engine.known.epoch
            # A position of a log that is not known yet.
            self.ending[topic] = 2**62 if renewed else position

    def _note_reports(self) -> None:
        """Forget the ends on their way that were reported, and all of them when the hub was told of a loss."""
        log, losses = self._told_of
        if log is not self.log or losses != len(self.log.losses):
            self.ending.clear()
            self._told_of = self.log, len(self.log.losses)
        self.ending = {t: p for t, p in self.ending.items() if p > self.log.head}

    def join(
        self,
        topics: Sequence[str],
        last: str | None,
        room: int | None = None,
        *,
        labels: bool = False,
        accepts: Callable[[str], bool] | None = None,
    ) -> None:
        """Let a connection follow topics."""
        follower = self._follower(topics, last, labels=labels, accepts=accepts)
        follower.pumped = self.config.steps
        over = follower.nothing_left(last)
        reader = Reader(self.loop, follower, None if over else room)
        send = reader.send_future if self.config.awaits else reader.send_coroutine
        stream = self.hub.stream(
            reader.receive,
            send,  # type: ignore[arg-type]
            topics,
            last_event_id=last,
            labels=labels,
            filter=_filter(accepts),
        )
        reader.task = self.loop.create_task(stream)
        if over:
            self._settle()
            _agree("the answer when nothing is left", (204, True), (reader.status, reader.final))
            reader.task.result()
        else:
            self._admit(reader)

    def subscribe(
        self,
        topics: Sequence[str],
        last: str | None,
        room: int | None = None,
        *,
        accepts: Callable[[str], bool] | None = None,
    ) -> None:
        """Let code of this process follow topics."""
        follower = self._follower(topics, last, accepts=accepts)
        follower.pumped, follower.consumer = False, True
        follower.rest = [step for step in follower.rest if step.block.data is not None]
        reader = Consumer(self.loop, follower, room)

        async def consume() -> None:
            async with self.hub.subscribe(
                topics, last_event_id=last, filter=_filter(accepts)
            ) as subscription:
                await reader.run(subscription)

        reader.task = self.loop.create_task(consume())
        self._admit(reader)

    def _follower(
        self,
        topics: Sequence[str],
        last: str | None,
        *,
        labels: bool = False,
        accepts: Callable[[str], bool] | None = None,
    ) -> Follower:
        follower = Follower(
            self.log,
            tuple(sorted(set(topics))),
            labels=labels,
            accepts=accepts,
            policy=self.config.policy,
        )
        follower.rest = follower.open(last, self.config.opening)
        return follower

    def _admit(self, reader: Reader) -> None:
        self.readers.append(reader)
        self._settle()

    def leave(self, reader: Reader) -> None:
        """Close a connection, or stop a consumer."""
        self.readers.remove(reader)
        if isinstance(reader, Consumer):
            reader.task.cancel()
        reader.leave()
        self._settle()
        if not reader.task.done():
            raise Disagreement("a stream goes on whose reader has left")

    def break_off(self, reader: Reader) -> None:
        """Break a connection without a word: only `send` says so."""
        reader.break_off()
        self._settle()

    def block(self, reader: Reader, room: int) -> None:
        """Let a reader take `room` more messages and then none."""
        if not reader.blocked:
            reader.room = room
        self._settle()

    def release(self, reader: Reader, room: int | None) -> None:
        """Let a reader take what is pending, and `room` messages more; any number when None."""
        reader.release(room)
        self._settle()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, at least until the hub's timer has looked once."""
        before = self._blocked()
        self._gathers = False
        self.loop.now += max(seconds, _TICK)
        slow = {reader: self._slow(reader) for reader in self.readers}
        if self.config.coalesce:
            slow |= {reader: None for reader in self.readers if self._may_be_late(reader)}
        self.loop.settle()
        self._punish(slow)
        self._settle(before)
        if self.config.policy != "end":  # a message that it has taken before may have let it forget
            self._punish({r: None for r, is_slow in slow.items() if is_slow is None and r.blocked})
        self._gathers = bool(self.config.coalesce)

    def _may_be_late(self, reader: Reader) -> bool:
        """Return True when all that waits for the timer may be too much for a reader, in the turn in which it is sent.

        A reader that is not blocked may be over its limits for the moment that it takes to send that to it.
        """
        if reader.blocked or reader.follower.consumer:
            return False
        return reader.follower.lag()[1] > self.config.lag_events

    def restart(self, hurry: Sequence[Reader] = ()) -> None:
        """Drain the hub and start it anew: every stream ends.

        Args:
            hurry: blocked readers that take everything as soon as they are asked to go; the other ones are cut.
        """
        cut = self._blocked() - {*hurry}
        self.hub.drain()
        self.loop.settle()
        for reader in hurry:
            reader.release(None)
        self.loop.settle()
        self.loop.finish(self.hub.stop())
        self._bury()
        for reader in self.readers:
            self._see_off(reader, cut=reader in cut)
        self.readers.clear()
        self.ending.clear()
        self.loop.finish(self.hub.start())
        self._begin_log()
        self._settle()

    def _see_off(self, reader: Reader, *, cut: bool) -> None:
        """Check how a stream ends: a consumer takes all that was published before, a connection one join of it."""
        if isinstance(reader, Consumer):
            reader.release(None)
            self.loop.settle()
            reader.follower.ended = True
            self._judge(reader, stands=False)
        if not reader.task.done():
            raise Disagreement("a stream goes on after the hub was stopped")
        reader.task.result()
        if isinstance(reader, Consumer):
            return
        blocks, torn = reader.collect()
        over = self.log.over(reader.follower.topics) > 0  # its last message may be that of its end
        if (cut or reader.room is None) and not over:
            _agree("the end of a stream that reads", not cut, reader.final)
        if reader.final:
            if not over or (blocks and blocks[-1].comment == "shutdown"):
                _agree("the last words", "shutdown", blocks.pop().comment)
            _agree("a torn block", False, torn)
        if not cut:
            self._judge_rest(reader.follower, blocks, torn)

    def _judge_rest(self, follower: Follower, blocks: list[Block], torn: bool) -> None:
        plans = follower.plans(blocks)
        late = self.config.archived  # no page is read for a stream that is to end
        if not blocks and not torn and not late and all(any(plan) for plan in plans):
            raise Disagreement("a stream was ended without what was published before")
        follower.judge(plans, blocks, torn, blocked=True)

    # Judge.

    def _slow(self, reader: Reader) -> bool | None:
        """Tell whether a reader is over its limits; None when that cannot be known from outside."""
        if reader.blocked_since is None or reader.follower.consumer:
            return False
        if self.loop.now - reader.blocked_since > self.config.lag_seconds:
            return True
        follower = reader.follower
        if follower.opening:
            return False
        least, most = follower.lag()
        if follower.blurred:
            return None
        if least > self.config.lag_events:
            return True
        return None if most > self.config.lag_events else False

    def _punish(self, slow: dict[Reader, bool | None]) -> None:
        """Expect of the hub what the policy says for each reader that is, or may be, over its limits."""
        for reader, is_slow in slow.items():
            if is_slow is False:
                continue
            if self.config.policy != "end":
                reader.follower.skip = reader.follower.skip or is_slow
            elif reader.task.done():
                reader.task.result()
                self.readers.remove(reader)
            elif is_slow:
                raise Disagreement("a reader over its limits is not ended")

    def _blocked(self) -> set[Reader]:
        return {reader for reader in self.readers if reader.blocked}

    def _settle(self, stand: set[Reader] | None = None) -> None:
        """Run the loop until it is quiet, and judge all readers; those that `stand` were blocked all the time."""
        self.steps += 1
        stand = self._blocked() if stand is None else stand
        self.loop.settle()
        self._bury()
        self._follow_engine()
        self._note_reports()
        for reader in self.readers:
            self._judge(reader, reader in stand)
            if reader.task.done():
                reader.task.result()
                self._check_end(reader)
            elif self._is_over(reader):
                raise Disagreement("a stream goes on after all of its topics have ended")
        self.readers = [reader for reader in self.readers if not reader.task.done()]
        self._check_hub()

    def _is_over(self, reader: Reader) -> bool:
        """Return True when all topics of a stream have ended, and it has everything."""
        if reader.blocked or (self._gathers and reader.follower.live):
            return False
        return self.log.over(reader.follower.topics) > 0

    def _check_end(self, reader: Reader) -> None:
        """Check that a stream that has ended by itself has ended with its topics."""
        if not self.log.over(reader.follower.topics):
            raise Disagreement("a stream has ended by itself")
        if not isinstance(reader, Consumer):
            _agree("the end of the body", True, reader.final)

    def _follow_engine(self) -> None:
        """Go over to the log that the hub was told of."""
        if self.engine is None or self.engine.known is self.log:
            return
        self.log = self.engine.known
        self.epochs.append(self.log.epoch)
        for reader in self.readers:
            reader.follower.renewed(self.log)

    def _bury(self) -> None:
        """Take out the readers whose `send` has failed: their streams are over."""
        for reader in [reader for reader in self.readers if reader.broken]:
            if not reader.task.done():
                raise Disagreement("a stream goes on after its send has failed")
            reader.task.result()
            self.readers.remove(reader)

    def _judge(self, reader: Reader, stands: bool) -> None:
        """Hold what a reader was sent against the model; who `stands` was blocked all the time."""
        torn_before = reader.torn
        blocks, reader.torn = reader.collect()
        follower = reader.follower
        if stands:
            if blocks or reader.torn != torn_before:
                raise Disagreement(f"a blocked reader was sent {blocks}")
            return
        if self._gathers and follower.live and not (blocks or reader.torn or reader.blocked):
            return
        follower.judge(follower.plans(blocks), blocks, reader.torn, reader.blocked)

    def _check_hub(self) -> None:
        _agree("the number of streams", len(self.readers), self.hub.open_streams)
        _agree("the head", self.log.head, self.hub.health()["head"])


def _filter(accepts: Callable[[str], bool] | None) -> Any:
    if accepts is None:
        return None
    return lambda event, _: accepts(event.data)


def _agree(what: str, expected: object, actual: object) -> None:
    if expected != actual:
        raise Disagreement(f"{what}: the model has {expected!r}, the hub {actual!r}")
