"""A request that is sent in a thread of its own, so that nobody has to wait for it to its end.

The module knows threads; it must not know what comes after the answer's head.
"""

from __future__ import annotations

import contextvars
import threading

from fastsse.client.messages import Request
from fastsse.client.transports import Answer, Transport

__all__ = ["Opening"]


class Opening:
    """One request, sent in a thread; whoever gives up waiting leaves the answer to it, to be closed.

    Args:
        transport: sends it.
        request: what to send.
        idle_timeout: seconds, for the transport.
        changed: notified when the request is over; guards the attributes.

    Attributes:
        over: True once there is an answer or an error.
        answer: the answer, or None.
        error: what the transport raised, or None.
    """

    def __init__(
        self,
        transport: Transport,
        request: Request,
        idle_timeout: float | None,
        changed: threading.Condition,
    ) -> None:
        self.over = False
        self.error: BaseException | None = None
        self.answer: Answer | None = None
        self._left = False
        self._changed = changed
        self._transport = transport
        self._given = request, idle_timeout

    def begin(self) -> None:
        """Start the thread; where there are no threads, do all here."""
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(self._run,), name="fastsse-open", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            self._run()

    def leave(self) -> None:
        """Wait no longer: the answer is closed when it comes, or now."""
        with self._changed:
            self._left = True
            over = self.over
        if not over:
            self._transport.interrupt()
        elif self.answer is not None:
            self.answer.close()

    def _run(self) -> None:
        answer, error = None, None
        try:
            answer = self._transport.open(*self._given)
        except BaseException as raised:
            error = raised
        with self._changed:
            self.answer, self.error = answer, error
            self.over = True
            self._changed.notify_all()
            left = self._left
        if left and answer is not None:
            answer.close()
