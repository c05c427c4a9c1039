"""The blocks that a stream must be sent, by a walk over everything that was ever published.

`Wanted` knows what a stream asks for, and nothing of what it was sent: from any place it lists the blocks that follow.
The hub has history, holes and pages for that. The lists here come from one rule each, and from the whole log:

- an event that is kept for one of the stream's topics is sent, in order;
- what a topic no longer keeps is named by a gap, and so is what the store has lost;
- with an archive, what the store still has is sent, and only what it has not is named by a gap.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from support.ledger import Block, Event, Gap, Log, Step

__all__ = ["Join", "Wanted", "gap_block", "joined"]

Join = list[Step]


class Wanted:
    """The blocks that one stream is to get.

    Args:
        log: the events, all of them.
        topics: what the stream follows, sorted.
        labels: whether its blocks name their topics.
        accepts: its filter.
        policy: what the hub does when the stream is too slow.

    Attributes:
        told: floors that the stream need not be told of.
        opening: it has never had everything, so a gap is called "trimmed".
        consumer: it is a subscription in the hub's process, whose gaps are always called so.
    """

    def __init__(
        self,
        log: Log,
        topics: tuple[str, ...],
        labels: bool,
        accepts: Callable[[str], bool] | None,
        policy: str,
    ) -> None:
        self.log = log
        self.topics = topics
        self.labels = labels
        self.accepts = accepts
        self.policy = policy
        self.told: dict[str, int] = {}
        self.opening = True
        self.consumer = False

    def takes(self, event: Event) -> bool:
        """Return True when the stream is to get this event."""
        if not any(topic in self.topics for topic in event.topics):
            return False
        return self.accepts is None or event.end or self.accepts(event.data)

    def all_after(self, place: int) -> list[Step]:
        """List every event after a place: a live stream gets it before it can be trimmed."""
        events = [self._step(e) for e in self.log.had() if e.position > place and self.takes(e)]
        return sorted([*events, *self._lost_later(place, {}, self.log.losses)], key=_place)

    def before_next(self, place: int) -> int:
        """Find the place just before the next block that is due: the filter has hidden the events up to there."""
        due = [e for e in self.log.everything() if e.position > place and self.takes(e)]
        lost = [after for after, to in self.log.losses if to > place]
        return max(place, min([self.log.head, *(event.position - 1 for event in due), *lost]))

    def replay(self, place: int, told: dict[str, int]) -> list[Join]:
        """List what a stream at a place gets: from the archive, while that has more than the history, then the rest."""
        joins: list[Join] = []
        while self.log.archive is not None and (end := self._gone(place, told)):
            joins += _pages(self._archived(place, end, told))
            told = told | {t: max(end, told.get(t, 0)) for t in self.topics}
            place = end
        return [*joins, *joined(self.kept(place, told))]

    def _gone(self, place: int, told: dict[str, int]) -> int:
        """Find the position up to which the history has not everything; 0 when it has."""
        hole = max([to for _, to in self.log.holes], default=0)
        ends = {topic: max(self.log.floor(topic), hole) for topic in self.topics}
        return max((e for t, e in ends.items() if e > max(place, told.get(t, 0))), default=0)

    def _archived(self, place: int, end: int, told: dict[str, int]) -> list[Step]:
        """List what the archive has after a place, and first the gap of what it has not."""
        assert self.log.archive is not None
        gone, stored = self.log.archive()
        steps: list[Step] = []
        if (cut := self.log.place(min(end, gone))) > place:
            topics = [topic for topic in self.topics if told.get(topic, 0) < cut]
            if topics:
                steps.append(self._gap_step(place, cut, "trimmed", topics, cut))
            place = cut
        for event in stored:
            news = any(t in self.topics and told.get(t, 0) < event.position for t in event.topics)
            if news and place < event.position <= end:
                step = self._step(event)
                steps.append(step if self.takes(event) else step._replace(hidden=True))
        return steps

    def kept(self, place: int, told: dict[str, int]) -> list[Step]:
        """List what the history has: first the gaps, then the events, and the holes between them."""
        kept = [event for event in self.log.kept(self.topics) if event.position > place]
        events = [self._step(event) for event in kept if self.takes(event)]
        known = {t: max(self.log.floor(t), told.get(t, 0)) for t in self.topics}
        later = sorted([*events, *self._lost_later(place, known, self.log.holes)], key=_place)
        return [*self._lost(place, told), *later]

    def _lost_later(
        self, place: int, known: dict[str, int], lost: Sequence[tuple[int, int]]
    ) -> list[Step]:
        """List the gaps of what is lost after a place, each for the topics whose floor lies before it."""
        steps: list[Step] = []
        for after, to in lost:
            topics = [topic for topic in self.topics if max(place, known.get(topic, 0)) < to]
            if topics:
                start = max(place, after)
                steps.append(self._gap_step(start, to, "lost", topics, to))
        return steps

    def _lost(self, place: int, told: dict[str, int]) -> list[Step]:
        """List the gaps, one for each piece that is gone; the last one moves the stream to what is kept."""
        log = self.log
        pieces: dict[tuple[int, int], list[str]] = {}
        for topic in self.topics:
            known, floor = max(place, told.get(topic, 0)), log.floor(topic)
            if floor > known:
                pieces.setdefault((known, floor), []).append(topic)
        reason = "trimmed" if self.opening or self.consumer else "slow"
        steps: list[Step] = []
        for number, ((known, floor), topics) in enumerate(sorted(pieces.items()), 1):
            then = self.next_kept(place) if number == len(pieces) else place
            steps.append(self._gap_step(known, floor, reason, topics, then))
        return steps

    def next_kept(self, place: int) -> int:
        """Find the place just before the next event that is kept, or the next hole."""
        holes = [max(place, after) for after, to in self.log.holes if to > place]
        return min([self.log.before_first(self.topics, place), *holes])

    def skipped(self, place: int, told: dict[str, int], *, always: bool = False) -> list[Join]:
        """List what a stream gets that is skipped ahead; what it would get anyway when it would miss nothing.

        Args:
            always: it misses something before the first event that it gets.
        """
        newest = [e for e in self._newest() if e.position > place and self.takes(e)]
        if self.policy != "latest":
            newest = [event for event in newest if event.end]
        kept = self.kept(place, told)
        steps: list[Step] = []
        start = place
        for event in [*newest, None]:
            end = self.log.head if event is None else event.position - 1
            if (always and not steps) or any(_is_within(step, start, end) for step in kept):
                steps.append(self._gap_step(start, end, "slow", self.topics, end))
            if event is not None:
                steps.append(self._step(event))
                start = event.position
        missed = any(step.gap is not None for step in steps)
        return [steps] if missed else self.replay(place, told)

    def _newest(self) -> list[Event]:
        """List the newest event of each topic that keeps any, in order."""
        found = set()
        for topic in self.topics:
            floor = self.log.floor(topic)
            mine = [e for e in self.log.had() if topic in e.topics and e.position > floor]
            found.update(mine[-1:])
        return sorted(found)

    # Blocks.

    def _step(self, event: Event) -> Step:
        label = None
        if self.labels:
            followed = [topic for topic in event.topics if topic in self.topics]
            label = "topics " + json.dumps(followed, separators=(",", ":"))
        block = Block(
            event.data, "end" if event.end else None, self.log.id(event.position), None, label
        )
        return Step(block, event.position, event)

    def _gap_step(self, after: int, to: int, reason: str, topics: Sequence[str], then: int) -> Step:
        log = self.log
        block = gap_block(log.id(after), log.id(to), reason, topics, log.id(then))
        return Step(block, then, None, Gap(after, dict.fromkeys(topics, to)))


def gap_block(after: str, to: str, reason: str, topics: Sequence[str], id: str | None) -> Block:
    """Write the event that tells of a gap."""
    data = {"from": after, "to": to, "reason": reason, "topics": topics}
    return Block(json.dumps(data, separators=(",", ":")), "gap", id)


def _is_within(step: Step, start: int, end: int) -> bool:
    """Return True when a step is an event of a range, or a gap of which a part lies in it."""
    if step.gap is not None:
        return max(start, step.gap.after) < min(end, max(step.gap.ends.values()))
    return start < step.place <= end


def _place(step: Step) -> int:
    return step.place


def joined(steps: list[Step]) -> list[Join]:
    """Put steps together as they are sent: small events join, a large one stands alone."""
    joins: list[Join] = []
    for step in steps:
        if joins and not step.alone and not joins[-1][-1].alone:
            joins[-1].append(step)
        else:
            joins.append([step])
    return joins


def _pages(steps: list[Step]) -> list[Join]:
    """Put steps together as pages of an archive: each ends after an event that is large, also when it is hidden."""
    pages: list[Join] = [[]]
    for step in steps:
        pages[-1].append(step)
        if step.alone:
            pages.append([])
    shown = [[step for step in page if not step.hidden] for page in pages]
    return [page for page in shown if page]
