"""The chosen `Event`: compiled or pure, as `_codec` decides. Pickles of either twin load from here."""

from __future__ import annotations

from fastsse._codec import Event

__all__ = ["Event", "restore"]


def restore(data: str, event: str, id: str, retry: int | None) -> Event:
    """Make what a pickle says, whichever twin wrote it: the pickle names this function, and no twin."""
    return Event(data, event, id, retry)
