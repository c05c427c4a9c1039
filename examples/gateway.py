"""A gateway before a language model's service: its readers need no key, and see the service's own bytes.

    UPSTREAM=https://api.openai.com/v1 UPSTREAM_KEY=sk-... \\
        python -m granian --interface asgi --working-dir examples --port 8001 gateway:app

Point an SDK at it: ``OpenAI(base_url="http://localhost:8001/v1", api_key="anything")``. While a model thinks, comments
keep the connection alive. ``GET /usage`` says how many tokens have gone through.

With the header ``X-Ids: 1``, a stream of the Responses API gets ids from its sequence numbers, so that a browser that
was cut off comes back to ``GET /v1/responses/{id}`` with its Last-Event-ID, and goes on where it was.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response

from fastsse import EventSourceResponse, decode, last_event_id, relay, relay_headers

UPSTREAM = os.environ.get("UPSTREAM", "https://api.openai.com/v1")
KEY = os.environ.get("UPSTREAM_KEY", "")
HEARTBEAT = float(os.environ.get("HEARTBEAT", "15"))  # seconds
TIMEOUT = httpx.Timeout(10, read=600)  # a model may think for long; httpx would wait for 5 s

usage: Counter[str] = Counter()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(timeout=TIMEOUT) as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/chat/completions", response_model=None)
@app.post("/v1/responses", response_model=None)
async def forward(request: Request) -> EventSourceResponse:
    """Pass a question on, and its answer back: a stream, or JSON where the reader wants no stream."""
    path = request.url.path.removeprefix("/v1")
    return answer(request, "POST", path, content=await request.body())


@app.get("/v1/responses/{id}", response_model=None)
async def resume(request: Request, id: str) -> EventSourceResponse:
    """Go on with a response of the Responses API from where the reader left off."""
    query = {"stream": "true", "starting_after": last_event_id(request)}
    return answer(request, "GET", f"/responses/{id}", params={k: v for k, v in query.items() if v})


@app.get("/usage")
async def report() -> Response:
    """Tell how many tokens have gone through."""
    return Response(json.dumps(usage), media_type="application/json")


def answer(request: Request, method: str, path: str, **options: object) -> EventSourceResponse:
    headers = relay_headers(request) | {
        "authorization": f"Bearer {KEY}",
        "content-type": request.headers.get("content-type", "application/json"),
    }
    upstream = request.app.state.client.stream(method, UPSTREAM + path, headers=headers, **options)
    rewrite = with_id if "x-ids" in request.headers else None
    # Some SDKs make an event of a comment and its blank line once they have seen an id.
    form = "block" if rewrite is None else "line"
    return relay(
        upstream, heartbeat=HEARTBEAT, heartbeat_form=form, on_block=count, rewrite=rewrite
    )


def count(block: bytes) -> None:
    """Add up the tokens that a block reports; most blocks report none, and are not decoded."""
    for data in objects(block, b'"usage"'):
        reported = data.get("usage") or data.get("response", {}).get("usage") or {}
        usage.update({name: n for name, n in reported.items() if isinstance(n, int)})


def with_id(block: bytes) -> bytes:
    """Begin a block with its sequence number as its id."""
    for data in objects(block, b'"sequence_number"'):
        return b"id: %d\n" % data["sequence_number"] + block
    return block


def objects(block: bytes, word: bytes) -> list[dict[str, Any]]:
    """Parse the events of a block that has the word; what is no JSON object is no concern of a gateway."""
    if word not in block:
        return []
    try:
        return [event.json() for event in decode(block) if event.data.startswith("{")]
    except ValueError:
        return []
