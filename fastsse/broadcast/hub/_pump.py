"""Chooser of the pump: one pass over the subscribers of an audience, compiled or pure, as the codec is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsse import COMPILED
from fastsse.broadcast.hub._pump_py import finish

__all__ = ["Half", "Member", "begin", "finish", "sweep"]

if TYPE_CHECKING or not COMPILED:
    from fastsse.broadcast.hub._pump_py import Half, Member, begin, sweep
else:
    try:
        from fastsse.broadcast.hub._pump_c import Half, Member, begin, sweep
    except ImportError:  # the codec was compiled, and the pump was not
        from fastsse.broadcast.hub._pump_py import Half, Member, begin, sweep
