"""Chromium's own EventSource against the hub: what a page without any library gets."""

from __future__ import annotations

import json
from typing import Any

from browser.live import OUTAGE
from servers import free_port, serve

# Collects what an EventSource is told, as `window.told`: ["open"], [type, id, data].
LISTEN = """(url) => {
    window.told = [];
    const source = new EventSource(url);
    source.onopen = () => window.told.push(["open"]);
    for (const type of ["message", "note", "gap"]) {
        source.addEventListener(type, (event) => window.told.push([type, event.lastEventId, event.data]));
    }
}"""


async def _told(page: Any) -> list[list[str]]:
    """The events, without the openings."""
    told: list[list[str]] = await page.evaluate("window.told.filter(([type]) => type !== 'open')")
    return told


async def _until(page: Any, condition: str) -> None:
    await page.wait_for_function(
        f"() => {condition}", polling=20
    )  # a function: the policy forbids eval()


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
