"""The browsers' own EventSource against the hub: what a page without any library gets."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.request import urlopen

from browser.live import OUTAGE
from support.servers import free_port, serve

# Collects what an EventSource is told, as `window.told`: ["open"], [type, id, data].
LISTEN = """(url) => {
    window.told = [];
    window.errors = []; // [time, readyState]
    const source = new EventSource(url);
    source.onopen = () => {
        window.told.push(["open"]);
        window.openedAt = performance.now();
    };
    source.onerror = () => window.errors.push([performance.now(), source.readyState]);
    for (const type of ["message", "note", "gap"]) {
        source.addEventListener(type, (event) => window.told.push([type, event.lastEventId, event.data]));
    }
}"""


async def _told(page: Any) -> list[list[str]]:
    """Take the events out of all that an EventSource told, without the openings."""
    told: list[list[str]] = await page.evaluate("window.told.filter(([type]) => type !== 'open')")
    return told


async def _until(page: Any, condition: str) -> None:
    # A function: the policy forbids eval().
    await page.wait_for_function(f"() => {condition}", polling=20)


async def test_it_comes_back_by_itself_and_gets_exactly_the_events_in_between(
    open_page: Any, topic: str
) -> None:
    with serve("--lifetime", "1", "--retry", "200") as server:
        page = await open_page(server, path="/")
        await page.evaluate(LISTEN, f"/events?topic={topic}")
        await _until(page, "window.told.length > 0")
        sent = []

        while await page.evaluate("window.told.filter(([type]) => type === 'open').length") < 4:
            id = server.publish(topic, str(len(sent)), event="note")
            sent.append(["note", id, str(len(sent))])

        await _until(page, f"window.told.at(-1)[2] === '{len(sent) - 1}'")
        assert sent == await _told(page)
        await page.close()


async def test_it_opens_at_once_on_a_topic_without_events(
    open_page: Any, server: Any, topic: str
) -> None:
    """Firefox counts a stream as open at the first byte of its body, which is the opening block's."""
    page = await open_page(server, path="/")

    await page.evaluate(LISTEN, f"/events?topic={topic}")

    await _until(page, "window.told.length > 0")
    assert [["open"]] == await page.evaluate("window.told")
    assert [] == await page.evaluate("window.errors")


async def test_it_waits_for_the_reconnection_time_that_the_hub_gave(
    open_page: Any, topic: str
) -> None:
    with serve("--lifetime", "0.5", "--retry", "1500") as server:
        page = await open_page(server, path="/")
        await page.evaluate(LISTEN, f"/events?topic={topic}")

        await _until(page, "window.told.filter(([type]) => type === 'open').length === 2")

        waited = await page.evaluate("window.openedAt - window.errors[0][0]")
        assert waited >= 1450  # ms; a browser rounds its clock
        await page.close()


async def test_it_goes_on_trying_while_the_hub_refuses_connections(
    open_page: Any, topic: str
) -> None:
    port = str(free_port())
    with serve("--port", port, "--retry", "100") as server:
        page = await open_page(server, path="/", expected=OUTAGE)
        await page.evaluate(LISTEN, f"/events?topic={topic}")
        await _until(page, "window.told.length > 0")

    await _until(page, "window.errors.length > 4")

    assert {0} == {state for _, state in await page.evaluate("window.errors")}  # CONNECTING
    with serve("--port", port, "--retry", "100"):
        await _until(page, "window.told.filter(([type]) => type === 'open').length === 2")
        await page.close()


async def test_after_a_restart_it_gets_a_gap_and_then_what_is_kept(
    open_page: Any, topic: str
) -> None:
    port = str(free_port())
    with serve("--port", port, "--retry", "500") as server:
        page = await open_page(server, path="/", expected=OUTAGE)
        await page.evaluate(LISTEN, f"/events?topic={topic}")
        await _until(page, "window.told.length > 0")
        before = server.publish(topic, "before")
        await _until(page, "window.told.length === 2")

    with serve("--port", port, "--retry", "500") as server:
        after = [server.publish(topic, data) for data in ("kept", "kept too")]
        start = f"{after[0].partition('-')[0]}-0"
        await _until(page, "window.told.filter(([type]) => type === 'message').length === 3")

        first, gap, *rest = await _told(page)
        assert ["message", before, "before"] == first
        assert ["gap", start] == gap[:2]
        assert {"from": before, "to": start, "reason": "restart", "topics": [topic]} == json.loads(
            gap[2]
        )
        assert [["message", after[0], "kept"], ["message", after[1], "kept too"]] == rest
        await page.close()


async def test_a_page_that_knows_the_last_id_asks_for_it_in_the_query(
    open_page: Any, server: Any, topic: str
) -> None:
    first = server.publish(topic, "seen")
    second = server.publish(topic, "missed")
    page = await open_page(server, path="/")

    await page.evaluate(LISTEN, f"/events?topic={topic}&last_event_id={first}")

    await _until(page, "window.told.length === 2")
    assert [["message", second, "missed"]] == await _told(page)


async def test_it_comes_back_by_itself_to_a_hub_that_was_full(open_page: Any, topic: str) -> None:
    """An EventSource that is answered 503 would be closed for good."""
    with serve("--max-streams", "1") as server:
        page = await open_page(server, path="/")
        first = await asyncio.to_thread(urlopen, f"{server.url}/events?topic={topic}")
        await page.evaluate(LISTEN, f"/events?topic={topic}")
        while not server.health()["refused"]:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(first.close)

        while server.health()["openings"].get("new") != 2:
            await asyncio.sleep(0.01)
        server.publish(topic, "x")

        await _until(page, "window.told.at(-1)[2] === 'x'")
        await page.close()
