"""Fan-out inside one process: it knows positions and sends, and no request."""

from __future__ import annotations

__all__: list[str] = []
