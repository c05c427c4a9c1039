"""The adapter for Flask: the real framework under real servers of WSGI."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from support.adapted.contract import Contract, python
from support.adapted.shared import log
from support.neighbours import need

import fastsse
from fastsse import decode

need("flask")

from flask import Flask  # noqa: E402

from fastsse.adapters.flask import EventSourceResponse, from_asgi  # noqa: E402

APP = "support.adapted.on_flask:app"


class TestUnderGunicorn(Contract):
    needs = ("gunicorn",)
    command = python("gunicorn", "-k", "gthread", "--threads", "8", "-b", "127.0.0.1:PORT", APP)


@pytest.mark.long
class TestUnderWerkzeug(Contract):
    command = python("support.adapted.on_flask", "PORT")


class TestContext:
    """Items and the request that they answer."""

    @pytest.fixture(scope="class")
    @classmethod
    def client(cls) -> Any:
        module = importlib.import_module("support.adapted.on_flask")
        return module.app.test_client()

    @pytest.mark.parametrize("kind", ["plain", "async", "wrapped"])
    def test_items_run_in_the_context_of_their_request(self, client: Any, kind: str) -> None:
        reply = client.get(f"/context/{kind}?q=why")

        assert ["why", "g"] == [event.data for event in decode(reply.data)]

    def test_the_request_is_torn_down_again_after_its_items(self, client: Any) -> None:
        before = len(log)

        client.get("/context/async?q=why").close()

        assert ["torn down", "torn down"] == log[before:]

    def test_a_first_item_that_fails_reaches_the_error_handlers(self, client: Any) -> None:
        assert 503 == client.get("/first/sync").status_code

    @pytest.mark.parametrize("items", ["text", {"a": 1}, 5])
    def test_items_that_cannot_be_iterated_are_refused_at_once(self, items: Any) -> None:
        with pytest.raises(TypeError, match="items must be"):
            EventSourceResponse(items)

    def test_another_response_instead_needs_from_asgi(self) -> None:
        app = Flask("instead")

        def instead(_: Any) -> Any:
            return fastsse.EventSourceResponse(["other"], status_code=202)

        @app.get("/")
        def index() -> Any:
            with pytest.raises(TypeError, match="from_asgi"):
                EventSourceResponse(["one"], instead=instead)
            return from_asgi(fastsse.EventSourceResponse(["one"], instead=instead))

        reply = app.test_client().get("/")

        assert (202, "other") == (reply.status_code, decode(reply.data)[0].data)

    def test_cookies_and_headers_are_those_of_any_response(self) -> None:
        app = Flask("cookies")

        @app.get("/")
        def index() -> Any:
            response = EventSourceResponse(["one"], headers={"x-mine": "1"})
            response.set_cookie("seen", "yes")
            return response

        reply = app.test_client().get("/")

        assert "1" == reply.headers["x-mine"]
        assert reply.headers["set-cookie"].startswith("seen=yes")
        assert "text/event-stream; charset=utf-8" == reply.headers["content-type"]
        assert "content-length" not in reply.headers
        assert ["one"] == [event.data for event in decode(reply.data)]
