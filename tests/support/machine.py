"""A Hypothesis state machine that does everything to a hub that can happen to it.

The machine publishes to several topics, lets readers join with any last event ID, blocks them at any message, lets
them go on, leave and come back, lets time pass, and starts the hub again. `support.world` judges after each step.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from support.ledger import LARGE
from support.readers import Consumer, Reader
from support.world import Config, World

__all__ = ["CONFIGS", "HubMachine"]

VERBS = ("trim", "lose", "renew_up_to")
TOPICS = ("a", "b", "c")
_topics = st.lists(st.sampled_from(TOPICS), min_size=1, max_size=3, unique=True)
_sizes = st.sampled_from([0] * 12 + [LARGE + 9000, 2 * LARGE + 9000])
_batch = st.lists(st.tuples(_topics, _sizes), min_size=1, max_size=6)
_rarely = st.sampled_from([False, False, True])
_room = st.sampled_from([None, None, None, None, 0, 0, 1, 2])
CONFIGS = st.builds(
    Config,
    kept=st.fixed_dictionaries({topic: st.sampled_from([3, 1, 2, 5, 0, 1000]) for topic in TOPICS}),
    steps=st.booleans(),
    awaits=st.booleans(),
    policy=st.sampled_from(["end", "skip", "latest"]),
    lag_events=st.sampled_from([1000, 1, 2, 4]),
    lag_seconds=st.just(30.0),
    heartbeat=st.sampled_from([0.0, 5.0]),
    coalesce=st.sampled_from([0.0, 0.0, 0.5]),
    scripted=st.booleans(),
    archived=st.booleans(),
    stride=st.sampled_from([1, 3]),
)


def _is_even(data: str) -> bool:
    return data.split()[0][-1] in "02468"


_filters = st.sampled_from([None, None, _is_even])


class HubMachine(RuleBasedStateMachine):
    """One hub and its readers."""

    world: World

    @initialize(config=CONFIGS)
    def begin(self, config: Config) -> None:
        self.world = World(config)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    @rule(batch=_batch)
    def publish(self, batch: list[tuple[list[str], int]]) -> None:
        self.world.publish(batch)

    @rule(batch=_batch, topic=st.sampled_from(TOPICS), often=_rarely)
    def publish_and_end(self, batch: list[tuple[list[str], int]], topic: str, often: bool) -> None:
        if often and self._ends_are_known():
            self.world.publish(batch, topic)

    def _ends_are_known(self) -> bool:
        """Return False where a reader in an older log learns of ends by its own way through the archive."""
        return not self.world.config.archived or len(self.world.epochs) == 1

    @rule(topic=st.sampled_from(TOPICS), often=_rarely)
    def end(self, topic: str, often: bool) -> None:
        if often and self._ends_are_known():
            self.world.publish([], topic)

    def _may_publish_again(self) -> bool:
        engine = self.world.engine
        return bool(self.world.published) and not (engine is not None and engine.away)

    @precondition(_may_publish_again)
    @rule(data=st.data())
    def publish_again(self, data: Any) -> None:
        self.world.publish_again(data.draw(st.sampled_from([*self.world.published])))

    @rule(data=st.data(), topics=_topics, room=_room, labels=st.booleans(), accepts=_filters)
    def join(
        self, data: Any, topics: list[str], room: int | None, labels: bool, accepts: Any
    ) -> None:
        self.world.join(topics, self._last_event_id(data), room, labels=labels, accepts=accepts)

    @rule(data=st.data(), topics=_topics, room=_room, accepts=_filters)
    def subscribe(self, data: Any, topics: list[str], room: int | None, accepts: Any) -> None:
        self.world.subscribe(topics, self._last_event_id(data), room, accepts=accepts)

    def _has_ends(self) -> bool:
        return any(event.end for event in self.world.log.had())

    @precondition(_has_ends)
    @rule(data=st.data(), behind=st.integers(0, 1))
    def come_back_after_the_end(self, data: Any, behind: int) -> None:
        """Join an ended topic with the id of its end, or of the entry before."""
        log = self.world.log
        end = data.draw(st.sampled_from([event for event in log.had() if event.end]))
        self.world.join(list(end.topics), log.id(end.position - behind), None)

    def _last_event_id(self, data: Any) -> str | None:
        """Draw what a reader comes back with: nothing, any place of this log or an older one, or nonsense."""
        log, epochs = self.world.log, self.world.epochs
        kinds = [st.sampled_from([None, "", "earliest", "unknown", "é-1"])]
        kinds += [st.integers(0, log.head + 1).map(log.id)] * 4
        if ends := [log.id(event.position) for event in log.had() if event.end]:
            kinds += [st.sampled_from(ends)] * 2
        if len(epochs) > 1:
            kinds.append(st.tuples(st.sampled_from(epochs[:-1]), st.integers(0, 9)).map(_dashed))
        return data.draw(st.one_of(kinds))  # type: ignore[no-any-return]

    def _reader(self, data: Any) -> Reader:
        readers = self.world.readers
        return readers[data.draw(st.integers(0, len(readers) - 1))]

    def _has_readers(self) -> bool:
        return bool(self.world.readers)

    def _has_blocked(self) -> bool:
        return any(reader.blocked for reader in self.world.readers)

    @precondition(_has_readers)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        self.world.leave(self._reader(data))

    @precondition(_has_readers)
    @rule(data=st.data())
    def break_off(self, data: Any) -> None:
        reader = self._reader(data)
        if not isinstance(reader, Consumer):
            self.world.break_off(reader)

    @precondition(_has_readers)
    @rule(data=st.data(), room=st.integers(0, 2))
    def block(self, data: Any, room: int) -> None:
        self.world.block(self._reader(data), room)

    @precondition(_has_readers)
    @rule(data=st.data(), batch=_batch, room=st.integers(0, 2))
    def block_and_publish(self, data: Any, batch: list[tuple[list[str], int]], room: int) -> None:
        self.world.block(self._reader(data), room)
        self.world.publish(batch)

    @precondition(_has_readers)
    @rule(data=st.data(), batch=_batch, seconds=st.sampled_from([0.0, 31.0]))
    def be_slow(self, data: Any, batch: list[tuple[list[str], int]], seconds: float) -> None:
        """Block a reader, publish, let time pass, and let the reader go on."""
        reader = self._reader(data)
        self.world.release(reader, None)
        self.world.block(reader, 0)
        self.world.publish(batch)
        if seconds:
            self.world.pass_time(seconds)
        if reader in self.world.readers:
            self.world.release(reader, None)

    @rule(batch=_batch)
    def publish_more(self, batch: list[tuple[list[str], int]]) -> None:
        self.world.publish(batch)

    @precondition(_has_blocked)
    @rule(data=st.data(), room=_room)
    def unblock(self, data: Any, room: int | None) -> None:
        blocked = [reader for reader in self.world.readers if reader.blocked]
        self.world.release(blocked[data.draw(st.integers(0, len(blocked) - 1))], room)

    def _is_scripted(self) -> bool:
        return self.world.engine is not None

    @precondition(_is_scripted)
    @rule(topics=_topics)
    def publish_elsewhere(self, topics: list[str]) -> None:
        self.world.publish_elsewhere(topics)

    @precondition(_is_scripted)
    @rule(topic=st.sampled_from(TOPICS), often=_rarely)
    def end_elsewhere(self, topic: str, often: bool) -> None:
        if often and self._ends_are_known():
            self.world.end_elsewhere(topic)

    @precondition(_is_scripted)
    @rule(verb=st.sampled_from(["hold", "release", "release", "stall", "recover", "recover"]))
    def hold_up(self, verb: str) -> None:
        if verb == "stall" and self.world.config.archived:
            return  # a stream that cannot be replayed is ended
        self.world.command(verb)

    @precondition(_is_scripted)
    @rule(count=st.integers(1, 3), verb=st.sampled_from(["release", "repeat"]))
    def tell_some(self, verb: str, count: int) -> None:
        self.world.command(verb, count)

    @precondition(_is_scripted)
    @rule(data=st.data(), verb=st.sampled_from(VERBS))
    def shorten(self, verb: str, data: Any) -> None:
        engine = self.world.engine
        assert engine is not None
        if self.world.config.archived and engine.ever_ended() and verb != "trim":
            return  # the hub learns of ends by the way that each reader takes through the archive
        if verb != "renew_up_to" or not self.world.config.coalesce:
            self.world.command(verb, data.draw(st.integers(engine.gone, engine.head)))

    @rule(seconds=st.sampled_from([1.0, 1.0, 6.0, 31.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(data=st.data())
    def restart(self, data: Any) -> None:
        blocked = [reader for reader in self.world.readers if reader.blocked]
        self.world.restart([reader for reader in blocked if data.draw(st.booleans())])


def _dashed(parts: tuple[str, int]) -> str:
    epoch, position = parts
    return f"{epoch}-{position}"
