"""One open event stream, and the only place where its state changes.

A subscriber is a position, a `send` and a state. The events that it has still to get lie in its audience and in the
history, never in a queue of its own.

The module knows positions, totals and who may send; it must not know how events come to be, nor how they are joined.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from fastsse._gate import Bell, Gate
from fastsse.broadcast.hub._pump import Member

if TYPE_CHECKING:
    from fastsse.asgi import Message, Send
    from fastsse.broadcast.hub.audiences import Audience
    from fastsse.broadcast.hub.tally import Tally

__all__ = ["OVER", "State", "Subscriber", "Taker"]


class State(Enum):
    """The sender of a subscriber's messages at this time. `Subscriber` has the table of the transitions."""

    OPENING = "opening"  # its conversation: start, opening block, what the reader has missed
    LIVE = "live"  # the pump
    CARRIED = "carried"  # a task of its own, from a send that did not finish until it has caught up
    SERVED = "served"  # its connection's own task, because no other may call this `send`
    TAKING = "taking"  # nobody: a subscription of this process takes
    ENDING = "ending"  # whoever has the `send`, for the last time: the last block is due
    ENDED = "ended"  # nobody, for good


OVER = (State.ENDING, State.ENDED)
"""The states in which a stream is sent nothing but its last block."""

_UNGRANTED = ("expired", "revoked")  # ends after which the reader may have nothing that comes later
_ENDED = State.ENDED  # looked up once: the members of an enumeration are slow to find
_ENDING = State.ENDING
_LIVE = State.LIVE


class Subscriber(Member):
    """One stream.

    A stream begins as OPENING, a subscription of this process as TAKING. Each transition is a method, and nothing else
    assigns a state:

        from                        method       to        when
        OPENING, SERVED, CARRIED    go_live      LIVE      it stands at the head, and the pump may call its `send`
        OPENING                     serve        SERVED    it stands at the head; its connection's own task sends
        LIVE                        carry        CARRIED   a send did not finish within the pump's pass
        any but ENDING, ENDED       begin_end    ENDING    the stream is to end, with a last block
        any but ENDED               end          ENDED     it has ended: by its last block, its client or a limit
        any                         abandon      ENDED     its event loop was closed

    Beside the state, in any but LIVE and ENDED:

        block, unblock              a send pends, or has finished
        advance, swept, reach, pass_by, note_gap
                                    it comes nearer to the head
        skip_later, skip_now, skip_to
                                    it is too slow, and jumps

    Attributes:
        state: who sends to it now.
        audience: the audience with which it shares its bytes.
        deadline: loop time at which its lifetime is over.
        blocked_since: loop time at which the pending send began; None when no send is pending.
        told: the history's floors that the reader knows of, by topic, until it has caught up; None: of none.
        mark_events, mark_bytes: the audience's totals at this position, for the lag of a stream that is not LIVE.
            `mark_events` is None until the stream has first stood at the head: until then only time counts.
        skip_due: it has to skip ahead, with a gap, when it can be sent to again.
        beat_due: its connection's own task has to send a heartbeat, unless events come first.
        park: where the connection's own task waits.
        carry_gate: where the task waits that carries it; None while it has no such task.
        reason: why it ended, or is ending.
        tally: what it was sent; None where no log line will tell.
    """

    __slots__ = (
        "_last_due",
        "_last_words",
        "audience",
        "beat_due",
        "blocked_since",
        "carry_gate",
        "deadline",
        "mark_bytes",
        "mark_events",
        "park",
        "reason",
        "skip_due",
        "state",
        "tally",
        "told",
    )

    def __init__(
        self,
        audience: Audience[Subscriber],
        send: Send,
        position: int,
        told: dict[str, int] | None,
        deadline: float,
        tally: Tally | None,
        *,
        own_task: bool,
    ) -> None:
        super().__init__(send, position, own_task)
        self.state = State.OPENING
        self.audience = audience
        self.deadline = deadline
        self.blocked_since: float | None = None
        self.told = told
        self.park = Gate()
        self.carry_gate: Gate | None = None
        self.reason = ""
        self.tally = tally
        self.mark_events: int | None = None
        self.mark_bytes = 0
        self.skip_due = False
        self.beat_due = False
        self._last_words: bytes | None = None
        self._last_due: int | None = None  # the newest position as the grant ended

    @property
    def ended(self) -> bool:
        """True when nothing more is sent."""
        return self.state is _ENDED

    @property
    def ending(self) -> bool:
        """True when the last block is due, or was sent."""
        return self._last_words is not None

    @property
    def last_words(self) -> bytes:
        """The last block of a stream that is ending."""
        return self._last_words or b""

    @property
    def barred(self) -> bool:
        """True when events have come since the grant of a stream that is ending was over: the reader may have none."""
        return self._last_due is not None and self._last_due != self.audience.newest

    # The states.

    def serve(self) -> None:
        """Leave everything from here on to the connection's own task; the stream stands at the head."""
        self.state = State.SERVED
        self._mark_head()

    def go_live(self) -> None:
        """Let the pump call `send`: the stream stands at the head, and no send is pending."""
        audience = self.audience
        self.state = _LIVE
        self.live = True
        self.mark_events = audience.total_events
        self.mark_bytes = audience.total_bytes
        if self.tally is not None:
            self.tally.begin_live(audience.total_events, audience.sent + audience.pending_bytes())

    def carry(self, events: int, weight: int) -> Gate:
        """Take the stream from the pump, for a task that sends until it has caught up.

        Args:
            events, weight: what the pump has swept and the stream has not got: events, and bytes of their blocks.

        Returns:
            The gate for that task to wait at.
        """
        audience = self.audience
        if self.state is _LIVE:  # otherwise it was ended by its own `send`
            self.state = State.CARRIED
        self.live = False
        self.mark_events = audience.total_events - len(audience.pending) - events
        self.mark_bytes = audience.total_bytes - audience.pending_weight() - weight
        self.carry_gate = gate = Gate()
        return gate

    def end_carry(self) -> None:
        """Note that no task carries the stream any more, and let the connection's own task look."""
        self.carry_gate = None
        self.park.wake()

    def use(self, send: Send) -> None:
        """Send by another `send` from here on."""
        self.send = send

    # Progress.

    def block(self, now: float) -> None:
        """Note that a send has begun and pends."""
        self.blocked_since = now

    def unblock(self) -> None:
        """Note that no send pends any more."""
        self.blocked_since = None

    def advance(self, position: int, events: int, size: int, weight: int) -> None:
        """Stand after a join that was handed to `send`.

        Args:
            position: of the join's last event.
            events: how many the join has.
            size: bytes of the join.
            weight: bytes of the join's blocks, as an audience counts them.
        """
        self.position = position
        if self.tally is not None:
            self.tally.add(events, size)
        if self.mark_events is not None:
            self.mark_events += events
            self.mark_bytes += weight

    def swept(self, position: int) -> None:
        """Stand after a large join that the pump has sent; small ones move the stream in the pump's own loop."""
        self.position = position

    def reach(self, head: int) -> None:
        """Stand at the head: the reader has everything, and knows of every gap."""
        self.position = head
        self.told = None
        if self.mark_events is not None:
            self.mark_events = self.audience.total_events
            self.mark_bytes = self.audience.total_bytes

    def pass_by(self, position: int) -> None:
        """Move past an event that the filter hides, if the stream has everything before it.

        Otherwise a stream whose filter hides much would stand where the history has long been trimmed, and be told of a
        gap in which nothing of its own is gone.
        """
        if self.mark_events is not None and self.position >= self.audience.newest:
            self.position = position

    def note_gap(self, topics: tuple[str, ...], floor: int) -> None:
        """Remember that the reader is told of everything that these topics have lost, up to `floor`."""
        self.told = {**(self.told or {}), **dict.fromkeys(topics, floor)}
        if self.tally is not None:
            self.tally.gaps += 1

    def skip_later(self) -> None:
        """Have the stream skip ahead, with a gap, when it can be sent to again."""
        self.skip_due = True

    def skip_now(self) -> None:
        """Note that the stream looks now for what it has to skip."""
        self.skip_due = False

    def skip_to(self, events: int, weight: int, gaps: int) -> None:
        """Count nothing against the stream that it skips; a join of `events`, `gaps` of them gaps, is sent next."""
        if self.tally is not None:
            self.tally.skips += 1
            self.tally.gaps += gaps
        if self.mark_events is not None:
            self.mark_events = self.audience.total_events - events
            self.mark_bytes = self.audience.total_bytes - weight

    def beat_later(self) -> None:
        """Have the connection's own task send a heartbeat, unless events come first."""
        self.beat_due = True

    def beat_now(self) -> None:
        """Note that the heartbeat is sent now."""
        self.beat_due = False

    @property
    def lag_events(self) -> int:
        """Events that the stream has yet to get; 0 while it opens."""
        return 0 if self.mark_events is None else self.audience.total_events - self.mark_events

    @property
    def lag_bytes(self) -> int:
        """Bytes of the blocks that the stream has yet to get; 0 while it opens."""
        return 0 if self.mark_events is None else self.audience.total_bytes - self.mark_bytes

    def _mark_head(self) -> None:
        self.mark_events = self.audience.total_events
        self.mark_bytes = self.audience.total_bytes

    # The end.

    def begin_end(self, reason: str, last_words: bytes) -> Gate | None:
        """End the stream with a last block, as soon as its pending send allows.

        Returns:
            A gate when the pump had the `send`: a task of the caller's has to send the last block, and waits there.
            None when the connection's own task, or the one that carries the stream, does so.
        """
        live, self.live = self.live, False
        self.state = _ENDING
        self.reason = reason
        self._last_words = last_words
        if reason in _UNGRANTED:
            self._last_due = self.audience.newest
        if self.own_task:
            self.park.wake()
        elif live:
            self.carry_gate = gate = Gate()
            return gate
        return None

    def end(self, reason: str) -> None:
        """Send nothing more, and let go whoever waits for this stream. The first reason counts."""
        if self.state is _ENDED:
            return
        self._stop(reason)
        self.park.close()
        if self.carry_gate is not None:
            self.carry_gate.close()

    def abandon(self) -> None:
        """Note that the event loop has been closed: nobody waits any more, and nobody can be told."""
        self._stop("shutdown")

    def _stop(self, reason: str) -> None:
        self.state = _ENDED
        self.live = False
        self.reason = self.reason or reason


class Taker(Subscriber):
    """A subscription in this process: nothing is sent to it, it takes from the history what it has not had.

    A taker has no connection, so it has neither a lifetime nor a last block. Any number of tasks wait at its `bell`.
    """

    __slots__ = ("bell",)

    def __init__(
        self,
        audience: Audience[Subscriber],
        position: int,
        told: dict[str, int] | None,
        tally: Tally | None,
    ) -> None:
        super().__init__(audience, _nowhere, position, told, float("inf"), tally, own_task=True)
        self.state = State.TAKING
        self.park = self.bell = Bell()

    def reach(self, head: int) -> None:
        """Stand at the head. From here on the audience is put everything that the taker is to get."""
        super().reach(head)
        self._mark_head()


async def _nowhere(_: Message) -> None:
    raise AssertionError("a subscription in this process has no connection")
