"""Runs: items that are published to a topic of their own, whoever follows it, until the topic ends.

    hub.run ──► one task: items ──► blocks ──► the log, as any other event ──► readers, who come and go
                  └── finished, failed, cancelled, timeout, size, shutdown ──► the end of the topic

A run belongs to nobody's request. The request that began it may be cancelled, and its reader may come back, or many may
follow. One task iterates the items from beginning to end, closing included, in a copy of the context of the call.

Bounds (see `Settings`): `max_runs` at a time, `run_seconds` and `run_bytes` for each.

The module knows items, blocks and reasons; it must not know stores, streams or settings.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    MappingView,
    Sequence,
    Set,
)
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from fastsse import Block, InvalidField, decode, in_thread
from fastsse._items import aclose, as_async
from fastsse.broadcast.hub.drafts import TopicEnded, write_block
from fastsse.broadcast.hub.past import RECORD, SLOT
from fastsse.broadcast.stores import Draft
from fastsse.errors import FastSSEError

if TYPE_CHECKING:
    from collections import Counter

    from fastsse._items import Items, Write

__all__ = ["REASONS", "Job", "Jobs", "Paper", "Plan", "TooManyRuns"]

REASONS = ("finished", "failed", "cancelled", "timeout", "size", "shutdown")
"""The reasons of an end that its event may name."""

_PATIENCE = (
    5.0  # s that items which are told to stop have to be closed before the end is told without them
)
_HURRY = 1.0  # s, when the hub stops
_FIRST_WAIT = (
    0.1  # s between attempts to write an end while the store cannot be written; doubled each time
)
_LAST_WAIT = 5.0
_ATTEMPTS = 20  # of an end: about 80 s

_log = logging.getLogger("fastsse.broadcast")


class TooManyRuns(FastSSEError, RuntimeError):
    """As many runs go on as `Settings.max_runs` allows; this one has not begun."""


class Paper(NamedTuple):
    """The part of a hub that a job writes on.

    Attributes:
        append: publishes a draft. Raises `TopicEnded` where somebody else has ended the topic.
        end: ends a topic for a reason, unless it has ended. Raises `OSError` while the store cannot be written.
    """

    append: Callable[[Draft], Awaitable[object]]
    end: Callable[[str, str], Awaitable[object]]


class Plan(NamedTuple):
    """The work of one run, and its bounds.

    Attributes:
        topic: where the items are published.
        write: makes an item's block.
        seconds: the time after which the items are cancelled; None for no such time.
        most: bytes that the events may take in the history, measured after the item that passes them.
        most_data: bytes that the data of one event may have.
    """

    topic: str
    write: Write
    seconds: float | None
    most: int
    most_data: int


class Job:
    """One run at work.

    Args:
        paper: where events and the end are written.
        plan: what is to be done.
        items: what is iterated, and closed in the end.

    Attributes:
        topic: the topic.
        reason: why it ends or has ended, one of `REASONS`; empty while it goes on.
        size: bytes that its events take in the history.
        task: iterates the items, and closes them.
        over: done when the end is told, which does not wait for ever until the items are closed.
    """

    def __init__(self, paper: Paper, plan: Plan, items: Items) -> None:
        self.topic = plan.topic
        self.reason = ""
        self.size = 0
        self._paper = paper
        self._plan = plan
        self._loop = loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = loop.create_future()
        self._iterating = False
        self._ending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if plan.seconds:
            self._timer = loop.call_later(plan.seconds, self.stop, "timeout")
        self.task = loop.create_task(self._run(items))

    def stop(self, reason: str) -> None:
        """Cancel the items where they are, once; the topic then ends for this reason."""
        if self.reason:
            return
        self.reason = reason
        if self._timer is not None:
            self._timer.cancel()
        patience = _HURRY if reason == "shutdown" else _PATIENCE
        self._timer = self._loop.call_later(patience, self._end)
        if self._iterating:  # otherwise the task sees it when it begins
            self.task.cancel()

    def _end(self) -> None:
        """Tell the end, in a task that no cancellation of the items reaches."""
        if self._timer is not None:
            self._timer.cancel()
        if self._ending is None:
            self._ending = self._loop.create_task(self._tell_end())

    async def _run(self, items: Items) -> None:
        reason = "failed"
        try:
            reason = await self._iterate(items)
        except (asyncio.CancelledError, TopicEnded):  # somebody else may have ended the topic
            reason = "cancelled"
        except Exception:
            _log.exception("a run has failed: topic %s", ascii(self.topic))
        finally:
            self.reason = self.reason or reason
            self._end()

    async def _iterate(self, items: Items) -> str:
        source = _iterator(items)
        try:
            if self.reason:
                return self.reason
            self._iterating = True
            async for item in source:
                if self.reason:  # the items have swallowed the cancellation
                    return self.reason
                for block in self._blocks(item):
                    await self._paper.append(Draft((self.topic,), block))
                    self.size += len(block) + RECORD + SLOT
                if self.size > self._plan.most:
                    return "size"
            return "finished"
        finally:
            self._iterating = False
            await aclose(source)

    def _blocks(self, item: Any) -> list[bytes]:
        """Write an item's events as the hub publishes them: ids are the hub's, and comments are nobody's.

        Raises:
            InvalidField: an event cannot be published, or a Block is not whole.
        """
        plan = self._plan
        block = plan.write(item)
        if not isinstance(item, Block):
            # As the codec writes an event that has nothing but data, and not too much of it.
            if block.startswith(b"data: ") and len(block) <= plan.most_data:
                return [block]
        elif len(decode(block + b"\n\n")) > len(decode(block)):
            raise InvalidField("data", bytes(block), "of a Block must end with a blank line")
        return [
            write_block(
                event.data,
                None if event.event == "message" else event.event,
                event.retry,
                plan.most_data,
            )
            for event in decode(block)
        ]

    async def _tell_end(self) -> None:
        wait = _FIRST_WAIT
        for _ in range(_ATTEMPTS):
            try:
                await self._paper.end(self.topic, self.reason)
                break
            except OSError:
                _log.warning("the end of a run cannot be written: topic %s", ascii(self.topic))
            except Exception:  # the hub has stopped
                _log.debug("the end of a run is not told", exc_info=True)
                break
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LAST_WAIT)
        self.over.set_result(None)


class Jobs:
    """The runs of one fanout.

    Args:
        most: how many may go on at a time.
        kept: how much of a run's topic the history keeps, events and bytes.
        counts: where ends are counted, by reason.
    """

    __slots__ = ("_all", "_counts", "_most", "kept")

    def __init__(self, most: int, kept: tuple[int, int], counts: Counter[str]) -> None:
        self.kept = kept
        self._most = most
        self._counts = counts
        self._all: dict[str, Job] = {}

    def __len__(self) -> int:
        return len(self._all)

    def of(self, topic: str) -> Job | None:
        """Return the run of a topic; None when none goes on here."""
        return self._all.get(topic)

    def begin(self, topic: str, start: Callable[[], Job]) -> Job:
        """Begin a run.

        Raises:
            TooManyRuns: there are as many as may be.
            InvalidField: the topic has a run.
        """
        if topic in self._all:
            raise InvalidField("topic", topic, "has a run that goes on")
        if len(self._all) >= self._most:
            self._counts["refused"] += 1
            raise TooManyRuns(f"{self._most} runs go on, as many as max_runs allows")
        job = self._all[topic] = start()
        job.over.add_done_callback(partial(self._forget, job))
        return job

    def _forget(self, job: Job, _: object) -> None:
        del self._all[job.topic]
        self._counts[job.reason] += 1

    def stop(self, topics: tuple[str, ...], reason: str) -> None:
        """Stop the runs of these topics."""
        for topic in topics:
            if (job := self._all.get(topic)) is not None:
                job.stop(reason)

    def stop_all(self, reason: str) -> list[asyncio.Future[None]]:
        """Stop every run. Returns futures that are done when all items are closed and all ends told."""
        jobs = list(self._all.values())
        for job in jobs:
            job.stop(reason)
        return [*(job.over for job in jobs), *(job.task for job in jobs)]


def _iterator(items: Items) -> AsyncIterator[Any]:
    """Iterate a sync iterable in threads, because it may block, unless it is a collection."""
    if isinstance(items, (AsyncIterable, Sequence, Set, MappingView)):
        return as_async(items)
    return in_thread(items)
