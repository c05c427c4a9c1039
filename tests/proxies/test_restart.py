"""A hub that restarts behind every proxy at once: readers come back through each of them, and are told of the gap.

Raw readers here do what the HTML standard says of an EventSource; real ones do so in Chromium and in Firefox.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from proxies.documented import PROXIES, Proxy, absent, find
from proxies.restart import house, restarted, survivors
from support.browsers import KINDS, browsing
from support.servers import DEADLINE, Server

pytest.importorskip("granian")

pytestmark = pytest.mark.long

SIGNALS = ("SIGTERM", "SIGKILL")
FOLLOW = """topic => {
    globalThis.seen = [];
    const source = new EventSource(`/events?topic=${topic}`);
    source.onmessage = event => seen.push(event.data);
    source.addEventListener("gap", () => seen.push("gap"));
    source.onerror = () => source.readyState === EventSource.CLOSED && seen.push("dead");
    return new Promise(opened => { source.onopen = opened; }).then(() => null);
}"""


@pytest.mark.parametrize("signum", SIGNALS)
async def test_readers_survive_a_restart_of_the_hub(signum: str) -> None:
    with house(waiting()) as built:
        readers = await survivors(built, signum)

    found = {name: (reader.dead, reader.data, reader.gaps) for name, reader in readers.items()}
    assert dict.fromkeys(readers, (None, ["first", "second"], 1)) == found


@pytest.mark.browser
@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("browser", KINDS)
async def test_an_event_source_survives_a_restart_of_the_hub(browser: str, signum: str) -> None:
    async with browsing(browser) as opened:
        with house(waiting()) as built:
            pages = {
                name: await opened.open(lambda running, front=front: followed(running, front))
                for name, (_, front) in built.fronts.items()
            }
            built.hub.publish("a", "first")
            for page in pages.values():
                await heard(page, "first")
            async with restarted(built, signum) as hub:
                hub.publish("a", "second")
                for page in pages.values():
                    await heard(page, "second")

                found = {name: await page.evaluate("seen") for name, page in pages.items()}
    assert {name: ["first", "gap", "second"] for name in pages} == found


async def followed(browser: Any, front: Server) -> Any:
    """Open a page of a proxy's, and an EventSource in it."""
    page = await browser.new_page()
    page.set_default_timeout(DEADLINE * 1000)
    await page.goto(front.url)
    await page.evaluate(FOLLOW, "a")
    return page


def waiting() -> list[Proxy]:
    """List the proxies behind which readers survive; all of them must be here."""
    found = [proxy for proxy in PROXIES if proxy.waits]
    for proxy in found:
        if find(proxy) is None:
            absent(f"no {proxy.program} here; {proxy.install}")
    return found


async def heard(page: Any, data: str) -> None:
    """Wait until a page's last news is an event, or the end of its EventSource."""
    end = time.monotonic() + DEADLINE
    while not {data, "dead"} & set(await page.evaluate("seen.slice(-1)")):
        assert time.monotonic() < end, f"not within {DEADLINE} s"
        await asyncio.sleep(0.05)
