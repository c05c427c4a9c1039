"""Chooser of the pump: one pass over the subscribers of an audience."""

from __future__ import annotations

from fastsse.broadcast._pump_py import Half, begin, finish, sweep

__all__ = ["Half", "begin", "finish", "sweep"]
