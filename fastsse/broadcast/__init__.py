"""The broadcast: a hub, its store and its HTTP face (extra: server)."""

from __future__ import annotations

from fastsse.broadcast.hub.bypass import Bypass, Direct
from fastsse.broadcast.hub.drafts import TooLarge, TopicEnded
from fastsse.broadcast.hub.hub import Hub, HubClosed, Receipt, TooManyRuns
from fastsse.broadcast.hub.run import Run
from fastsse.broadcast.process import tune_collector
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.stores import (
    Archive,
    Draft,
    Entry,
    Follower,
    KeyReused,
    Log,
    Page,
    Store,
)
from fastsse.broadcast.stores.memory import MemoryStore
from fastsse.errors import SettingError

__all__ = [
    "Archive",
    "Bypass",
    "Direct",
    "Draft",
    "Entry",
    "Follower",
    "Hub",
    "HubClosed",
    "KeyReused",
    "Log",
    "MemoryStore",
    "Page",
    "Receipt",
    "Run",
    "SettingError",
    "Settings",
    "Store",
    "TooLarge",
    "TooManyRuns",
    "TopicEnded",
    "tune_collector",
]
