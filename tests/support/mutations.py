"""Faults that are put into the hub on purpose: each must be found by the model test.

A `Mutation` names one function and a piece of its source. `applied` compiles the function anew with another piece in
its place, for as long as the block lasts, so nothing on disk changes. A piece that is no longer there raises: whoever
rewrites that function looks for the new place of the fault.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import initialize, run_state_machine_as_test
from support.machine import CONFIGS, HubMachine
from support.world import Config, World

__all__ = ["MUTATIONS", "Mutation", "applied", "examples_until_found"]

EXAMPLES = 2000  # after which a fault counts as not found
STEPS = 50  # at most, in one example


class Mutation(NamedTuple):
    """One fault.

    Attributes:
        name: what is wrong then.
        place: the module within the package and the function in it, as ``hub.past:Past.let_go``.
        old, new: the piece of source, and the piece in its place.
        config: values of `Config` without which the fault can hardly show.
        package: where the place is; the hub's by default.
    """

    name: str
    place: str
    old: str
    new: str
    config: Mapping[str, Any] = MappingProxyType({})
    package: str = "fastsse.broadcast"


_IN_MEMORY = {"scripted": False, "archived": False}
_SCRIPTED = {"scripted": True, "archived": False, "coalesce": 0.0, "stride": 1}

MUTATIONS = [
    Mutation(
        "a floor is one less than the last event that went",
        "hub.past:Past.let_go",
        "self.floor = record.position",
        "self.floor = record.position - 1",
    ),
    Mutation(
        "a gap of one event is not told",
        "hub.history:History.since",
        "if floor > known:",
        "if floor > known + 1:",
    ),
    Mutation(
        "the gaps that a reader knows of are told again",
        "hub.history:History.since",
        "known = after if told is None else max(after, told.get(topic, 0))",
        "known = after",
    ),
    Mutation(
        "a replay leaves out the event right after the reader's place",
        "hub.past:Past.first_after",
        "bisect_right(self.records, after,",
        "bisect_right(self.records, after + 1,",
    ),
    Mutation(
        "an event of two topics is replayed twice",
        "hub.history:_once",
        "if record.position != last:",
        "if record is not None:",
    ),
    Mutation(
        "after a gap the reader stands where it stood",
        "hub.history:History._lost_before",
        "gaps[-1].place = place",
        "gaps[-1].place = after",
    ),
    Mutation(
        "an entry that the store repeats is sent again",
        "hub.follower:Reports.entry",
        "if position <= self._history.head:",
        "if position < self._history.head:",
    ),
    Mutation(
        "what the store lost leaves no hole for those who come later",
        "hub.history:History.lost",
        "self._holes.append(_Hole(after, to))",
        "pass",
        config=_SCRIPTED,
    ),
    Mutation(
        "what the store lost is not told to open streams",
        "hub.follower:Reports.lost",
        "if after < end:",
        "if end < after:",
        config=_SCRIPTED,
    ),
    Mutation(
        "a new log keeps the history of the old one",
        "hub.history:History.renew",
        "self._drop_up_to(position)",
        "pass",
    ),
    Mutation(
        "a page of the archive leaves out its last entry",
        "hub.archive:Archivist.take",
        "eras.number(end) + 1, PAGE",
        "eras.number(end), PAGE",
    ),
    Mutation(
        "one event that is gone from the archive is not told",
        "hub.archive:Archivist._join",
        "if gone > at:",
        "if gone > at + 1:",
        config={"archived": True},
    ),
    Mutation(
        "a gap before a latest event names that event, too",
        "hub.joins:JoinMaker._skip",
        "else record.position - 1",
        "else record.position",
        config={"policy": "latest", "lag_events": 1, "scripted": False, "archived": False},
    ),
    Mutation(
        "a live stream goes on after the end of its topics",
        "hub.follower:Reports.entry",
        "self._fanout.note_end(record.topics)",
        "pass",
        config=_IN_MEMORY,
    ),
    Mutation(
        "a stream that was late goes on after the end of its topics",
        "hub.sending:Sender.send_all",
        "elif self._joins.is_over(subscriber.audience):",
        "elif False:",
        config=_IN_MEMORY,
    ),
    Mutation(
        "a stream ends with the first of its topics",
        "hub.ends:Ends.last",
        "return 0",
        "continue",
        config=_IN_MEMORY,
    ),
    Mutation(
        "an end that two processes have written is told twice",
        "hub.follower:Reports.entry",
        "if record.ends and self._history.ends.last(entry.topics):",
        "if False:",
        config=_SCRIPTED,
    ),
    Mutation(
        "an event after the end does not open its topic again",
        "hub.history:History.append",
        "ends.reopen(topic)",
        "pass",
        config=_SCRIPTED,
    ),
    Mutation(
        "a filter hides the end",
        "hub.audiences:Audience.takes",
        "if self.filter is None or record.ends:",
        "if self.filter is None:",
        config=_IN_MEMORY,
    ),
    Mutation(
        "a reader that is skipped ahead misses the end",
        "hub.joins:JoinMaker._newest",
        "[record for record in latest if record.ends]",
        "[]",
        config={"policy": "skip", "lag_events": 1, "scripted": False, "archived": False},
    ),
    Mutation(
        "a reader that comes after the end does not hear of it",
        "hub.places:Places.opening",
        'self._open_at("new", end - 1, told)',
        'self._open_at("new", end, told)',
        config=_IN_MEMORY,
    ),
    Mutation(
        "a reader that has missed the end alone is sent away",
        "hub.places:Places.nothing_left",
        "if after >= end:",
        "if after >= end - 1:",
        config=_IN_MEMORY,
    ),
    Mutation(
        "a reader that has the end is let in again",
        "hub.places:Places.nothing_left",
        "if after >= end:",
        "if after > end:",
        config={"archived": True},
    ),
    Mutation(
        "a new log has the ends of the old one",
        "hub.history:History.renew",
        "self.ends.clear()",
        "pass",
        config=_SCRIPTED,
    ),
    Mutation(
        "an event is published to a topic that has ended",
        "hub.fanout:Fanout.ended_of",
        "if topic in ending or ends.of(topic):",
        "if topic in ending:",
        config=_IN_MEMORY,
    ),
    Mutation(
        "an event is published to a topic whose end is on its way",
        "hub.fanout:Fanout.ended_of",
        "if topic in ending or ends.of(topic):",
        "if ends.of(topic):",
        config=_SCRIPTED,
    ),
]


@contextmanager
def applied(mutation: Mutation) -> Iterator[None]:
    """Put a fault into the hub while the block runs."""
    owner, name = _find(mutation.package, mutation.place)
    right = inspect.getattr_static(owner, name)
    source = textwrap.dedent(inspect.getsource(right))
    if source.count(mutation.old) != 1:
        raise LookupError(f"{mutation.place} has {mutation.old!r} not exactly once")
    namespace = right.__globals__
    before = namespace.get(name)
    exec(  # the rest of the module as it is, but for this one function
        compile(
            "from __future__ import annotations\n" + source.replace(mutation.old, mutation.new),
            mutation.place,
            "exec",
        ),
        namespace,
    )
    wrong = namespace[name]
    if before is None:
        del namespace[name]
    else:
        namespace[name] = before
    setattr(owner, name, wrong)
    try:
        yield
    finally:
        setattr(owner, name, right)


def _find(package: str, place: str) -> tuple[Any, str]:
    """Find the module or class that holds a function, and the function's name in it."""
    module, _, path = place.partition(":")
    *classes, name = path.split(".")
    owner: Any = import_module(f"{package}.{module}")
    for part in classes:
        owner = getattr(owner, part)
    return owner, name


def examples_until_found(mutation: Mutation, seed: int = 2) -> int | None:
    """Return the number of examples until the model disagrees with a faulty hub; None when it never does."""
    found: list[int] = []

    class Counted(HubMachine):
        _hypothesis_internal_use_seed = seed

        def __init__(self) -> None:
            found.append(len(found) + 1)
            super().__init__()

        @initialize(config=CONFIGS.map(lambda config: config._replace(**mutation.config)))
        def begin(self, config: Config) -> None:
            self.world = World(config)

    wanted = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    with applied(mutation):
        try:
            run_state_machine_as_test(Counted, settings=wanted)
        except Exception:  # a disagreement, or the fault has shown itself
            return len(found) - 1  # the last one is the same example again
    return None
