"""Publishing: what is checked before an event goes to the store, and what its publisher is told.

    check    topics, key and fields; the block is written once for everybody
    append   the store gives the event its position, and reports it
    receipt  the event's id, and how many follow its topics

A publisher never waits for a reader. The module knows drafts and the store; it must not know streams, requests or what
becomes of a report.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio import get_running_loop
from collections.abc import Iterable
from contextlib import AbstractContextManager
from errno import ENOSPC
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from fastsse import InvalidField
from fastsse.broadcast.hub.drafts import TopicEnded, check_key, take_block, write_block, write_end
from fastsse.broadcast.hub.fanout import LOOP_CLOSED, HubClosed
from fastsse.broadcast.hub.runner import Runner
from fastsse.broadcast.hub.runs import REASONS
from fastsse.broadcast.names import check_names
from fastsse.broadcast.stores import Draft, KeyReused

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from fastsse.broadcast.hub.fanout import Fanout

__all__ = ["BURST", "Publisher", "Receipt"]

_log = logging.getLogger("fastsse.broadcast")

BURST = 64  # publishes, and 16 KiB each beyond, after which a publisher gives way to the rest of the loop
_WAITS_FOR_ITSELF = (
    "publish_threadsafe would wait for the thread that it is called on: await hub.publish(...) on the hub's own event "
    "loop"
)


class Receipt(NamedTuple):
    """The outcome of a publish.

    Attributes:
        id: the event's id on the wire.
        topics: the topics that the event was published to.
        subscribers: how many open streams follow one of these topics.
    """

    id: str
    topics: tuple[str, ...]
    subscribers: int


def _forget_failed(
    ending: dict[str, asyncio.Task[Receipt]], topic: str, task: asyncio.Task[Receipt]
) -> None:
    """Let a topic take events again whose end could not be appended."""
    if (task.cancelled() or task.exception() is not None) and ending.get(topic) is task:
        del ending[topic]


class Publisher(Runner):
    """The part of a `Hub` that publishes. Arguments and attributes as there."""

    async def publish(
        self,
        topics: str | Iterable[str],
        data: str | Buffer,
        *,
        event: str | None = None,
        retry: int | None = None,
        key: str | None = None,
    ) -> Receipt:
        """Append one event to the log; its delivery begins within this turn of the loop.

        Args:
            topics: one or more names; a name that comes twice counts once.
            data: text or bytes-like UTF-8, at most `Settings.max_event_size` bytes (see `write_block`).
            event: the event type, at most 256 bytes; ``gap``, ``end`` and ``expired`` are reserved.
            retry: reconnection time for its readers, milliseconds, at most a day.
            key: 1 to 256 bytes. While the store remembers the key, a second publish with it publishes nothing, and gets
                the first one's id.

        Raises:
            InvalidField: a value cannot be published; nothing was. `TooLarge` where it is over its bound in bytes,
                `KeyReused` where the key is another event's, `TopicEnded` where a topic has ended.
            OSError: the store cannot be written; nothing was published, or nobody knows whether.
            HubClosed: the hub is stopping, and its store is closed; nothing was published.
            RuntimeError: the hub is not started, or runs on another event loop.
        """
        draft = self.draft(topics, data, event, retry, key)
        fanout = self._fanout
        if fanout is None or not fanout.open or fanout.loop is not get_running_loop():
            fanout = self._require_here()  # which says what is wrong
        return await self._append(fanout, draft, key)

    async def publish_block(
        self, topics: str | Iterable[str], block: Buffer, *, key: str | None = None
    ) -> Receipt | None:
        """Append the event of another stream's block, without making text of it: for relays into a topic.

        `BlockSplitter` gives such blocks. The event gets an id of the hub in place of its own; its type and its data
        stay as they are. All else goes: a reconnection time and an id are between that stream and its own readers.

        Returns:
            The receipt; None for a block that no reader would get an event from, such as a comment. Nothing is
            published then.

        Raises:
            InvalidField: the field ``block`` where this is not exactly one block; otherwise as `publish`, of which the
                other arguments and errors are, too.
        """
        draft = self._draft_of_block(topics, block, key)
        if draft is None:
            return None
        return await self._append(self._require_here(), draft, key)

    def _draft_of_block(
        self, topics: str | Iterable[str], block: Buffer, key: str | None
    ) -> Draft | None:
        """Check a block that is to be published; count a refusal by the field."""
        try:
            if key is not None:
                check_key(key)
            names = self.check_topics(topics, self.settings.topics_per_publish)
            raw = block if type(block) is bytes else memoryview(block).tobytes()
            taken = take_block(raw, self.settings.max_event_size)
        except InvalidField as error:
            self.stats.events_refused[error.field] += 1
            raise
        return None if taken is None else Draft(names, taken)

    async def _append(self, fanout: Fanout, draft: Draft, key: str | None = None) -> Receipt:
        """Give a draft to the store, and return the receipt.

        Raises:
            TopicEnded: one of its topics has ended, or is just being ended.
        """
        self._check_open(fanout, draft)
        matched = self.audiences.matched(draft.topics)
        fanout.appending += 1
        began = perf_counter()
        try:
            if key is None:
                position = await self._store.append(draft)
                self.stats.published += 1
            else:
                position = await self._append_keyed(fanout, draft, key)
        except OSError as error:
            self._note_failure(error)
            raise
        finally:
            self.stats.append_latency.observe(perf_counter() - began)
            fanout.appending -= 1
            if not fanout.open:
                fanout.change()
        self._failing = False
        receipt = Receipt(fanout.places.entry_id(position), draft.topics, matched)
        fanout.burst += 1 + (len(draft.block) >> 14)
        if fanout.burst >= BURST:
            await self._give_way(fanout)
        return receipt

    async def _append_keyed(self, fanout: Fanout, draft: Draft, key: str) -> int:
        """Give a draft with a key to the store; a repeat is not counted as published.

        Of a store that several processes share, a repeat counts when another process has published the event and its
        report has not come yet.
        """
        eras = fanout.places.eras
        flight = fanout.keyed.begin(key, eras.epoch, eras.number(fanout.history.head))
        try:
            number = await self._store.append(draft, key)
        except KeyReused:
            self.stats.events_refused["key"] += 1
            raise
        finally:
            fanout.keyed.end(key)
        if flight.appended(eras.epoch, number):
            self.stats.published += 1
        return number

    def _check_open(self, fanout: Fanout, draft: Draft) -> None:
        """Refuse a draft one of whose topics has ended.

        Raises:
            TopicEnded: one of its topics has ended, or is just being ended.
        """
        if (ended := fanout.ended_of(draft.topics)) is not None and not draft.ends:
            self.stats.events_refused["topic"] += 1
            raise TopicEnded(ended)

    def _note_failure(self, error: OSError) -> None:
        """Count an append that the store has failed; log the first of several."""
        self.stats.append_errors["full" if error.errno == ENOSPC else "unreachable"] += 1
        if not self._failing:
            self._failing = True
            _log.warning("the store takes no event: %s", error)

    async def end(self, topic: str, *, reason: str | None = None) -> Receipt:
        """Append the end of a topic to the log: nothing more is published to it.

        The topic's streams get what is before the end and then an `end` event, whose data is JSON with ``topic`` and
        ``reason``. A stream is over when all of its topics have ended. Where a run goes on at this topic, its items are
        cancelled and closed first. For a topic that has ended already this returns the receipt of its end.

        Args:
            reason: one of ``finished``, ``failed``, ``cancelled``, ``timeout``, ``size``, ``shutdown``. When None,
                ``cancelled`` where a run is cut short, otherwise ``finished``.

        Raises:
            InvalidField: no such topic or reason can be.
            OSError, HubClosed, RuntimeError: as `publish`.
        """
        [name] = self.check_topics(topic, 1)
        if reason is not None and reason not in REASONS:
            raise InvalidField("reason", reason, f"must be one of {', '.join(REASONS)}")
        fanout = self._require_here()
        if (job := fanout.jobs.of(name)) is not None:
            job.stop(reason or "cancelled")
            await asyncio.wait([job.over])
        return await self._append_end(fanout, name, reason or "finished")

    async def _append_end(self, fanout: Fanout, topic: str, reason: str) -> Receipt:
        """Append an end once, however many ask for that at the same time."""
        ending = fanout.ending_topics
        task = ending.get(topic)
        if task is None:
            if position := fanout.history.ends.of(topic):
                matched = self.audiences.matched((topic,))
                return Receipt(fanout.places.id(position), (topic,), matched)
            draft = Draft((topic,), write_end(topic, reason))
            task = ending[topic] = fanout.loop.create_task(self._append(fanout, draft))
            task.add_done_callback(partial(_forget_failed, ending, topic))
        return await asyncio.shield(task)

    async def _give_way(self, fanout: Fanout) -> None:
        """Let the loop's other work run: a store that never waits would let one publisher keep the loop for itself.

        Where the pump has more to send than one turn takes, wait for the pump, so that what is pending stays bounded.
        Nobody waits for readers: a pump that only waits for them has caught up.
        """
        fanout.burst = 0
        await asyncio.sleep(0)
        while fanout.delivery.busy:  # noqa: ASYNC110 - each turn of the loop brings it forward
            await asyncio.sleep(0)

    def draft(
        self,
        topics: str | Iterable[str],
        data: str | Buffer | None,
        event: str | None,
        retry: int | None,
        key: str | None = None,
    ) -> Draft:
        """Check what is to be published, and write its block; count a refusal by the field.

        Raises:
            InvalidField: as `publish`.
        """
        try:
            if key is not None:
                check_key(key)
            names = self.check_topics(topics, self.settings.topics_per_publish)
            return Draft(names, write_block(data, event, retry, self.settings.max_event_size))
        except InvalidField as error:
            self.stats.events_refused[error.field] += 1
            raise

    def check_topics(self, topics: str | Iterable[str], limit: int) -> tuple[str, ...]:
        """Return the topics, sorted and each once.

        Raises:
            InvalidField: there is none, there are more than `limit`, or one cannot be a name.
        """
        return check_names(topics, limit, self.settings.max_topic_length)

    def gathering(self) -> AbstractContextManager[None]:
        """Hold the next flush while a publish is being read, so that what is published meanwhile leaves in one send.

        For ``with hub.gathering():`` around the reading of a body. A flush is held for at most 2 ms, so this is not for
        a publish that may take its time, such as a stream of events.
        """
        fanout = self._fanout
        if fanout is None or not fanout.open:
            return contextlib.nullcontext()
        return fanout.delivery.gathering()

    def publish_threadsafe(
        self,
        topics: str | Iterable[str],
        data: str | Buffer,
        *,
        event: str | None = None,
        retry: int | None = None,
        key: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Publish from a thread that is not the loop's, and wait for the receipt.

        Args:
            timeout: seconds to wait for the loop; None for as long as it takes.

        Raises:
            TimeoutError: the loop had no time; the event is not published, unless that had begun.
            HubClosed: the hub is stopping, or its loop was closed meanwhile.
            RuntimeError: called on the loop's own thread, which would wait for itself. Await `publish` there. Where
                nothing can be awaited (a signal handler, ``__del__``) let the loop do it later, as with
                ``loop.call_soon_threadsafe(lambda: asyncio.ensure_future(hub.publish(...)))``.
        """
        fanout = self._require_started()
        if fanout.here:
            raise RuntimeError(_WAITS_FOR_ITSELF)
        publishing = self.publish(topics, data, event=event, retry=retry, key=key)
        try:
            answer = asyncio.run_coroutine_threadsafe(publishing, fanout.loop)
        except RuntimeError:  # the loop was closed just now
            publishing.close()
            raise HubClosed(LOOP_CLOSED) from None
        try:
            return fanout.await_answer(answer, timeout)
        except HubClosed:
            publishing.close()
            raise
