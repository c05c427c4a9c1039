"""A quiet stream outlives the time-outs of every proxy, for as long as its heart beats as it does by default."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest
from proxies.documented import PROXIES, absent, find, run
from proxies.measure import HUB
from support.servers import Clients, Connection, free_port, serve

pytest.importorskip("granian")

pytestmark = pytest.mark.long

QUIET = 65.0  # s: longer than any time-out that a proxy of the page has by default (60 s)


@pytest.mark.timeout(180)
async def test_a_quiet_stream_lives_on_by_its_heartbeats(clients: Clients) -> None:
    with ExitStack() as stack:
        hub = stack.enter_context(serve(*HUB, "--max-streams", "100", "--heartbeat", "15"))
        streams = {}
        for proxy in PROXIES:
            if find(proxy) is None:
                absent(f"no {proxy.program} here; {proxy.install}")
            front = stack.enter_context(run(proxy, free_port(), hub))
            streams[proxy.name] = await clients.follow(front, "/events?topic=a")
        await asyncio.sleep(QUIET)
        hub.publish("a", "late")

        found = {name: await _next(stream) for name, stream in streams.items()}

    assert dict.fromkeys(streams, "late") == found


async def _next(stream: Connection) -> str:
    try:
        (event,) = await stream.events(1)
    except (ValueError, OSError, asyncio.IncompleteReadError) as error:
        return repr(error)
    return event.data
