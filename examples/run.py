"""An answer that survives a reload: the items of a run go on, whoever looks at them.

    python -m granian --interface asgi --working-dir examples --port 8001 run:app
    open http://localhost:8001/answers/1

The first request for an answer begins it. Reload the page in the middle, open it in another tab, send the link to
somebody: everybody sees the whole answer, and its end. ``curl -X DELETE localhost:8001/answers/1/events`` cancels it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from fastsse.broadcast import Hub

WORDS = 200
PAUSE = 0.05  # s

hub = Hub()


async def words() -> AsyncIterator[str]:
    """Yield an answer word by word, as a model would."""
    for number in range(1, WORDS + 1):
        await asyncio.sleep(PAUSE)
        yield f"word{number} "


async def answer(request: Request) -> Response:
    """Begin the answer, unless it is there already, and show it from its beginning."""
    topic = "answers/" + request.path_params["number"]
    if request.method == "DELETE":
        await hub.cancel(topic)
        return Response(status_code=204)
    if not (hub.running(topic) or hub.ended(topic)):
        hub.run(topic, words())
    return hub.response(topic, last_event_id="earliest")


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>An answer</title>
<p id="answer"></p><p id="state">open</p>
<script>
  const source = new EventSource(location.pathname + "/events");
  const show = (where, text) => { document.getElementById(where).append(text); };
  source.onmessage = (event) => show("answer", event.data);
  source.addEventListener("gap", () => location.reload());  // the hub was restarted: read all that is kept
  source.addEventListener("end", (event) => {
    source.close();
    document.getElementById("state").textContent = JSON.parse(event.data).reason;
  });
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) show("state", ": nothing is kept"); };
</script></html>
"""


async def page(_: Request) -> Response:
    return HTMLResponse(PAGE)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with hub:
        yield


app = Starlette(
    routes=[
        Route("/answers/{number}", page),
        Route("/answers/{number}/events", answer, methods=["GET", "DELETE"]),
    ],
    lifespan=lifespan,
)
