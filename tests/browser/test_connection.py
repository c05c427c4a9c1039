"""The live page's stream: kept open, resumed where it stood, and honest about what happens to it."""

from __future__ import annotations

import re
from typing import Any

from browser.live import OUTAGE, expect, rows
from servers import Server, free_port, serve


async def test_a_restart_shows_the_reconnection_and_a_gap(open_page: Any, topic: str) -> None:
    port = str(free_port())
    with serve("--port", port, "--retry", "100") as server:
        page = await open_page(server, topic, expected=OUTAGE)
        before = server.publish(topic, "before")
        await expect(rows(page)).to_have_count(1)
    await expect(page.locator("#state-word")).to_contain_text("waiting")
    await expect(page.get_by_role("button", name="Retry now")).to_be_visible()

    with serve("--port", port, "--retry", "100") as server:
        await expect(page.locator("#state-word")).to_have_text("open")
        after = server.publish(topic, "after")
        await expect(rows(page).locator(".data")).to_have_text(["after", "before"])

        gap = page.locator("#log > .gap")
        await expect(gap).to_have_count(1)
        await expect(gap).to_contain_text("Gap: restart.")
        await expect(gap).to_contain_text(f"from {before} to {after.partition('-')[0]}-0")
        await expect(page.locator("#gaps")).to_have_text("1")
        await expect(page.locator("#reconnects")).to_have_text("1")
        await expect(page.locator("#log > .note").first).to_contain_text("reconnected after")
        await page.close()


async def test_a_shutdown_is_shown_as_draining(open_page: Any, topic: str) -> None:
    with serve("--retry", "60000") as server:
        page = await open_page(server, topic, expected=OUTAGE)

    await expect(page.locator("#state")).to_have_attribute("data-state", "draining")
    await expect(page.locator("#reason")).to_have_text("the hub is shutting down")


async def test_after_a_pause_of_the_stream_exactly_what_was_missed_comes(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    server.publish(topic, "1")
    await expect(rows(page)).to_have_count(1)

    await page.get_by_role("button", name="Disconnect").click()
    await expect(page.locator("#state-word")).to_have_text("stopped")
    server.publish(topic, "2")
    server.publish(topic, "3")
    await page.get_by_role("button", name="Connect").click()

    await expect(rows(page).locator(".data")).to_have_text(["3", "2", "1"])
    await expect(page.locator("#log > .gap")).to_have_count(0)


async def test_streams_that_the_hub_ends_by_lifetime_are_resumed_without_loss(
    open_page: Any, topic: str
) -> None:
    with serve("--lifetime", "1", "--retry", "100") as server:
        page = await open_page(server, topic)
        sent = []
        while await page.locator("#reconnects").text_content() in ("0", "1"):
            sent.append(str(len(sent)))
            server.publish(topic, sent[-1])

        await expect(page.locator("#events-total")).to_have_text(f"{len(sent):,}")
        newest = sent[::-1][:100]
        assert newest == (await rows(page).locator(".data").all_text_contents())[: len(newest)]
        await expect(page.locator("#gaps")).to_have_text("0")
        await page.close()


async def test_a_full_hub_is_asked_again_when_it_said_to(open_page: Any, topic: str) -> None:
    with serve("--max-streams", "1", "--retry", "100") as server:
        first = await open_page(server, topic)
        second = await open_page(server, expected=r"status of 503", path=f"/?topic={topic}")

        await expect(second.locator("#reason")).to_contain_text("all 1 streams are taken")
        assert int((await second.locator("#state-word").text_content()).split()[1]) > 1
        await first.close()
        await second.get_by_role("button", name="Retry now").click()
        await expect(second.locator("#state-word")).to_have_text("open")
        await second.close()


async def test_an_answer_204_stops_the_page_from_reconnecting(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    asked = []

    async def answer(route: Any) -> None:
        asked.append(route.request.url)
        await route.fulfill(status=204)

    await page.route("**/events?*", answer)
    await page.get_by_role("button", name="Replay").click()

    await expect(page.locator("#state-word")).to_have_text("stopped")
    await expect(page.locator("#reason")).to_contain_text("204")
    assert 1 == len(asked)


async def test_heartbeats_are_shown(open_page: Any, topic: str) -> None:
    with serve("--heartbeat", "0.2") as server:
        page = await open_page(server, topic)

        await expect(page.locator("#state")).to_have_class(re.compile("beat"))
        await expect(page.locator("#heard")).to_have_text("just now")
        await page.close()
