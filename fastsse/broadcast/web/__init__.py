"""The HTTP side of the broadcast: bodies, forms, queries, answers, problems, metrics."""

from __future__ import annotations

__all__: list[str] = []
