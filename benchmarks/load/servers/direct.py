"""The app of `wrapped` inside `Direct`: the same middleware, and streams that pass it by."""

from __future__ import annotations

from benchmarks.load.servers.wrapped import app as wrapped
from fastsse.broadcast import Direct

app = Direct(wrapped)
