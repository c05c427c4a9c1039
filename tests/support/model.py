"""A naive model of the hub: which blocks each stream must be sent, from a log that keeps every event.

The hub and the model have no code and no shortcut in common, so where they agree, both are very likely right. A
`Follower` is the model's view of one stream. The model passes two independent judgements on what the stream was sent:

- the *plan*: the exact blocks that must come next, from the place where the stream stands and from what is kept now;
- the *ledger*: whatever the plan says, each event was sent once, or named by a gap (`support.ledger`).

The model knows topics, positions and blocks; it must not know the hub, connections or event loops.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from support.ledger import Block, Disagreement, Gap, Ledger, Log, Step
from support.plan import Join, Wanted, gap_block, joined

__all__ = ["Follower"]

_SHOWN = 256  # characters of a last event ID that a gap repeats


class Follower(Wanted):
    """One stream, as the model sees it.

    Args:
        log, topics, labels, accepts, policy: as for `Wanted`.
        pumped: the pump sends it what is pending; otherwise it takes from the history.
        consumer: it is a subscription in the hub's process, and has no connection.

    Attributes:
        low, high: the place of the last block that was sent, and the head when it last had everything. The hub may
            take either for its position: between the two nothing was to be sent.
        rest: what is left of a join whose first bytes were sent: it comes whatever is trimmed meanwhile.
        live: it had everything when it was last looked at, and its last send finished.
        skip: True, False, or None for "cannot be known": the hub is to skip it ahead when it can be sent to.
        in_flight: events among the blocks that were sent last.
        blurred: gaps were told since it was live, so the hub's count of how far it is behind may differ.
        floating: the stream begins at the first event of an archive, wherever the hub believes that to be.
        ended: it is a subscription of a hub that has stopped, for which no page is read.
        before: the log that the stream stood in when the store began another one, with `low`, `high`, `told` of then;
            None when it was told of that.
    """

    def __init__(
        self,
        log: Log,
        topics: tuple[str, ...],
        *,
        labels: bool = False,
        accepts: Callable[[str], bool] | None = None,
        policy: str = "end",
        pumped: bool = True,
        consumer: bool = False,
    ) -> None:
        super().__init__(log, topics, labels, accepts, policy)
        self.pumped = pumped
        self.consumer = consumer
        self.low = self.high = 0
        self.rest: Join = []
        self.live = False
        self.skip: bool | None = False
        self.blurred = False
        self.in_flight = 0
        self.floating = False
        self.ended = False
        self.before: tuple[Log, int, int, dict[str, int]] | None = None
        self.ledger = Ledger(log, topics, self.takes)

    # The opening.

    def open(self, last: str | None, opening: Block) -> Join:
        """Say how the stream begins: the last event ID decides the place, which goes into the first block."""
        log = self.log
        if not last:
            if end := log.over(self.topics):
                if log.archive is None:
                    self.told = {topic: log.floor(topic) for topic in self.topics}
                    if not any(event.position >= end for event in log.kept(self.topics)):
                        return self._begin(end, opening)  # not even the end is kept
                return self._begin(end - 1, opening)
            return self._begin(log.head, opening)
        if last == "earliest":
            return self._begin_earliest(opening)
        epoch, dash, number = last.rpartition("-")
        readable = bool(dash) and last.isascii() and number.isdigit()
        if readable and epoch != log.epoch:
            return self._begin_anew(last, "restart", opening)
        if not readable or int(number) > log.head:
            return self._begin_anew(last, "unknown", opening)
        if int(number) < log.first:
            return self._begin_anew(last, "trimmed", opening)
        return self._begin(int(number), opening)

    def nothing_left(self, last: str | None) -> bool:
        """Return True when all topics have ended, and nothing is left for a reader that comes back with this ID."""
        log = self.log
        end = log.over(self.topics)
        epoch, _, number = (last or "").rpartition("-")
        known = epoch == log.epoch and number.isdigit() and log.first <= int(number) <= log.head
        place = end - 1 if not last else int(number) if known else 0
        if not end or place >= end:
            return bool(end)
        if log.archive is not None and (known or last in (None, "", "earliest")):
            return False
        return not any(event.position > place for event in log.kept(self.topics))

    def _begin(self, place: int, opening: Block, unasked: Gap | None = None) -> Join:
        place = self.log.place(place)
        self.low = self.high = place
        self.ledger.begin(place, unasked=unasked)
        return [Step(opening._replace(id=self.log.id(place)), place)]

    def _begin_earliest(self, opening: Block) -> Join:
        """Say how a stream begins from the earliest event: it is told of nothing that was gone before."""
        log = self.log
        if log.archive is None:
            self.told = {topic: log.floor(topic) for topic in self.topics}
            return self._begin(log.before_first(self.topics), opening, Gap(0, self.told))
        gone = max(log.first, log.archive()[0])
        join = self._begin(log.first, opening, Gap(0, dict.fromkeys(self.topics, gone)))
        self.high, self.floating = gone, True
        return join

    def _begin_anew(self, last: str, reason: str, opening: Block) -> Join:
        """Say how a stream begins whose last event ID belongs to another log: with a gap, then all that is kept."""
        log = self.log
        place = log.before_first(self.topics)
        self.told = {topic: log.floor(topic) for topic in self.topics}
        ends = {topic: max(place, floor) for topic, floor in self.told.items()}
        self.low = self.high = place
        self.ledger.begin(0, Gap(0, ends))
        steps = [Step(opening, 0)]
        for end in sorted({*ends.values()}):
            topics = [topic for topic in self.topics if ends[topic] == end]
            # The others have no id: who is cut off after one comes back the same.
            moves = end == max(ends.values())
            then = log.id(place) if moves else None
            block = gap_block(last[:_SHOWN], log.id(end), reason, topics, then)
            steps.append(Step(block, place if moves else 0))
        return steps

    def _land(self, seen: Sequence[Block]) -> None:
        """Take the place that the opening block names, where the model knows only about where it must be."""
        if self.consumer or not seen:
            return
        self.floating = False
        log, low, high = self.before[:3] if self.before else (self.log, self.low, self.high)
        epoch, _, number = (seen[0].id or "").rpartition("-")
        if epoch != log.epoch or not low <= int(number) <= high:
            return
        if self.before:
            self.before = log, int(number), int(number), self.before[3]
        else:
            self.low = self.high = int(number)
        self.rest = [Step(self.rest[0].block._replace(id=seen[0].id), self.low)]

    def renewed(self, log: Log) -> None:
        """Note that the store has begun another log: what the stream had not got of the old one is gone."""
        for step in self.rest:
            self.ledger.note(step)
        if self.before is None:
            low, high = self._range()
            self.before = self.log, low, high, self._told_with(self.rest)
        self.log = log
        self.rest = [Step(step.block, log.start) for step in self.rest]
        self.low = self.high = log.start
        self.told = {}
        self.blurred = True
        self.ledger = Ledger(log, self.topics, self.takes)
        self.ledger.begin(log.start)

    # The plan.

    def plans(self, seen: Sequence[Block]) -> list[list[Join]]:
        """List what may come next, most likely first.

        More than one answer is right where the hub's position cannot be known from outside: a gap may begin at the
        last id that was sent, or at the head at which the stream last had everything.
        """
        if self.floating:
            self._land(seen)
        first = [self.rest] if self.rest else []
        if self.before is not None:
            return [[*first, *plan] for plan in self._plans_after_renewal(seen)]
        told = self._told_with(self.rest)
        found: list[list[Join]] = []
        for place in self._places(seen):
            if self.skip is not False:
                found.append([*first, *self.skipped(place, told)])
            if self.skip is None:
                found += [[*first, *plan] for plan in self._skipped_after_some(place, told)]
            if self.skip is not True:
                if self.live and self.pumped:
                    found.append([*first, *joined(self.all_after(place))])
                found.append([*first, *self.replay(place, told)])
            if self.ended:
                found.append([*first, *joined(self.kept(place, told))])
        return [plan for plan in found if not (self.live and self._tells_too_much(plan))]

    def _skipped_after_some(self, place: int, told: dict[str, int]) -> list[list[Join]]:
        """List what may come when the stream is skipped ahead while it is sent what was pending."""
        live = joined(self.all_after(place)) if self.live and self.pumped else []
        found: list[list[Join]] = []
        for joins in (live, self.replay(place, told)):
            for count in range(1, len(joins)):
                begun = [step for join in joins[:count] for step in join]
                after = self.skipped(begun[-1].place, self._told_with([*self.rest, *begun]))
                found.append([*joins[:count], *after])
        return found

    def _tells_too_much(self, plan: list[Join]) -> bool:
        """Return True when a gap names only events that the filter has hidden: a live stream has passed them."""
        if self.log.archive is not None:  # nobody knows whose events the archive has let go
            return False
        high = self.before_next(self.high)
        gaps = [step.gap for join in plan for step in join if step.gap is not None]
        return any(max(gap.ends.values()) <= high for gap in gaps)

    def _range(self) -> tuple[int, int]:
        """Find the lowest and the highest place at which the stream may stand."""
        low = high = self.rest[-1].place if self.rest else self.low
        if not self.rest or self.floating:
            high = self.high
        if self.live or not self.opening or self.log.archive is not None:
            high = self.before_next(high)
        return low, high

    def _places(self, seen: Sequence[Block]) -> list[int]:
        """List the places at which the stream may stand."""
        low, high = self._range()
        places = [low, *self._gaps_from(seen, self.log, low, high), high]
        if self.floating:  # a consumer is not sent the opening block, which would say
            places += range(low, high)
        return list(dict.fromkeys(map(self.log.place, places)))

    def _plans_after_renewal(self, seen: Sequence[Block]) -> list[list[Join]]:
        """List what may come next in a new log: first the gap that tells of it."""
        assert self.before is not None
        old, low, high, _ = self.before
        log, start = self.log, self.log.start
        found: list[list[Join]] = []
        for place in dict.fromkeys([low, *self._gaps_from(seen, old, low, high), high]):
            if self.skip is not False:
                found.append(self._skipped_after_renewal(old.id(place)))
            if self.skip is True:
                continue
            gap = gap_block(old.id(place), log.id(start), "restart", self.topics, log.id(start))
            told = [Step(gap, start)]
            if self.live and self.pumped:
                found.append(_after(told, joined(self.all_after(start))))
            if log.archive is not None:
                found.append([told, *self.replay(start, {})])
            if self.ended:
                found.append([told, *joined(self.kept(start, {}))])
            floors = {topic: log.floor(topic) for topic in self.topics}
            found.append(joined(self._kept_after_renewal(place, floors)))
        return found

    def _kept_after_renewal(self, place: int, floors: dict[str, int]) -> Join:
        """List what the history has for a stream that stands in an older log: gaps up to the floors, then the rest."""
        then = self.next_kept(self.log.start)
        return [*self._restart_gaps(place, floors, then), *self.kept(self.log.start, floors)]

    def _restart_gaps(self, place: int, ends: dict[str, int], then: int) -> Join:
        """List the gaps from a place in an older log, one for each piece; the last one moves the stream."""
        assert self.before is not None
        old, _, _, told = self.before
        log, start = self.log, self.log.start
        pieces: dict[tuple[int, int], list[str]] = {}
        for topic in self.topics:
            known = max(place, told.get(topic, 0))
            pieces.setdefault((known, ends[topic]), []).append(topic)
        steps: Join = []
        for number, ((known, end), topics) in enumerate(sorted(pieces.items()), 1):
            last = number == len(pieces)
            stand = log.id(then) if last else old.id(place)
            block = gap_block(old.id(known), log.id(end), "restart", topics, stand)
            gap = Gap(start, dict.fromkeys(topics, end))
            steps.append(Step(block, then if last else start, None, gap))
        return steps

    def _skipped_after_renewal(self, after: str) -> list[Join]:
        [[skip, *newest], *_] = self.skipped(self.log.start, {}, always=True)
        data = json.loads(skip.block.data or "")
        block = gap_block(after, data["to"], "slow", self.topics, skip.block.id or "")
        return [[skip._replace(block=block), *newest]]

    def _gaps_from(self, seen: Sequence[Block], log: Log, low: int, high: int) -> list[int]:
        """List the places in a log from which gaps that were seen begin, as far as the stream may stand there."""
        places = []
        for block in seen:
            if block.event == "gap":
                epoch, _, number = json.loads(block.data or "")["from"].rpartition("-")
                if epoch == log.epoch and low <= int(number) <= high:
                    places.append(int(number))
        return places

    # The judgement.

    def judge(self, plans: list[list[Join]], seen: list[Block], torn: bool, blocked: bool) -> None:
        """Hold what was sent against the plans, and move on by the first that fits.

        Args:
            seen: the whole blocks that were sent since the last judgement.
            torn: the first bytes of one more block were sent.
            blocked: the stream has a pending send, or does not take; only then may something be left of the plan.
        """
        for plan in plans:
            steps = [step for join in plan for step in join]
            blocks = [step.block for step in steps[: len(seen)]]
            left = len(steps) - len(seen)
            if torn and not _is_large(plan, len(seen)):
                continue
            if blocks == seen and (left >= torn if blocked else left == 0 and not torn):
                self._move(plan, len(seen), torn, blocked)
                return
        wanted = [[step.block for join in plan for step in join] for plan in plans]
        raise Disagreement(
            f"sent {_short(seen)}{' and a piece' if torn else ''}{' and blocked' if blocked else ''}; "
            f"the model has {' or '.join(map(_short, wanted))}"
        )

    def _move(self, plan: list[Join], count: int, torn: bool, blocked: bool) -> None:
        steps = [step for join in plan for step in join][:count]
        if count > len(self.rest) or not blocked:
            self.skip = False
            self.before = None
        if count:
            self.in_flight = sum(step.event is not None for step in steps)
            self.floating = False
        for step in steps:
            self.ledger.note(step)
            self.low = step.place
            if step.gap is not None:
                self.blurred = True
        self.high = max(self.high, self.low)
        self.told = self._told_with(steps)
        self.rest = self._left_of(plan, count, torn) if blocked else []
        self.live = not blocked
        if not torn and count == sum(map(len, plan)):
            self.high = self.log.head  # where the hub stands if it has looked for more
        if not blocked:
            self.opening = False
            self.blurred = False
            self.ledger.reach(self.log.head)

    def _left_of(self, plan: list[Join], count: int, torn: bool) -> Join:
        """Find what is left of the join in which the stream was blocked, if some of that join has left."""
        for index, join in enumerate(plan):
            if count < len(join) or (count == len(join) and not torn):
                begun = torn or (index == 0 and bool(self.rest)) or (self.consumer and count > 0)
                return join[count:] if begun else []
            count -= len(join)
        return []

    def _told_with(self, steps: list[Step]) -> dict[str, int]:
        """List the floors that the stream knows of after these blocks."""
        told = dict(self.told)
        for step in steps:
            if step.gap is not None:
                told |= {t: max(end, told.get(t, 0)) for t, end in step.gap.ends.items()}
        return told

    def lag(self) -> tuple[int, int]:
        """Count the events that the stream is behind, without and with those of its pending send."""
        behind = sum(event.position > self.low and self.takes(event) for event in self.log.had())
        holes = sum(to > self.low for _, to in self.log.holes)
        return behind, behind + self.in_flight + holes


def _after(first: Join, joins: list[Join]) -> list[Join]:
    """Put blocks before joins, into the first join unless that is one large event."""
    if joins and not joins[0][0].alone:
        return [[*first, *joins[0]], *joins[1:]]
    return [first, *joins]


def _is_large(plan: list[Join], index: int) -> bool:
    """Return True when a block stands in a join that is larger than one message, so that a piece of it may be sent."""
    for join in plan:
        if index < len(join):
            return any(step.alone for step in join[index:])
        index -= len(join)
    return False


def _short(blocks: Sequence[Block]) -> str:
    return "[" + ", ".join(f"{b.id}:{b.event or ''}:{(b.data or '')[:120]}" for b in blocks) + "]"
