"""Chooser of the flow: the steps that every item takes on its way to the server, compiled or pure, as the codec is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsse._codec import COMPILED

__all__ = ["Blocks", "Outlet", "iterate"]

if TYPE_CHECKING or not COMPILED:
    from fastsse._flow_py import Blocks, Outlet, iterate
else:
    try:
        from fastsse._flow_c import Blocks, Outlet, iterate
    except ImportError:  # the codec was compiled, and the flow was not
        from fastsse._flow_py import Blocks, Outlet, iterate
