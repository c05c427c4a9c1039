"""A store that does on command what engines do, and the model of what the hub is told of it.

`Engine` commands a `ScriptedStore` and does the same to its own two lists: everything that was stored, and the news
that the hub has not been told yet. So the model's log grows by what this module says, never by what the hub has got.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from support.ledger import Event, Log
from support.stores import ArchivedStore, ScriptedStore

from fastsse import decode, encode
from fastsse.broadcast.hub.drafts import write_end

__all__ = ["ArchivedEngine", "Engine"]


class Engine(ScriptedStore):
    """A scripted store with the model beside it.

    Args:
        kept: how many events of a topic the hub keeps.
        stride: how far apart two positions are.

    Attributes:
        known: the model's log: what the hub has been told.
        stored: every event of the present numbering, in order.
        away: the engine cannot be reached.
    """

    def __init__(self, kept: Callable[[str], int], stride: int = 1) -> None:
        super().__init__(stride=stride, keys=10_000)
        self._kept_events = kept
        self.stored: list[Event] = []
        self.away = False
        self.known = self._new_log(0)
        self._news: list[Event | Log | None] = []  # None: whatever is gone is lost
        self._may_tell: int | None = None  # news that may be told while reports are held; None: all

    def _new_log(self, base: int, first: int = 0) -> Log:
        archive = self.readable if isinstance(self, ArchivedStore) else None
        older = [event for event in self.stored if event.position <= base]
        return Log(self.epoch, self._kept_events, base, first=first, older=older, archive=archive)

    def readable(self) -> tuple[int, list[Event]]:
        """Return the position of the last event that is gone, and the events that can be read."""
        return self.gone, [event for event in self.stored if event.position > self.gone]

    def has_ended(self, topic: str) -> bool:
        """Return True when the newest event of a topic is an end, whether the hub knows or not."""
        return any(event.end for event in [e for e in self.stored if topic in e.topics][-1:])

    def ever_ended(self) -> bool:
        """Return True when the present numbering has the end of any topic."""
        return any(event.end for event in self.stored)

    def add(self, topics: str | tuple[str, ...], block: bytes = b"data: x\n\n") -> int:
        """Store an entry, and note it."""
        position = super().add(topics, block)
        names = (topics,) if isinstance(topics, str) else topics
        [event] = decode(block)
        self.stored.append(Event(position, names, event.data, event.event == "end"))
        self._note(self.stored[-1])
        return position

    def add_from_elsewhere(self, topics: Sequence[str], data: str) -> None:
        """Let another process publish."""
        self.add(tuple(sorted(set(topics))), encode(data))

    def end_from_elsewhere(self, topic: str) -> None:
        """Let another process end a topic."""
        self.add(topic, write_end(topic, "failed"))

    def lose(self, to: int) -> None:
        super().lose(to)
        self._note(None)

    def renew_up_to(self, keep: int) -> None:
        """Fail over to a log that holds the present entries up to `keep` only."""
        self._news.clear()
        super().renew(keep=keep)
        self.stored = [event for event in self.stored if event.position <= keep]
        log = self._new_log(self.head, self.gone)
        log.empty = not self.head
        self._note(log)

    def hold(self) -> None:
        super().hold()
        self._may_tell = 0

    def release(self, count: int | None = None) -> None:
        super().release(count)
        self._may_tell = count
        self._tell()

    def stall(self) -> None:
        super().stall()
        self.away = True

    def recover(self) -> None:
        super().recover()
        self.away = False
        self._tell()

    def reopened(self) -> None:
        """Note that the hub was stopped and started: it was told everything that the log holds."""
        self._news.clear()
        if self.known.epoch != self.epoch:
            self.known = self._new_log(0)
        self._lose_up_to(self.gone)
        for event in self.stored:
            if event.position > self.known.head:
                self.known.append(event)

    # The model.

    def _note(self, news: Event | Log | None) -> None:
        self._news.append(news)
        self._tell()

    def _tell(self) -> None:
        while self._news and not self.away and self._may_tell != 0:
            if self._may_tell is not None:
                self._may_tell -= 1
            event = self._news.pop(0)
            if isinstance(event, Log):
                self.known = event
            elif event is not None and event.position <= self.known.head:
                continue  # told as lost already, together with an earlier one
            elif event is None or event.position <= self.gone:
                self._lose_up_to(self.gone)
            else:
                self.known.append(event)

    def _lose_up_to(self, position: int) -> None:
        head = self.known.head
        self.known.lose(position, [e for e in self.stored if head < e.position <= position])


class ArchivedEngine(Engine, ArchivedStore):
    """An engine whose log can be read from any place."""
