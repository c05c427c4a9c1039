"""The chosen `Event`: compiled or pure, as `_codec` decides. Pickles of either twin load from here."""

from __future__ import annotations

from fastsse._codec import Event

__all__ = ["Event", "restore"]


def restore(data: str, event: str, id: str, retry: int | None) -> Event:
    """Make the Event that a pickle describes. The pickle names this function, so either twin can read it."""
    return Event(data, event, id, retry)
