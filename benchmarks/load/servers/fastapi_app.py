"""FastAPI's own server-sent events: a path operation that yields, with a queue for each subscriber."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterable

from fastapi import FastAPI, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

app = FastAPI()
subscribers: defaultdict[str, set[asyncio.Queue[str]]] = defaultdict(set)


@app.get("/events", response_class=EventSourceResponse)
async def subscribe(topic: str) -> AsyncIterable[ServerSentEvent]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    subscribers[topic].add(queue)
    try:
        while True:
            yield ServerSentEvent(raw_data=await queue.get())
    finally:
        subscribers[topic].discard(queue)


@app.post("/events")
async def publish(topic: str, request: Request) -> dict[str, str]:
    data = (await request.body()).decode()
    for queue in subscribers[topic]:
        queue.put_nowait(data)
    return {}


@app.get("/health")
async def health() -> dict[str, int]:
    return {"streams": sum(map(len, subscribers.values()))}
