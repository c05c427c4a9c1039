"""A store that does on command what engines do: trim, fail over, stall, be late, lose, and repeat itself.

    store = ScriptedStore()          # no archive
    store = ArchivedStore()          # can be read from any place that was not trimmed
    async with Hub(settings, store) as hub: ...

    store.add("news", b"data: x\\n\\n")   another process appends: an entry that no publish of this hub has made
    store.trim(40)                   entries up to position 40 leave the log; reported ones stay with the hub
    store.lose(40)                   ... and those that were not reported are reported as lost
    store.renew(keep=0)              fail over: another epoch, and of the log only entries up to `keep`
    store.stall() / store.recover()  the engine is away: appends fail, nothing is reported / it is back
    store.hold() / store.release(n)  reports wait / the next `n` of them are made
    store.hold_appends() / store.release_appends()   appends return later than they are reported
    store.repeat(3)                  misbehave: report the last three entries again

Everything happens at once, within the call, unless reports are held or the engine is away. So a test knows what the
hub has been told without waiting. `store.log` is all that the present log holds, in order; `store.gone` is its floor.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from operator import attrgetter

from support.servers import DEADLINE

from fastsse.broadcast.stores import Draft, Entry, Follower, Log, Page
from fastsse.broadcast.stores.memory import KeyWindow

__all__ = ["ArchivedStore", "Recorder", "ScriptedStore"]


class ScriptedStore:
    """A log that outlives its openings, and keeps everything that is not trimmed.

    Args:
        stride: how far apart two positions are.
        first: the position of the first entry.
        keys: how many keys of publishes are remembered.

    Attributes:
        epoch: the name of the present numbering: ``log``, then ``log1``, ``log2``, ... for each `renew`.
        log: the entries that the present log holds, in order.
        gone: position of the last entry that is gone.
        head: position of the newest entry, gone or not.
        calls: how often each method of the protocol was called.
        fails: methods of the protocol that raise `OSError` when they are called.
    """

    def __init__(self, *, stride: int = 1, first: int = 1, keys: int = 100) -> None:
        self._stride = stride
        self._next = first
        self._most_keys = keys
        self._keys = KeyWindow(keys)
        self._follower: Follower | None = None
        self._reported = 0  # position of the last entry that the follower knows the fate of
        self._held: int | None = None  # reports that may still be made; None: all
        # News that the follower has not been told.
        self._waiting: deque[Callable[[], None]] = deque()
        self._away = False
        self._appends = asyncio.Event()
        self._appends.set()
        self._renewals = 0
        self.epoch = "log"
        self.log: list[Entry] = []
        self.gone = 0
        self.head = 0
        self.calls: dict[str, int] = {}
        self.fails: set[str] = set()

    # The protocol.

    async def open(self) -> Log:
        self._called("open")
        return Log(self.epoch, self.gone, self.head)

    async def follow(self, follower: Follower, tail: int) -> None:
        self._called("follow")
        self._follower = follower
        entries = self.log[len(self.log) - min(tail, len(self.log)) :]
        before = self.log[-len(entries) - 1].position if len(self.log) > len(entries) else self.gone
        self._reported = 0
        if before:
            self._tell_lost(before)
        for entry in entries:
            self._tell_entry(entry)

    async def append(self, draft: Draft, key: str | None = None) -> int:
        self._called("append")
        if self._away:
            raise OSError("the engine cannot be reached")
        position = self._keys.find(key, draft) if key is not None else 0
        if not position:
            position = self.add(draft.topics, draft.block)
            if key is not None:
                self._keys.add(key, draft, position)
        await self._appends.wait()
        return position

    async def close(self) -> None:
        self._follower = None
        self._waiting.clear()
        self._called("close")

    # Commands for tests.

    def add(self, topics: str | tuple[str, ...], block: bytes = b"data: x\n\n") -> int:
        """Append an entry, as another process would; return its position."""
        names = (topics,) if isinstance(topics, str) else topics
        entry = Entry(self._next, names, block)
        self._next += self._stride
        self.head = entry.position
        self.log.append(entry)
        self._report(lambda: self._tell_entry(entry))
        return entry.position

    def trim(self, to: int) -> None:
        """Let the log's entries up to a position go. Entries that wait to be reported will be reported as lost."""
        self.gone = max(self.gone, min(to, self.head))
        kept = next((n for n, entry in enumerate(self.log) if entry.position > to), len(self.log))
        del self.log[:kept]

    def lose(self, to: int) -> None:
        """Trim up to a position, and report what the follower does not know yet as lost."""
        self.trim(to)
        self._report(lambda: self._tell_lost(self.gone))

    def skip(self, to: int) -> None:
        """Report what the follower does not know up to a position as lost, although the log has it."""
        self._tell_lost(to)

    def renew(self, *, keep: int = 0) -> str:
        """Fail over to a log that holds the present entries up to `keep` only; return the new epoch."""
        self._renewals += 1
        self.epoch = f"log{self._renewals}"
        self.log = [entry for entry in self.log if entry.position <= keep]
        self.gone = min(self.gone, keep)
        self.head = max([self.gone, *(entry.position for entry in self.log)])
        self._next = self.head + self._stride
        self._keys = KeyWindow(self._most_keys)
        self._waiting.clear()  # news of a log that is no more
        log = Log(self.epoch, self.gone, self.head)
        self._report(lambda: self._tell_renewed(log))
        return self.epoch

    def restart_at(self, position: int) -> None:
        """Let the next entry have this position, as an engine may whose positions are times."""
        self._next = position

    def stall(self) -> None:
        """Be out of reach: appends raise `OSError`, and nothing is reported until `recover`."""
        self._tell_stalled(asyncio.get_running_loop().time())
        self._away = True

    def recover(self) -> None:
        """Be in reach again, and report what has come meanwhile."""
        self._away = False
        self._tell_stalled(None)
        self._flush()

    def hold(self) -> None:
        """Report nothing until `release`; appends go on."""
        self._held = 0

    def release(self, count: int | None = None) -> None:
        """Make the next `count` reports that were held; all, and those to come at once, when None."""
        self._held = count
        self._flush()

    def hold_appends(self) -> None:
        """Let appends wait, after their entry is in the log, until `release_appends`."""
        self._appends.clear()

    def release_appends(self) -> None:
        """Let the waiting appends return."""
        self._appends.set()

    def repeat(self, count: int = 1) -> None:
        """Report the last `count` entries again, which no store may do."""
        for entry in self.log[-count:]:
            if self._follower is not None and entry.position <= self._reported:
                self._follower.entry(entry)

    # Reports.

    def _report(self, news: Callable[[], None]) -> None:
        self._waiting.append(news)
        self._flush()

    def _flush(self) -> None:
        while self._waiting and not self._away and self._held != 0:
            if self._held is not None:
                self._held -= 1
            self._waiting.popleft()()

    def _tell_entry(self, entry: Entry) -> None:
        if entry.position <= self._reported or self._follower is None:
            return
        if entry.position <= self.gone:  # trimmed before the follower could read it
            self._tell_lost(self.gone)
            return
        self._reported = entry.position
        self._follower.entry(entry)

    def _tell_lost(self, to: int) -> None:
        if to > self._reported and self._follower is not None:
            self._reported = to
            self._follower.lost(to)

    def _tell_renewed(self, log: Log) -> None:
        if self._follower is not None:
            self._reported = log.head
            self._follower.renewed(log)

    def _tell_stalled(self, since: float | None) -> None:
        if self._follower is not None:
            self._follower.stalled(since)

    def _called(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1
        if name in self.fails:
            raise OSError(f"{name} fails")


class ArchivedStore(ScriptedStore):
    """A `ScriptedStore` whose log can be read from any place.

    Attributes:
        scan: entries that one page looks at; the page then ends, whatever it has found.
        reading: called before each page is read, with the page's arguments: a test trims or publishes here.
    """

    scan = 10_000

    def __init__(self, *, stride: int = 1, first: int = 1, keys: int = 100) -> None:
        super().__init__(stride=stride, first=first, keys=keys)
        self.reading: Callable[[int, int], object] | None = None

    async def read(self, topics: tuple[str, ...], after: int, before: int, limit: int) -> Page:
        self._called("read")
        await asyncio.sleep(0)
        if self.reading is not None:
            self.reading(after, before)
        if self._away:
            raise OSError("the engine cannot be reached")
        found: list[Entry] = []
        size, end = 0, max(after, before - 1)
        for looked, entry in enumerate(self._between(after, before), 1):
            if not set(topics).isdisjoint(entry.topics):
                found.append(entry)
                size += len(entry.block)
            if size >= limit or looked >= self.scan:
                end = entry.position
                break
        return Page(found, end, self.gone, self.epoch)

    def _between(self, after: int, before: int) -> Iterator[Entry]:
        start = bisect_right(self.log, after, key=_position)
        stop = bisect_left(self.log, before, key=_position)
        return (self.log[index] for index in range(start, stop))


_position = attrgetter("position")


class Recorder:
    """A follower that writes down what it is told.

    Attributes:
        entries: the entries, as they came.
        news: everything, as pairs of a verb and a value; of an entry its position.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.news: list[tuple[str, object]] = []

    async def until(self, done: Callable[[Recorder], object]) -> None:
        """Wait until something is true of this recorder: a store may report after `append` has returned."""
        async with asyncio.timeout(DEADLINE):
            while not done(self):
                await asyncio.sleep(0.002)

    async def told(self, count: int) -> list[Entry]:
        """Wait for so many entries, and return them."""
        await self.until(lambda told: len(told.entries) >= count)
        return self.entries

    def entry(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.news.append(("entry", entry.position))

    def lost(self, to: int) -> None:
        self.news.append(("lost", to))

    def renewed(self, log: Log) -> None:
        self.news.append(("renewed", log))

    def stalled(self, since: float | None) -> None:
        self.news.append(("stalled", since is not None))
