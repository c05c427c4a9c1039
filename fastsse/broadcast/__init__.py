"""The broadcast: a hub, its store and its HTTP face (extra: server)."""

from __future__ import annotations

from fastsse.broadcast.hub.bypass import Bypass, Direct
from fastsse.broadcast.hub.drafts import TooLarge, TopicEnded
from fastsse.broadcast.hub.hub import Hub, HubClosed, Receipt, TooManyRevoked, TooManyRuns
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
    Portable,
    StorageFull,
    Store,
    StoreState,
    StoreUnusable,
    Watched,
)
from fastsse.broadcast.stores.memory import MemoryStore
from fastsse.broadcast.stores.opening import open_url
from fastsse.broadcast.stores.retention import Keep, Retention
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
    "Keep",
    "KeyReused",
    "Log",
    "MemoryStore",
    "Page",
    "Portable",
    "Receipt",
    "Retention",
    "Run",
    "SettingError",
    "Settings",
    "StorageFull",
    "Store",
    "StoreState",
    "StoreUnusable",
    "TooLarge",
    "TooManyRevoked",
    "TooManyRuns",
    "TopicEnded",
    "Watched",
    "open_url",
    "tune_collector",
]
