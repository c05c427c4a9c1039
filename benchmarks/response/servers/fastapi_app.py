"""FastAPI's own server-sent events: path operations that yield, with data that is written already."""

from __future__ import annotations

from collections.abc import AsyncIterable

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent

from benchmarks.response.servers.streams import TOKEN, firehose, idle, served, tokens

api = FastAPI()
EVENT = ServerSentEvent(raw_data=TOKEN)


@api.get("/tokens", response_class=EventSourceResponse)
async def tokens_() -> AsyncIterable[ServerSentEvent]:
    async for event in tokens(EVENT):
        yield event


@api.get("/firehose", response_class=EventSourceResponse)
async def firehose_() -> AsyncIterable[ServerSentEvent]:
    async for event in firehose(EVENT):
        yield event


@api.get("/idle", response_class=EventSourceResponse)
async def idle_() -> AsyncIterable[ServerSentEvent]:
    async for event in idle(EVENT):
        yield event


app = served(api)
