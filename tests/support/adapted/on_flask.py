"""The application of `shared` in Flask, and as `raw` in plain WSGI."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from flask import Flask, g, request, stream_with_context
from support.adapted import shared

from fastsse.adapters import wsgi
from fastsse.adapters.flask import EventSourceResponse, from_asgi, last_event_id, run

hub = shared.make_hub()
run(hub.start())
app = Flask(__name__)


@app.get("/health")
def health() -> str:
    return ""


@app.get("/words")
def words() -> Any:
    return EventSourceResponse(shared.words(last_event_id(request)))


@app.get("/endless")
def endless() -> Any:
    return EventSourceResponse(shared.endless(), **shared.ENDLESS)


@app.get("/blocking")
def blocking() -> Any:
    return EventSourceResponse(shared.blocking(), on_close=shared.log.append)


@app.get("/flood")
def flood() -> Any:
    return EventSourceResponse(shared.flood(), **shared.FLOOD)


@app.get("/fails")
def fails() -> Any:
    return EventSourceResponse(shared.fails())


@app.get("/first")
def first() -> Any:
    return EventSourceResponse(shared.fails_first(), wait_first=True)


@app.get("/first/sync")
def first_sync() -> Any:
    def items() -> Iterator[str]:
        raise LookupError(shared.SECRET)
        yield ""

    return EventSourceResponse(items(), wait_first=True)


@app.errorhandler(LookupError)
def translate(_: LookupError) -> Any:
    return "", 503


@app.get("/context/<kind>")
def context(kind: str) -> Any:
    g.told = "g"

    def plain() -> Iterator[str]:
        yield request.args["q"]
        yield g.told

    async def async_() -> AsyncIterator[str]:
        yield request.args["q"]
        await asyncio.sleep(0)
        yield g.told

    items = {"plain": plain, "async": async_, "wrapped": lambda: stream_with_context(plain())}
    return EventSourceResponse(items[kind](), wait_first=kind == "plain")


@app.teardown_request
def teardown(_: BaseException | None) -> None:
    if request.path.startswith("/context"):
        shared.log.append("torn down")


@app.get("/hub")
def follow() -> Any:
    return from_asgi(hub.response("news"))


@app.post("/publish")
def publish() -> Any:
    hub.publish_threadsafe("news", "hello", timeout=5)
    return ""


@app.get("/log")
def read_log() -> Any:
    return shared.log


def raw(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer without a framework what is a stream, and leave the rest to Flask."""
    streams = {
        "/words": lambda: wsgi.EventSourceResponse(shared.words(wsgi.last_event_id(environ))),
        "/endless": lambda: wsgi.EventSourceResponse(shared.endless(), **shared.ENDLESS),
        "/blocking": lambda: wsgi.EventSourceResponse(
            shared.blocking(), on_close=shared.log.append
        ),
        "/flood": lambda: wsgi.EventSourceResponse(shared.flood(), **shared.FLOOD),
        "/fails": lambda: wsgi.EventSourceResponse(shared.fails()),
        "/first": lambda: wsgi.EventSourceResponse(shared.fails_first(), wait_first=True),
        "/hub": lambda: wsgi.from_asgi(hub.response("news")),
    }
    make = streams.get(environ["PATH_INFO"])
    answer: Iterable[bytes] = (make() if make else app)(environ, start_response)
    return answer


if __name__ == "__main__":  # werkzeug's server
    app.run(host="127.0.0.1", port=int(sys.argv[1]), threaded=True)
