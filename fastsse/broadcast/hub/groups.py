"""Publishing several events in one step, for one publisher whose events have come together.

    draft    each event is checked, and its block written, by `Publisher.draft`
    append   the store gives them positions in order, and appends none after one that has failed
    receipts of those that are in the log, and the error that has ended the group

The module knows drafts and the store; it must not know requests, or what becomes of a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from fastsse.broadcast.hub.publisher import BURST, Publisher, Receipt
from fastsse.broadcast.stores import Draft, Grouped, KeyReused, Outcome

if TYPE_CHECKING:
    from fastsse.broadcast.hub.fanout import Fanout

__all__ = ["GroupPublisher"]


class GroupPublisher(Publisher):
    """The part of a `Hub` that publishes groups of events."""

    @property
    def takes_groups(self) -> bool:
        """True where `append_group` may be called: the store takes several events in one step."""
        return hasattr(self._store, "append_group")

    async def append_group(
        self, drafts: Sequence[Draft], keys: Sequence[str | None]
    ) -> tuple[list[Receipt], Exception | None]:
        """Append events of one publisher and of the same topics in order, up to the first that fails.

        Args:
            drafts: what `draft` has returned; one at least.
            keys: the key of each, or None.

        Returns:
            The receipts of the events that were published, and the error of the one after them: an `OSError` or
            `KeyReused`; None where all were published.

        Raises:
            TopicEnded, HubClosed, RuntimeError: as `publish`; nothing was published.
        """
        fanout, topics = self._require_here(), drafts[0].topics
        self._check_open(fanout, drafts[0])
        matched = self.audiences.matched(topics)
        fanout.appending += len(drafts)
        began = perf_counter()
        try:
            outcomes = await self._append_all(fanout, drafts, keys)
        finally:
            self.stats.append_latency.observe(perf_counter() - began, len(drafts))
            fanout.appending -= len(drafts)
            if not fanout.open:
                fanout.change()
        positions, error = _until_error(outcomes)
        receipts = [Receipt(fanout.places.entry_id(one), topics, matched) for one in positions]
        self._note_outcome(error)
        fanout.burst += sum(1 + (len(draft.block) >> 14) for draft in drafts)
        if fanout.burst >= BURST:
            await self._give_way(fanout)
        return receipts, error

    async def _append_all(
        self, fanout: Fanout, drafts: Sequence[Draft], keys: Sequence[str | None]
    ) -> list[Outcome]:
        """Give a group to the store; count the events that are new."""
        assert isinstance(self._store, Grouped)
        eras = fanout.places.eras
        epoch, head = eras.epoch, eras.number(fanout.history.head)
        flights = [None if key is None else fanout.keyed.begin(key, epoch, head) for key in keys]
        try:
            outcomes = await self._store.append_group(drafts, keys)
        except OSError as error:
            return [error]
        finally:
            for key in keys:
                if key is not None:
                    fanout.keyed.end(key)
        for flight, outcome in zip(flights, outcomes, strict=True):
            if isinstance(outcome, int) and (
                flight is None or flight.appended(eras.epoch, outcome)
            ):
                self.stats.published += 1
        return outcomes

    def _note_outcome(self, error: OSError | KeyReused | None) -> None:
        """Count the error that has ended a group, if any."""
        if error is None:
            self._failing = False
        elif isinstance(error, KeyReused):
            self.stats.events_refused["key"] += 1
        else:
            self._note_failure(error)


def _until_error(outcomes: Sequence[Outcome]) -> tuple[list[int], OSError | KeyReused | None]:
    """Return the positions before the first error, and that error."""
    positions: list[int] = []
    for outcome in outcomes:
        if not isinstance(outcome, int):
            return positions, outcome
        positions.append(outcome)
    return positions, None
