"""The adapter for Sanic: the real framework under its own server."""

from __future__ import annotations

from support.adapted.contract import Contract, python
from support.neighbours import need

need("sanic")


class TestContract(Contract):
    command = python("support.adapted.on_sanic", "PORT")
