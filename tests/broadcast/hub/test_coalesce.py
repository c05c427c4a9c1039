"""The setting `coalesce`: seconds for which a flush collects publishes."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from support.driver import open_stream, turns

from fastsse.broadcast import Hub, Settings


async def test_publishes_within_the_time_leave_together_and_after_that_many_seconds() -> None:
    loop = asyncio.get_running_loop()
    hub = Hub(Settings(heartbeat=0.0, lifetime=0.0, coalesce=0.05), step_sends=True)
    await hub.start()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hub.stream(receive, send, ["a"], scope=scope)

    async with open_stream(app, sends="granian") as stream:
        await stream.chunk()
        began = loop.time()
        for n in range(3):
            await hub.publish("a", str(n))
            await turns()
        chunk = await stream.chunk()
        seconds = loop.time() - began

        assert [b"0", b"1", b"2"] == re.findall(rb"data: (.)", chunk)
        assert 0.05 <= seconds < 5
    await hub.stop()
