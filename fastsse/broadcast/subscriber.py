"""One open event stream.

A subscriber is a position, a `send` and a state; what it is still to get lies in the audience and in the history,
never in a queue of its own. It knows nothing of how events come to be.

    opening ──► live ◄──► blocked          the pump sends to those who are live
       └──────────┴───────────┴──► ended   a task sends to those who open or are blocked
    itself                        ► ended   its connection's own task sends (a wrapped `send`); only the end
                                            where the pump may pass the wrapping by (`Direct`)
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastsse.broadcast._pump import Member

if TYPE_CHECKING:
    from fastsse.broadcast._pump_py import Send
    from fastsse.broadcast.account import Account
    from fastsse.broadcast.audiences import Audience

__all__ = ["Gate", "Subscriber"]


class Gate:
    """Where a task waits, and can be called back from.

    Between `enter` and `leave` it may wait for what is not ours, and keeps nothing beside it: `close` cancels that
    wait. A cancellation of somebody else goes through, also one that comes at the same time.
    """

    __slots__ = ("idle", "shut", "task", "waiter")

    def __init__(self) -> None:
        self.shut = False  # do not go on waiting, now or later
        self.waiter: asyncio.Future[None] | None = None  # for a send or receive, see `finish`
        self.idle: asyncio.Future[None] | None = None  # for something to send
        self.task: asyncio.Task[Any] | None = None  # that has entered and was not called back

    def enter(self, task: asyncio.Task[Any]) -> int:
        """The task's cancellations until now, for `leave`."""
        self.task = task
        return task.cancelling()

    def leave(self, task: asyncio.Task[Any], before: int, error: BaseException | None) -> bool:
        """Whether what ended the wait is ours alone, and goes no further."""
        if self.task is not None:
            self.task = None
            return False
        others = task.uncancel() > before
        return isinstance(error, asyncio.CancelledError) and not others

    def close(self) -> None:
        """Let the waiting task go at once."""
        self.shut = True
        _set(self.waiter)
        _set(self.idle)
        if self.task is not None:
            # Not now: the task itself may be running, and cancelled it would fail at a later wait.
            self.task.get_loop().call_soon(self._call)

    def _call(self) -> None:
        if self.task is not None:
            self.task.cancel()
            self.task = None

    def wake(self) -> None:
        """There is something to send."""
        _set(self.idle)


def _set(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


class Subscriber(Member):
    """One stream.

    Attributes:
        audience: whom it shares its bytes with.
        ended: nothing more is sent.
        ending: the last block, once the stream shall end as soon as its pending send allows.
        deadline: loop time at which its lifetime is over.
        blocked_since: loop time at which the pending send began; 0.0 when none is pending.
        events, size: the audience's counters at this position while blocked; -1 while opening, when only time counts.
        skip: over its limits: jump ahead, with a gap, when it can be sent to again.
        told: the history's floors that its opening told it of, until it has caught up.
        beat: a heartbeat is due, for one who sends for itself.
        park: where the connection's own task waits.
        carry: where the task waits that sends to it while it is blocked.
        reason: why it ended.
        account: what it was sent, where that will be logged.
    """

    __slots__ = (
        "account",
        "audience",
        "beat",
        "blocked_since",
        "carry",
        "deadline",
        "ended",
        "ending",
        "events",
        "park",
        "reason",
        "size",
        "skip",
        "told",
    )

    def __init__(
        self, audience: Audience, send: Send, position: int, deadline: float, *, itself: bool
    ) -> None:
        super().__init__(send, position, itself)
        self.audience = audience
        self.ended = False
        self.ending: bytes | None = None
        self.deadline = deadline
        self.blocked_since = 0.0
        self.events = -1
        self.size = -1
        self.skip = False
        self.told: dict[str, int] | None = None
        self.beat = False
        self.park = Gate()
        self.carry: Gate | None = None
        self.reason = ""
        self.account: Account | None = None

    def end(self, reason: str) -> None:
        """Nothing more is sent; whoever waits for this stream is let go."""
        if self.ended:
            return
        self.ended = True
        self.live = False
        self.reason = self.reason or reason
        self.park.close()
        if self.carry is not None:
            self.carry.close()
