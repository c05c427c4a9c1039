"""The panel of the hub's own numbers: what it shows, when it asks, what it says when there are none."""

from __future__ import annotations

import re
from typing import Any

import pytest
from browser.live import OUTAGE, expect, publish_stream, rows
from support.servers import Server, serve

HISTOGRAM = {"bounds": [1, 2, 4], "counts": [10, 10, 20, 0]}

COVER = """(covered) => {
    Object.defineProperty(document, "hidden", { value: covered, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""  # what a browser does when its tab is covered, or shown again


def figure(page: Any, name: str, column: int) -> Any:
    """Find a number of the panel's tables: column 1 or 2, from the left."""
    return page.get_by_role("row", name=name).locator("td").nth(column)


def fact(page: Any, name: str) -> Any:
    return page.locator("#hub-facts > div").filter(has_text=name).locator("dd")


def questions(page: Any) -> list[str]:
    """Collect the requests for the numbers as they are made."""
    made: list[str] = []
    page.on("request", lambda it: made.append(it.url) if it.url.endswith("/health") else None)
    return made


async def test_the_panel_shows_what_the_hub_has_counted(open_page: Any, topic: str) -> None:
    with serve() as server:
        page = await open_page(server, topic, expected=OUTAGE)

        publish_stream(server, topic, "data: x\n\n" * 3)

        await expect(figure(page, "published", 2)).to_have_text("3")
        await expect(figure(page, "delivered", 2)).to_have_text("3")
        await expect(figure(page, "joined sends", 2)).to_have_text(re.compile(r"^[123]$"))
        await expect(figure(page, "bytes sent", 2)).to_have_text(re.compile(r"^\d\d+ B$"))
        await expect(figure(page, "open streams", 1)).to_have_text("1")
        await expect(figure(page, "delivery", 2)).to_have_text(re.compile(r"^[\d.]+ ms$"))
        await expect(fact(page, "history")).to_have_text(re.compile(r"^[\d.]+ k?B, 1 topic$"))


async def test_rates_are_those_of_now_and_fall_to_nothing(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    await expect(figure(page, "published", 1)).to_have_text("0/s")

    publish_stream(server, topic, "data: x\n\n" * 300)

    await expect(figure(page, "published", 1)).to_have_text(re.compile(r"^\d\d+(\.\d)?/s$"))
    await expect(figure(page, "published", 1)).to_have_text("0/s")
    line = page.get_by_role("row", name="published").locator(".spark-line")
    await expect(line).to_have_attribute("d", re.compile(r"^M[\d. ]+(L[\d. ]+){2,}$"))


async def test_gaps_replays_and_ends_are_told_by_their_reason(open_page: Any, topic: str) -> None:
    with serve("--history-events", "1") as server:
        page = await open_page(server, topic, expected=OUTAGE)
        server.publish(topic, "seen")
        await expect(rows(page)).to_have_count(1)

        await page.get_by_role("button", name="Disconnect").click()
        publish_stream(server, topic, "data: missed\n\n" * 3)
        await page.get_by_role("button", name="Connect").click()

        await expect(fact(page, "gaps")).to_have_text("trimmed 1")
        await expect(fact(page, "replays")).to_have_text("resumed 1")
        await expect(fact(page, "ended")).to_have_text("disconnected 1")
        await expect(fact(page, "refused")).to_have_text("none")


async def test_looking_at_the_numbers_does_not_change_them(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    before = server.health()
    asked = questions(page)

    for _ in range(2):
        await page.wait_for_event("requestfinished", lambda it: it.url.endswith("/health"))

    assert len(asked) >= 2
    assert before == server.health()


async def test_nobody_is_asked_while_nobody_looks(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    await expect(figure(page, "published", 2)).to_have_text(re.compile(r"\d"))
    await page.evaluate(COVER, True)
    await page.clock.install()
    asked = questions(page)

    await page.clock.run_for(60_000)

    assert [] == asked
    async with page.expect_request("**/health"):
        await page.evaluate(COVER, False)
    await page.locator(".hub > summary").click()
    await expect(page.locator("#hub-numbers")).to_be_hidden()
    del asked[:]
    await page.clock.run_for(60_000)
    assert [] == asked
    async with page.expect_request("**/health"):
        await page.locator(".hub > summary").click()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"status": 403, "body": "no"}, "keeps the hub's numbers to itself (status 403)"),
        ({"status": 200, "body": '{"status":"ok"}'}, "to itself (status 200)"),
        (None, "The hub does not answer"),
    ],
)
async def test_where_there_are_no_numbers_the_panel_says_why_until_there_are(
    open_page: Any, server: Server, topic: str, answer: dict[str, Any] | None, sentence: str
) -> None:
    page = await open_page(server, topic, expected=r"status of 403|net::ERR_FAILED")
    await expect(page.locator("#hub-numbers")).to_be_visible()

    # A proxy between page and hub may not let the question through.
    await page.route(
        "**/health", lambda route: route.fulfill(**answer) if answer else route.abort()
    )

    await expect(page.locator("#hub-none")).to_contain_text(sentence)
    await expect(page.locator("#hub-numbers")).to_be_hidden()
    await page.unroute("**/health")
    await page.evaluate(COVER, False)
    await expect(page.locator("#hub-numbers")).to_be_visible()
    await expect(page.locator("#hub-none")).to_be_hidden()


async def test_a_store_that_cannot_be_reached_is_said_beside_the_numbers(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    await expect(page.locator("#hub-numbers")).to_be_visible()

    async def stall(route: Any) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, json={**await answer.json(), "stalled": 12.3})

    await page.route("**/health", stall)

    await expect(page.locator("#hub-none")).to_contain_text("not reached its store for 12 s")
    await expect(page.locator("#hub-numbers")).to_be_visible()
    await page.unroute("**/health")
    await expect(page.locator("#hub-none")).to_be_hidden()


async def test_quantiles_lie_evenly_between_the_bounds_of_their_bucket(
    open_page: Any, server: Server
) -> None:
    page = await open_page(server)
    wanted = {0.25: 1, 0.5: 2, 0.75: 3, 1: 4, 0.0001: 0.0004}

    got = await page.evaluate(
        """async ([histogram, shares]) => {
            const { quantile } = await import("/page/stream/samples.js");
            return shares.map((share) => quantile(histogram, share));
        }""",
        [HISTOGRAM, list(wanted)],
    )

    assert list(wanted.values()) == pytest.approx(got)


async def test_quantiles_say_where_nothing_was_seen_and_what_lies_beyond(
    open_page: Any, server: Server
) -> None:
    page = await open_page(server)

    nothing, beyond = await page.evaluate(
        """async () => {
            const { quantile } = await import("/page/stream/samples.js");
            return [[0, 0], [1, 9]].map((counts) => quantile({ bounds: [1], counts }, 0.5));
        }"""
    )

    assert nothing is None
    assert beyond == float("inf")


async def test_a_restarted_hub_does_not_make_rates_below_nothing(
    open_page: Any, server: Server
) -> None:
    page = await open_page(server)

    kept = await page.evaluate(
        """async () => {
            const { Samples } = await import("/page/stream/samples.js");
            const samples = new Samples();
            const rates = () => samples.rates((numbers) => numbers.published).map(({ value }) => value);
            samples.add(0, { epoch: "a", published: 5 });
            samples.add(2000, { epoch: "a", published: 9 });
            const before = rates();
            samples.add(4000, { epoch: "b", published: 1 });
            samples.add(6000, { epoch: "b", published: 3 });
            return [before, rates()];
        }"""
    )

    assert [[2], [1]] == kept
