"""The part that all stores on other machines share: a bounded queue of appends, and contact that is lost and found.

    append ──► queue ──► one batch at a time ──► `_send` of the engine ──► answers
               `_listen` of the engine ──► entry, lost, renewed ──► follower

Everything that is appended in one turn of the event loop, or while a batch is under way, leaves together in the next
batch. A batch whose connection died may be in the log or not. So each batch has a number, `_send` is called again with
that batch, and the engine finds by the number what it has appended already: a repeat is never a second event.

When contact is lost the follower is told `stalled`, and `_listen` is called again after a growing, random delay.

The events of a group leave in one batch: an engine that appends a batch as one step then appends all of them, or none.

Bounds: `QUEUED` events and `QUEUED_BYTES` wait; a batch has at most `BATCH` events and about `BATCH_BYTES`; an append
waits at most `patience` seconds. Beyond any of these an append raises `OSError`.

To write an engine, subclass `RemoteStore` and define `_enter`, `_replay`, `_listen`, `_send` and `_leave`. This module
knows drafts, waits and delays, and nothing of any engine, its ids and its errors, which an engine turns into `OSError`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Literal

from fastsse.broadcast.stores import Draft, Follower, Log, Outcome, StoreState
from fastsse.broadcast.stores._batches import Batch, Refused, Waiting, delays
from fastsse.broadcast.stores._groups import await_outcomes, one_by_one

__all__ = [
    "BATCH",
    "BATCH_BYTES",
    "PATIENCE",
    "QUEUED",
    "QUEUED_BYTES",
    "RemoteStore",
]

QUEUED = 20_000  # appends that may wait
QUEUED_BYTES = 2**26  # bytes of entries that may wait
# Appends that are sent together: an engine is busy with one batch for a few milliseconds.
BATCH = 512
# Bytes after which a batch takes no more; the entry that reaches them is the last.
BATCH_BYTES = 2**20
PATIENCE = 5.0  # s that an append waits
_LOOK = 0.25  # s between two looks for appends that have waited too long

_log = logging.getLogger("fastsse.broadcast")


class RemoteStore(ABC):
    """A store whose engine is reached over a network.

    Args:
        patience: seconds that an append waits.

    Attributes:
        engine: the engine's name, for operators.
        shared: several processes may use the engine's log at once.
        finds_topics: a page of one topic is read without reading the others.
        groups: those of which `_send` appends no event after one that has failed: none, ``alike`` ones in which all
            events or none have a key, or any.
        writer: the name of this store among all writers of the log. A batch's number is unique with it.
        skipped: how many entries were passed over, because they are not ours or cannot be read.
        failures: how often contact was lost or could not be made.
    """

    engine = ""
    finds_topics = False
    groups: Literal["none", "alike", "any"] = "none"
    shared = True

    def __init__(self, *, patience: float = PATIENCE) -> None:
        self.writer = secrets.token_hex(8)
        self.skipped = 0
        self.failures = 0
        self._patience = patience
        self._follower: Follower | None = None
        self._queue: deque[Waiting] = deque()
        self._queued_bytes = 0
        self._next = 1
        self._sent: Batch | None = None
        self._bell: asyncio.Event | None = None  # set while the store is open
        self._look: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stalled = False
        self._delays = delays()

    # The engine's part.

    @abstractmethod
    async def _enter(self) -> Log:
        """Connect, make the log ready, and return its extent.

        Raises:
            OSError: the engine cannot be reached, or cannot be used.
        """

    @abstractmethod
    async def _replay(self, follower: Follower, tail: int) -> None:
        """Report `lost` where the log has or had entries before the tail, and then the newest `tail` entries."""

    @abstractmethod
    async def _listen(self) -> None:
        """Report what has come since the last report, and then what comes, until contact is lost.

        Connect first where there is no connection. Call `_reached` once the engine has answered. When the engine is not
        where it was, report `lost` or `renewed` first. Whatever a report leads to must be exact: see `Follower`.

        Raises:
            OSError: contact was lost or could not be made; the method is called again.
        """

    @abstractmethod
    async def _send(self, batch: Batch) -> None:
        """Append a batch, and answer each of its items by `give` or `fail`.

        Raises:
            OSError: nobody knows whether the batch is in the log. The method is called again with the same batch, and
                must then find what was appended already.
            Refused: nothing of the batch was appended.
        """

    @abstractmethod
    async def _leave(self) -> None:
        """Close all connections. Nothing is raised."""

    # The store.

    async def open(self) -> Log:
        """Connect, and return the log's extent.

        Raises:
            OSError: the engine cannot be reached, or cannot be used.
        """
        await self.close()
        self._stalled = False
        try:
            log = await self._enter()
        except BaseException:
            await self._leave()
            raise
        self._bell = asyncio.Event()
        self._run(self._sending())
        return log

    async def follow(self, follower: Follower, tail: int) -> None:
        """Report the newest `tail` entries, and from then on every entry of every process.

        Raises:
            OSError: the log cannot be read.
        """
        await self._replay(follower, tail)
        self._follower = follower
        self._run(self._listening())

    async def append(self, draft: Draft, key: str | None = None) -> int:
        """Put an event at the end of the log, and return its position.

        Raises:
            KeyReused: the key is another event's.
            OSError: the store is closed, too many appends wait, or the engine has not answered in time.
        """
        loop = asyncio.get_running_loop()
        waiting = Waiting(draft, key, loop.create_future(), loop.time())
        self._enqueue((waiting,), len(waiting.entry), loop)
        return await waiting.answer

    async def append_group(
        self, drafts: Sequence[Draft], keys: Sequence[str | None]
    ) -> list[Outcome]:
        """Append events of one publisher: in one batch where the engine takes groups. As `Grouped.append_group`.

        Raises:
            OSError: the store is closed, or too many appends wait; nothing was appended.
        """
        alike = keys.count(None) in (0, len(keys))
        if self.groups == "none" or not (alike or self.groups == "any"):
            return await one_by_one(self, drafts, keys)
        loop = asyncio.get_running_loop()
        since, last = loop.time(), len(drafts) - 1
        group = [
            Waiting(draft, key, loop.create_future(), since, follows=place > 0, more=last - place)
            for place, (draft, key) in enumerate(zip(drafts, keys, strict=True))
        ]
        self._enqueue(group, sum(len(waiting.entry) for waiting in group), loop)
        return await await_outcomes([waiting.answer for waiting in group])

    def _enqueue(self, more: Sequence[Waiting], size: int, loop: asyncio.AbstractEventLoop) -> None:
        """Put appends of so many bytes at the end of the queue.

        Raises:
            OSError: the store is closed, or too many appends wait.
        """
        bell = self._bell
        if bell is None:
            raise OSError("the store is closed: nothing was appended")
        if len(self._queue) + len(more) > QUEUED or self._queued_bytes + size > QUEUED_BYTES:
            raise OSError("too many appends wait for the store: nothing was appended")
        if not self._queue:  # otherwise the bell has been rung
            bell.set()
        self._queue.extend(more)
        self._queued_bytes += size
        if self._look is None:
            self._look = loop.call_later(_LOOK, self._give_up_waiting)

    async def close(self) -> None:
        """Report nothing more, fail what waits, and close all connections."""
        self._follower = None
        self._bell = None
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if self._look is not None:
            self._look.cancel()
            self._look = None
        closed = OSError("the store was closed: nobody knows whether the event was appended")
        for waiting in self._all_waiting():
            waiting.fail(closed)
        self._queue.clear()
        self._queued_bytes = 0
        self._sent = None
        if tasks:
            await asyncio.wait(tasks)
        await self._leave()

    def state(self) -> StoreState:
        """Return the numbers of this store as they are now; the log's own would have to be asked for."""
        waiting = len(self._queue)
        if self._sent is not None:
            waiting += len(self._sent.items)
        return StoreState(self.engine, queued=waiting, unreadable=self.skipped)

    # For engines.

    def _reached(self) -> None:
        """Note that the engine has answered: a stall is over, and the next one begins with a short delay."""
        self._delays = delays()
        if self._stalled:
            self._stalled = False
            if self._follower is not None:
                self._follower.stalled(None)

    def _skip(self, what: object) -> None:
        """Count an entry that cannot be read, and log the first one."""
        if not self.skipped:
            _log.warning(
                "the store has an entry that is not ours or cannot be read (%s): it is passed over; further ones are "
                "only counted",
                what,
            )
        self.skipped += 1

    # Tasks.

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def _listening(self) -> None:
        """Call `_listen` again and again."""
        while True:
            try:
                await self._listen()
            except OSError as error:
                self._stall(error)
            except Exception:
                _log.exception("the store's engine is read anew after a fault")
                self._stall(None)
            await asyncio.sleep(next(self._delays))

    def _stall(self, error: OSError | None) -> None:
        self.failures += 1
        if not self._stalled:
            self._stalled = True
            if error is not None:
                _log.warning("the store cannot be reached: %s", error)
            if self._follower is not None:
                self._follower.stalled(asyncio.get_running_loop().time())

    async def _sending(self) -> None:
        """Send batch after batch."""
        bell = self._bell
        assert bell is not None
        while True:
            await bell.wait()
            bell.clear()
            while batch := self._take():
                self._sent = batch
                await self._deliver(batch)
                self._sent = None

    async def _deliver(self, batch: Batch) -> None:
        """Send a batch until the engine has answered, or nobody waits for it any more."""
        waits = delays()
        while not all(waiting.answer.done() for waiting in batch.items):
            try:
                await self._send(batch)
                return
            except Refused as error:
                _fail(batch, error.reason)
            except OSError:
                self.failures += 1
                await asyncio.sleep(next(waits))
            except Exception:
                _log.exception("appends to the store have failed")
                _fail(batch, OSError("the store has failed: nobody knows whether it was appended"))
            batch.tried += 1

    def _take(self) -> Batch | None:
        """Take the next batch from the queue, without those that nobody waits for; of a group all, or nothing."""
        queue, items = self._queue, list[Waiting]()
        size = gone = rest = 0
        while queue:
            full = size >= BATCH_BYTES or len(items) + queue[0].more >= BATCH
            if full and items and not rest:
                break
            waiting = queue.popleft()
            rest = waiting.more
            if waiting.answer.done():
                gone += len(waiting.entry)
            else:
                items.append(waiting)
                size += len(waiting.entry)
        self._queued_bytes -= size + gone
        if not items:
            return None
        batch = Batch(self._next, items)
        self._next += len(items)
        return batch

    def _give_up_waiting(self) -> None:
        """Fail the appends that have waited too long; look again later while any waits."""
        loop = asyncio.get_running_loop()
        before = loop.time() - self._patience
        sent = 0 if self._sent is None else len(self._sent.items)
        for place, waiting in enumerate(self._all_waiting()):
            if waiting.since > before:
                break
            told = "nobody knows whether the event" if place < sent else "nothing"
            waiting.fail(
                OSError(
                    f"the store did not answer within {self._patience:g} s: {told} was appended"
                )
            )
        busy = self._queue or self._sent is not None
        self._look = loop.call_later(_LOOK, self._give_up_waiting) if busy else None

    def _all_waiting(self) -> Iterator[Waiting]:
        """Iterate over all appends that wait, oldest first."""
        if self._sent is not None:
            yield from self._sent.items
        yield from self._queue


def _fail(batch: Batch, error: OSError) -> None:
    for waiting in batch.items:
        waiting.fail(error)
