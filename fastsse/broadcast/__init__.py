"""The broadcast: a hub, its store and its HTTP face (extra: server)."""

from __future__ import annotations

from fastsse.broadcast.collector import tune_collector
from fastsse.broadcast.direct import Direct
from fastsse.broadcast.hub import Hub, Receipt
from fastsse.broadcast.settings import SettingError, Settings
from fastsse.broadcast.stores import Draft, Entry, Report, Store
from fastsse.broadcast.stores.memory import MemoryStore

__all__ = [
    "Direct",
    "Draft",
    "Entry",
    "Hub",
    "MemoryStore",
    "Receipt",
    "Report",
    "SettingError",
    "Settings",
    "Store",
    "tune_collector",
]
