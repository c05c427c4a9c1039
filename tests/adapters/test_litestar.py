"""The adapter for Litestar: the real framework under a real server."""

from __future__ import annotations

from support.adapted.contract import Contract, ask, python, whole
from support.neighbours import need
from support.servers import Server

from fastsse import decode

need("litestar")


class Own:
    """The tests of this adapter alone, which run before the contract ends the server."""

    async def test_the_headers_of_layer_and_response_are_sent(self, server: Server) -> None:
        reply = await ask(server, "GET", "/plain")

        assert ("1", "2") == (reply.headers["x-layer"], reply.headers["x-mine"])
        assert reply.headers["set-cookie"].startswith("seen=yes")
        assert "content-length" not in reply.headers
        assert ["one"] == [event.data for event in decode(reply.body)]

    async def test_the_response_without_an_adapter_works_too(self, server: Server) -> None:
        assert ["one"] == [event.data for event in await whole(server, "/bare")]

    async def test_the_schema_names_event_streams(self, server: Server) -> None:
        reply = await ask(server, "GET", "/schema/openapi.json")

        answer = reply.json["paths"]["/words"]["get"]["responses"]["200"]
        assert ["text/event-stream"] == list(answer["content"])


class TestContract(Contract, Own):
    needs = ("uvicorn",)
    command = python(
        "uvicorn", "--no-access-log", "--port", "PORT", "support.adapted.on_litestar:app"
    )
