"""The bounded recent past: one list per topic, one sequence of positions over all of them.

It knows positions, topics and bytes; it must not know subscribers, sockets or ids on the wire. A topic remembers
the position of the last frame that it let go, its *floor*: whoever asks for what came after a place before the floor
has a gap there, exactly. Everything is linear in what is returned, and a look-up is a binary search.

Bounds (see `Settings`): frames and bytes per topic, bytes over all topics, number of topics. A topic that is
forgotten leaves its floor to all unknown topics: their readers may then be told of a gap that was none, never the
other way round.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import merge
from itertools import chain
from operator import attrgetter

from fastsse import Event, decode

__all__ = ["Frame", "History", "Lost"]

_OBJECTS = 160  # bytes that a kept frame costs beside its block: the object, its list slot, the bytes header
_COMPACT = 64  # let-go slots at a list's front before it is copied

_position = attrgetter("position")


class Frame:
    """An event as it is sent and kept: made once, shared by every subscriber.

    Attributes:
        position: its place in the log.
        topics: what it was published to.
        block: its block, id included.
    """

    __slots__ = ("_event", "block", "position", "topics")

    def __init__(self, position: int, topics: tuple[str, ...], block: bytes) -> None:
        self.position = position
        self.topics = topics
        self.block = block
        self._event: Event | None = None

    @property
    def event(self) -> Event:
        """The block as its readers will see it; read once, and only for those who ask."""
        if self._event is None:
            [self._event] = decode(self.block)
        return self._event


class Lost:
    """A gap: events of `topics` behind `after` and up to `position` are no longer kept.

    It comes before the frames that are kept, because whoever is cut off behind one of those comes back with its id,
    and what was lost before that place would never be told.

    Attributes:
        place: where a reader stands who was told of this gap, and so of every one before it.
    """

    __slots__ = ("after", "place", "position", "topics")

    def __init__(self, after: int, position: int, topics: tuple[str, ...], place: int) -> None:
        self.after = after
        self.position = position
        self.topics = topics
        self.place = place


class _Past:
    """One topic's kept frames: `frames[start:]`, oldest first; before `start` the list holds nothing any more."""

    __slots__ = ("floor", "frames", "most_events", "most_size", "size", "start")

    def __init__(self, floor: int, most_events: int, most_size: int) -> None:
        self.most_events = most_events
        self.most_size = most_size
        self.frames: list[Frame | None] = []
        self.start = 0
        self.size = 0  # bytes, by _cost
        self.floor = floor  # position of the last frame that was let go

    def __len__(self) -> int:
        return len(self.frames) - self.start

    def let_go(self) -> int:
        """Drop the oldest frame; the bytes that this gave back."""
        frame = self.frames[self.start]
        assert frame is not None
        self.frames[self.start] = None
        self.start += 1
        self.floor = frame.position
        cost = _cost(frame)
        self.size -= cost
        if self.start >= _COMPACT and self.start * 2 >= len(self.frames):
            del self.frames[: self.start]
            self.start = 0
        return cost

    def first_behind(self, after: int) -> int:
        """Index of the first kept frame whose position is behind `after`."""
        return bisect_right(self.frames, after, lo=self.start, key=_position)

    def behind(self, after: int) -> Iterator[Frame]:
        frames = self.frames
        for index in range(self.first_behind(after), len(frames)):
            frame = frames[index]
            assert frame is not None
            yield frame


def _cost(frame: Frame) -> int:
    return len(frame.block) + _OBJECTS


class History:
    """What can be replayed.

    Args:
        kept: frames and bytes kept of a topic, by its name; a frame's objects count in, and the newest frame
            stays whatever its size.
        total: bytes kept over all topics.
        topics: topics that have a history; beyond, the least recently published one is forgotten.
    """

    def __init__(self, *, kept: Callable[[str], tuple[int, int]], total: int, topics: int) -> None:
        self._kept = kept
        self._total = total
        self._max_topics = topics
        self._past: OrderedDict[str, _Past] = OrderedDict()  # least recently published first
        self._forgotten = 0  # the floor of every topic that is not in _past
        self.head = 0  # position of the newest frame of any topic
        self.size = 0  # bytes kept over all topics

    @property
    def topics(self) -> int:
        """How many topics have a history."""
        return len(self._past)

    def append(self, frame: Frame) -> None:
        """Keep a frame; positions only grow."""
        self.head = frame.position
        for topic in frame.topics:
            past = self._past.get(topic)
            if past is None:
                events, size = self._kept(topic)
                past = self._past[topic] = _Past(self._forgotten, events, min(size, self._total))
            else:
                self._past.move_to_end(topic)
            past.frames.append(frame)
            cost = _cost(frame)
            past.size += cost
            self.size += cost
            while len(past) > past.most_events or (past.size > past.most_size and len(past) > 1):
                self.size -= past.let_go()
        while len(self._past) > self._max_topics or (
            self.size > self._total and len(self._past) > 1
        ):
            self._forget()

    def _forget(self) -> None:
        _, past = self._past.popitem(last=False)
        self.size -= past.size
        last = past.frames[-1] if len(past) else None
        self._forgotten = max(self._forgotten, past.floor if last is None else last.position)

    def since(
        self, topics: tuple[str, ...], after: int, told: dict[str, int] | None = None
    ) -> Iterator[Frame | Lost]:
        """What `topics` have behind `after`, in order; before it, a `Lost` for each piece that is gone.

        Lazy: take what you need and drop the rest before the next `append`.

        Args:
            told: floors that the reader knows of already, by topic.
        """
        lost: dict[tuple[int, int], list[str]] = {}
        kept: list[Iterator[Frame]] = []
        for topic in topics:
            past = self._past.get(topic)
            floor = self._forgotten if past is None else past.floor
            known = after if told is None else max(after, told.get(topic, 0))
            if floor > known:
                lost.setdefault((known, floor), []).append(topic)
            if past is not None and len(past):
                kept.append(past.behind(after))
        frames = kept[0] if len(kept) == 1 else _once(merge(*kept, key=_position))
        return chain(self._gaps(lost, topics, after), frames) if lost else frames

    def _gaps(
        self, lost: dict[tuple[int, int], list[str]], topics: tuple[str, ...], after: int
    ) -> list[Lost]:
        """The gaps, of which only the last moves the reader: up to the next frame that is kept."""
        gaps = [
            Lost(known, floor, tuple(names), after)
            for (known, floor), names in sorted(lost.items())
        ]
        gaps[-1].place = self.before_first(topics, after)
        return gaps

    def floors(self, topics: tuple[str, ...]) -> dict[str, int]:
        """The position of the last frame that each topic let go."""
        past = self._past
        return {t: past[t].floor if t in past else self._forgotten for t in topics}

    def before_first(self, topics: tuple[str, ...], after: int = 0) -> int:
        """The place just before the first frame of `topics` that is kept behind `after`; else the head."""
        first = self.head + 1
        for topic in topics:
            past = self._past.get(topic)
            if past is None:
                continue
            index = past.first_behind(after)
            if index < len(past.frames):
                frame = past.frames[index]
                assert frame is not None
                first = min(first, frame.position)
        return first - 1

    def latest(self, topics: tuple[str, ...]) -> list[Frame]:
        """The newest kept frame of each topic, in order, none twice."""
        newest: dict[int, Frame] = {}
        for topic in topics:
            past = self._past.get(topic)
            if past is not None and len(past):
                frame = past.frames[-1]
                assert frame is not None
                newest[frame.position] = frame
        return [newest[position] for position in sorted(newest)]


def _once(frames: Iterator[Frame]) -> Iterator[Frame]:
    """A frame of several topics comes once."""
    last = -1
    for frame in frames:
        if frame.position != last:
            last = frame.position
            yield frame
