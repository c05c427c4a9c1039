"""The adapter for Quart: the real framework under a real server."""

from __future__ import annotations

from support.adapted.contract import Contract, python, whole
from support.neighbours import need
from support.servers import Server

need("quart")


class Own:
    """The tests of this adapter alone, which run before the contract ends the server."""

    async def test_items_run_in_the_context_of_their_request(self, server: Server) -> None:
        assert ["why"] == [event.data for event in await whole(server, "/context?q=why")]


class TestContract(Contract, Own):
    needs = ("hypercorn",)
    command = python(
        "hypercorn", "--workers", "0", "--bind", "127.0.0.1:PORT", "support.adapted.on_quart:app"
    )
