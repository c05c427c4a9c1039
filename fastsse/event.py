"""The chosen `Event`: compiled or pure, as `_codec` decides. Pickles of either twin load from here."""

from __future__ import annotations

from fastsse._codec import Event

__all__ = ["Event"]
