"""Access: which requests are for this server, and which pages may read the answers."""

from __future__ import annotations

__all__: list[str] = []
