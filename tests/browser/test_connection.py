"""The live page's stream: kept open, resumed where it stood, and honest about what happens to it."""

from __future__ import annotations

import asyncio
import re
import signal
from typing import Any

import pytest
from browser.live import OUTAGE, expect, rows
from support.servers import DEADLINE, Server, free_port, serve


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


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (": full: all 7 streams are taken\nretry: 9000\n\n", "all 7 streams are taken"),
        ("retry: 9000\n\n", "the hub ended the stream"),  # a proxy's, whose hub is away
    ],
)
async def test_a_stream_that_only_says_when_to_come_again_is_no_opening(
    open_page: Any, server: Server, topic: str, body: str, reason: str
) -> None:
    page = await open_page(server, path="/")
    headers = {"Content-Type": "text/event-stream"}
    await page.route("**/events?*", lambda route: route.fulfill(body=body, headers=headers))

    await page.get_by_label("Follow a topic").fill(topic)
    await page.get_by_label("Follow a topic").press("Enter")

    await expect(page.locator("#reason")).to_have_text(reason)
    await expect(page.locator("#state")).to_have_attribute("data-state", "waiting")
    assert int((await page.locator("#state-word").text_content()).split()[1]) > 5
    await page.unroute("**/events?*")
    await page.get_by_role("button", name="Retry now").click()
    await expect(page.locator("#state-word")).to_have_text("open")
    await expect(page.locator("#reconnects")).to_have_text("0")


async def test_an_archive_that_cannot_be_read_is_said_and_the_page_comes_back(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, path="/")
    body = ": fastsse\nid: log-1\nretry: 9000\n\n: archive\n\n"
    headers = {"Content-Type": "text/event-stream"}
    await page.route("**/events?*", lambda route: route.fulfill(body=body, headers=headers))

    await page.get_by_label("Follow a topic").fill(topic)
    await page.get_by_label("Follow a topic").press("Enter")

    await expect(page.locator("#reason")).to_contain_text("cannot read its archive")
    await expect(page.locator("#state")).to_have_attribute("data-state", "waiting")
    await page.unroute("**/events?*")
    await page.get_by_role("button", name="Retry now").click()
    await expect(page.locator("#state-word")).to_have_text("open")


async def test_a_retry_that_is_pressed_twice_or_late_does_not_disconnect(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, path="/")
    headers = {"Content-Type": "text/event-stream"}
    await page.route(
        "**/events?*", lambda route: route.fulfill(body="retry: 9000\n\n", headers=headers)
    )
    await page.get_by_label("Follow a topic").fill(topic)
    await page.get_by_label("Follow a topic").press("Enter")
    await expect(page.locator("#state")).to_have_attribute("data-state", "waiting")
    await page.unroute("**/events?*")

    await page.locator("#connection-action").evaluate(
        "button => { button.click(); button.click() }"
    )

    await expect(page.locator("#state-word")).to_have_text("open")
    await page.wait_for_timeout(600)
    await page.get_by_role("button", name="Disconnect").click()
    await expect(page.locator("#state-word")).to_have_text("stopped")


async def test_silence_is_noticed_by_a_page_that_never_heard_a_heartbeat(
    open_page: Any, topic: str
) -> None:
    with serve("--heartbeat", "15", "--retry", "100") as server:
        page = await open_page(server, topic, clock=True)
        server.signal(signal.SIGSTOP, group=True)

        await page.clock.fast_forward(30_000)
        assert "open" == await page.locator("#state-word").text_content()
        await page.clock.fast_forward(16_000)

        await expect(page.locator("#log > .note").first).to_contain_text(
            "nothing came for too long"
        )
        server.signal(signal.SIGCONT, group=True)
        await expect(page.locator("#state-word")).to_have_text("open")
        server.publish(topic, "after")
        await expect(rows(page).locator(".data")).to_have_text(["after"])
        await page.close()


async def _let_go(server: Server) -> None:
    """Wait until the hub has no open stream."""
    async with asyncio.timeout(DEADLINE):
        while server.health()["streams"]:
            await asyncio.sleep(0.02)


@pytest.mark.only_in("chromium")  # pages are frozen over the DevTools protocol alone
@pytest.mark.parametrize("heartbeat", ["0.2", "15"], ids=["after a heartbeat", "before one"])
async def test_a_page_that_was_frozen_goes_on_where_it_stood(
    sleepy_page: Any, topic: str, heartbeat: str
) -> None:
    with serve("--heartbeat", heartbeat, "--retry", "60000") as server:
        page = await sleepy_page(f"{server.url}/?topic={topic}")
        await expect(page.locator("#state-word")).to_have_text("open")
        server.publish(topic, "before")
        await expect(page.locator("#events-total")).to_have_text("1")
        if heartbeat == "0.2":
            await expect(page.locator("#state")).to_have_class(re.compile("beat"))
        browser = await page.context.new_cdp_session(page)

        await browser.send("Page.setWebLifecycleState", {"state": "frozen"})
        await _let_go(server)
        ids = [server.publish(topic, f"frozen {number}") for number in range(3)]
        await browser.send("Page.setWebLifecycleState", {"state": "active"})

        await expect(page.locator("#last-event-id")).to_have_text(ids[-1])
        await expect(page.locator("#events-total")).to_have_text("4")
        server.publish(topic, "after")
        await expect(page.locator("#events-total")).to_have_text("5")
        await expect(page.locator("#reconnects")).to_have_text("1")
        await expect(page.locator("#gaps")).to_have_text("0")


@pytest.mark.only_in("chromium")  # Firefox reloads a page with an open stream
async def test_a_page_that_comes_back_from_the_back_forward_cache_goes_on_where_it_stood(
    sleepy_page: Any, topic: str
) -> None:
    with serve("--retry", "60000") as server:
        page = await sleepy_page(f"{server.url}/?topic={topic}")
        await expect(page.locator("#state-word")).to_have_text("open")
        server.publish(topic, "before")
        await expect(rows(page)).to_have_count(1)
        await page.evaluate("window.kept = true")

        await page.goto(f"{server.url}/health")
        await _let_go(server)
        server.publish(topic, "away")
        await page.go_back(wait_until="commit")

        await expect(rows(page).locator(".data")).to_have_text(["away", "before"])
        await expect(page.locator("#state-word")).to_have_text("open")
        assert await page.evaluate("window.kept"), "the page was loaded anew"
