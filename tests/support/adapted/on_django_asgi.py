"""The application of `on_django` for servers that take no factory."""

from __future__ import annotations

from support.adapted.on_django import asgi

app = asgi()
