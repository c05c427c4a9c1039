"""A hub's starts and ends: its store, its event loop, its signal.

    start    a new fanout on the loop that runs now; the store is opened, and the history filled from it
    drain    every run is cancelled, and its topic ends; every stream is ended, over some time; the store is closed
    stop     drain, and wait until that is over

The module knows a store's opening and closing, loops and tasks; it must not know what is published, nor to whom.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Self

from fastsse._asyncio import require_asyncio
from fastsse._signals import on_shutdown
from fastsse.broadcast.hub.audiences import Audiences
from fastsse.broadcast.hub.eras import Eras
from fastsse.broadcast.hub.fanout import Fanout, HubClosed
from fastsse.broadcast.hub.follower import Reports
from fastsse.broadcast.hub.history import History
from fastsse.broadcast.hub.revoked import Revoked
from fastsse.broadcast.hub.revoking import obey, recall
from fastsse.broadcast.hub.rounds import Farewell, Rounds
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.hub.topics import TopicLimits
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.stores import Archive, StoreUnusable
from fastsse.broadcast.stores.opening import finds_topics, open_url
from fastsse.broadcast.stores.retention import Retention
from fastsse.errors import quote

if TYPE_CHECKING:
    from fastsse.broadcast.hub.subscriber import Subscriber
    from fastsse.broadcast.stores import Log, Store

__all__ = ["Runner"]

_RUNS = 2.0  # seconds that runs have at shutdown to be closed, before the streams are ended without their ends
_ANSWER = 2.0  # seconds that the store has at shutdown to answer the publishes that it was given
_KNOCK, _LONGEST_KNOCK = (
    0.1,
    5.0,
)  # seconds between attempts to reach a store at the start: the first, the longest
_RECALL = 2.0  # seconds for which a start waits for what was revoked long ago; the rest comes while streams open
_TAIL = 20_000  # entries that a start takes from a store that is an archive
_NOT_STARTED = (
    "the hub is not started: await hub.start() in your application's lifespan, or use `async with hub:` there; "
    "under a Mount, whose own lifespan never runs, do so in the outer application's"
)
_CLOSED = "the hub is stopping and its store is closed: nothing was published"

_log = logging.getLogger("fastsse.broadcast")


class Runner:
    """The part of a `Hub` that starts and ends. Arguments and attributes as there."""

    def __init__(
        self,
        settings: Settings | None = None,
        store: Store | None = None,
        *,
        step_sends: bool | None = None,
    ) -> None:
        if settings is not None and not isinstance(settings, Settings):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"settings must be Settings(...) or None, not {quote(settings)}")
        self.settings = knobs = Settings() if settings is None else settings
        self._limits = limits = TopicLimits(knobs)
        self.history = self._new_history()
        self.audiences: Audiences[Subscriber] = Audiences(
            limits.of_stream, knobs.metric_classes, self._on_followed
        )
        self.stats = Stats()
        self.revoked = Revoked(knobs.revoked_seconds, knobs.leeway)
        self.draining = False
        if store is None:
            store = open_url(knobs.store, retention=Retention.of(knobs))
        self._store: Store = store
        self._failing = False  # the last append failed, and that was logged
        self._step_sends = step_sends
        self._eras = Eras("")
        self._fanout: Fanout | None = None

    async def __aenter__(self) -> Self:
        """Start, for ``async with hub:`` in a lifespan or a test; the end of the block stops the hub."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the store, fill the history from it, and listen for SIGTERM and SIGINT, which `drain`.

        Does nothing when started already. A hub that was stopped, or whose loop was closed, starts as if for the first
        time, on the loop that runs now. The history keeps its events where the store says that its log is still the
        old one. Otherwise, as with the memory store, readers that come back are told of a gap.

        Raises:
            OSError: the store cannot be opened; the hub is not started, and may be started again.
            RuntimeError: the hub is started on another event loop, or no loop of asyncio is running.
        """
        loop = require_asyncio("a hub")
        while (fanout := self._fanout) is not None:
            if fanout.loop.is_closed():
                await self._abandon(fanout)
            elif fanout.loop is not loop:
                raise RuntimeError("the hub runs on another event loop; stop it there first")
            elif not fanout.opened.done():
                await asyncio.wait([fanout.opened])
            elif fanout.ending is not None:
                await self.stop()
            else:
                return
        self._fanout = fanout = Fanout(
            loop, self.settings, self.audiences, self.stats, step_sends=self._step_sends
        )
        try:
            await self._open(fanout)
        except BaseException:
            # In a task of its own: a cancel scope would cut whatever is awaited here.
            fanout.ending = loop.create_task(self._give_up(fanout))
            await asyncio.wait([fanout.ending])
            raise
        fanout.opened.set_result(None)

    async def _give_up(self, fanout: Fanout) -> None:
        """Undo a start that has failed."""
        try:
            await self._close_store()
        finally:
            self._fanout = None
            fanout.opened.set_result(None)
            fanout.over.set_result(None)

    async def _open(self, fanout: Fanout) -> None:
        log = await self._open_store(fanout)
        if log.epoch != self._eras.epoch:  # otherwise the history goes on where it was
            self._eras = Eras(log.epoch)
            self.history = self._new_history()
        fanout.set_up(self.history, self._eras, log, self._store)
        most = self.history.most
        if isinstance(self._store, Archive):
            # An archive has the rest for readers that ask: the start need not wait for it.
            most = min(most, _TAIL)
        await self._store.follow(Reports(fanout, partial(obey, fanout, self.revoked)), most)
        recalling = await self._recall(fanout, log)
        self.draining = False
        fanout.open = True
        fanout.undo = [Rounds(fanout, self._limits.shortest).stop, on_shutdown(self.drain)]
        if recalling is not None:
            fanout.undo.append(recalling.cancel)

    async def _recall(self, fanout: Fanout, log: Log) -> asyncio.Task[None] | None:
        """Begin to read what was revoked before; return the task, after some time at the latest."""
        store = self._store
        if not (isinstance(store, Archive) and finds_topics(store)):
            return None
        task = fanout.loop.create_task(recall(fanout, self.revoked, store, log))
        try:
            await asyncio.wait([task], timeout=_RECALL)
        except BaseException:
            task.cancel()
            raise
        return task

    async def _open_store(self, fanout: Fanout) -> Log:
        """Open the store; where it cannot be reached, try again for `Settings.store_wait` seconds, or until `drain`."""
        loop, told = fanout.loop, ""
        until, pause = loop.time() + self.settings.store_wait, _KNOCK
        forget = on_shutdown(self.drain)
        try:
            while True:
                try:
                    return await self._store.open()
                except StoreUnusable:
                    raise
                except OSError as error:
                    left = until - loop.time()
                    if left <= 0 or fanout.draining:
                        raise
                    if told != (told := str(error)):
                        _log.warning("the store is awaited for %.0f s more: %s", left, error)
                await fanout.until(lambda: fanout.draining, min(left, pause))
                pause = min(2 * pause, _LONGEST_KNOCK)
        finally:
            forget()

    def _new_history(self) -> History:
        return History(
            kept=self._kept,
            total=self.settings.history_total,
            topics=self.settings.max_topics,
            ended=self.settings.ended_bytes,
            followed=lambda topic: self.audiences.follows(topic),
        )

    def _kept(self, topic: str) -> tuple[int, int]:
        """Return how many events and bytes the history keeps of a topic: all that a run may make."""
        fanout = self._fanout
        if fanout is not None and fanout.jobs.of(topic) is not None:
            return fanout.jobs.kept
        return self._limits.kept(topic)

    def _on_followed(self, topic: str, followed: bool) -> None:
        self.history.follow(topic, followed)

    def drain(self) -> None:
        """Begin to end every stream: each gets a last block and the end of its body; new ones are refused.

        They end over `Settings.drain` seconds, at once when that is 0. When the last stream has ended or been cut, the
        store is closed, see `drained`; until then events can be published. Does nothing when not started. May be called
        from any thread.
        """
        fanout = self._fanout
        if fanout is None or fanout.ending or fanout.loop.is_closed():
            return
        if not fanout.here:
            fanout.loop.call_soon_threadsafe(self.drain)
            return
        if not fanout.open:
            if not fanout.opened.done():  # a start that waits for its store gives up
                fanout.draining = True
                fanout.change()
            return
        self.draining = fanout.draining = True
        runs = fanout.jobs.stop_all("shutdown")
        farewell = Farewell(fanout)
        if not runs:
            farewell.step()
        fanout.ending = fanout.loop.create_task(self._end(fanout, farewell, runs))

    async def _end(
        self, fanout: Fanout, farewell: Farewell, runs: list[asyncio.Future[None]]
    ) -> None:
        """Let the runs end, end the streams that are left, wait until they have gone, and close the store."""
        try:
            if runs:
                await asyncio.wait(runs, timeout=_RUNS)
                farewell.step()
            await farewell.run()
            fanout.open = False
            await fanout.until(lambda: not fanout.appending, _ANSWER)
        finally:
            await self._close(fanout)

    async def _close(self, fanout: Fanout) -> None:
        """Let everything of a fanout go, once."""
        if fanout.closing:
            return
        fanout.closing = True
        fanout.stop()
        try:
            fanout.failure = await self._close_store()
        finally:
            fanout.over.set_result(None)

    async def drained(self) -> None:
        """Wait until a hub that drains has ended or cut its last stream, and has closed its store.

        Where no `drain` has begun, wait for the next one, too. Returns at once when the hub is not started.
        """
        if self._fanout is not None:
            await asyncio.wait([self._fanout.over])

    async def stop(self) -> None:
        """Drain, and wait until it is over. Does nothing when stopped already.

        Raises:
            OSError: the store could not be closed properly; the hub is stopped all the same.
            RuntimeError: the hub is started on another event loop.
        """
        fanout = self._fanout
        if fanout is None:
            return
        if fanout.loop.is_closed():
            await self._abandon(fanout)
            return
        if not fanout.here:
            raise RuntimeError("the hub runs on another event loop; stop it there")
        if not fanout.opened.done():
            await asyncio.wait([fanout.opened])
            if self._fanout is not fanout:  # the start has failed
                return
        self.drain()
        assert fanout.ending is not None
        await asyncio.wait([fanout.ending])
        await self._close(fanout)  # for a task that was cancelled before it began
        await asyncio.wait([fanout.over])
        if self._fanout is fanout:
            self._fanout = None
        failure, fanout.failure = fanout.failure, None
        if failure is not None:
            raise failure

    async def _abandon(self, fanout: Fanout) -> None:
        """Let go what was started on a loop that has been closed without `stop`."""
        self._fanout = None
        fanout.abandon()
        if not fanout.closing:
            await self._close_store()

    async def _close_store(self) -> Exception | None:
        """Close the store. Returns what the store raised, which is logged."""
        try:
            await self._store.close()
        except Exception as error:
            _log.exception("the store could not be closed")
            return error
        return None

    @property
    def started(self) -> bool:
        """True when `start` has succeeded, and no `stop` since: only then is anything published or followed."""
        fanout = self._fanout
        return fanout is not None and fanout.opened.done() and not fanout.loop.is_closed()

    def _require_started(self) -> Fanout:
        """Return the fanout that takes streams and events.

        Raises:
            HubClosed: the fanout takes none any more.
            RuntimeError: the hub is not started.
        """
        fanout = self._fanout
        if fanout is None or not fanout.open or fanout.loop.is_closed():
            if self.started:
                raise HubClosed(_CLOSED)
            raise RuntimeError(_NOT_STARTED)
        return fanout

    def _require_here(self) -> Fanout:
        """Return the fanout that takes streams and events, if this is its own event loop.

        Raises:
            RuntimeError: called on another loop's thread, or on none's: the call would disturb the hub unseen.
        """
        fanout = self._require_started()
        fanout.check_here()
        return fanout
