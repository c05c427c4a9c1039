"""The app of `wrapped` inside `Bypass`: the middleware is there, and streams pass it by."""

from __future__ import annotations

from benchmarks.load.servers.wrapped import app as wrapped
from fastsse.broadcast import Bypass

app = Bypass(wrapped)
