"""The live page shows whatever it is sent: nothing is lost, and nothing stops or freezes the page."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from browser.live import REFUSED, expect, rows
from browser.nasty import FLOODS, FOREIGN, PAYLOADS
from support.servers import Server, serve

# ms of the page's own thread: twice what the platform calls a long task, since a processor that others use is slower.
LONGEST_TASK = 100.0
ROOMY = ("--max-event-size", "16777216", "--history-bytes", "67108864", "--lag-bytes", "268435456")

SHOWN = PAYLOADS | FLOODS
_numbers = itertools.count()  # of good events

# The texts of the rows that tell of a good event, oldest first.
GOOD = """() => [...document.querySelectorAll("#log > .row .data")]
    .map((node) => node.textContent).filter((text) => /^good \\d+$/.test(text)).reverse()"""


@pytest.fixture(scope="module")
def roomy() -> Iterator[Server]:
    """Run a broadcast that takes and keeps events of many MiB."""
    with serve(*ROOMY) as server:
        yield server


def _post(server: Server, topic: str, stream: bytes) -> str:
    """Publish the events of a stream, and return the id of the last."""
    headers = {"Content-Type": "text/event-stream"}
    reply = server.request("POST", f"/events?topic={topic}", stream, headers)
    assert reply.status == 200, reply
    return str(reply.json["ids"][-1])


def _between_good_ones(payloads: dict[str, bytes]) -> tuple[bytes, list[str]]:
    """Write a stream of the payloads, each between two good events; return the data of these as well."""
    stream, good = b"", []
    for number, block in enumerate(payloads.values()):
        good += [f"good {2 * number}", f"good {2 * number + 1}"]
        stream += b"data: %b\n\n%bdata: %b\n\n" % (good[-2].encode(), block, good[-1].encode())
    return stream, good


async def test_nothing_stops_the_page_or_what_comes_after_it(
    open_page: Any, roomy: Server, topic: str
) -> None:
    page = await open_page(roomy, topic)
    stream, good = _between_good_ones(PAYLOADS)

    last = await asyncio.to_thread(_post, roomy, topic, stream)

    for _ in range(2):  # as they come, then from the history
        await expect(page.locator("#events-total")).to_have_text(str(3 * len(PAYLOADS)))
        await expect(page.locator("#last-event-id")).to_have_text(last)
        await expect(rows(page).first.locator(".data")).to_have_text(good[-1])
        await expect(rows(page)).to_have_count(3 * len(PAYLOADS))
        assert good == await page.evaluate(GOOD)
        assert "0" == await page.locator("#reconnects").text_content()
        assert "0" == await page.locator("#gaps").text_content()
        assert "open" == await page.locator("#state-word").text_content()
        await page.get_by_role("button", name="Replay").click()


async def test_what_follows_in_the_same_chunk_is_shown_and_the_last_event_id_is_the_last(
    open_page: Any, server: Server, topic: str
) -> None:
    """The page gets a body of one piece, with comments that a hub would not pass on, and then asks for more."""
    page = await open_page(server, path="/")
    stream, good = _between_good_ones(FOREIGN)
    blocks = stream.split(b"\n\n")[:-1]
    body = b"".join(b"%b\nid: e-%d\n\n" % (block, number) for number, block in enumerate(blocks))
    asked: list[str] = []

    async def answer(route: Any) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            await route.fulfill(body=body, headers={"Content-Type": "text/event-stream"})
        else:
            await route.fulfill(status=204)

    await page.route("**/events?*", answer)
    await page.get_by_label("Follow a topic").fill(topic)
    await page.get_by_label("Follow a topic").press("Enter")

    await expect(page.locator("#state-word")).to_have_text("stopped")
    await expect(page.locator("#events-total")).to_have_text(str(len(blocks)))
    await expect(page.locator("#log > .gap")).to_have_count(5)
    await expect(rows(page)).to_have_count(len(blocks) - 5)
    assert good == await page.evaluate(GOOD)
    assert 2 == len(asked)
    assert asked[1].endswith(f"&last_event_id=e-{len(blocks) - 1}")


@pytest.mark.parametrize(
    "problem",
    ['{"detail":{"toString":1}}', '{"detail":[{"msg":"x"}],"title":7}', "[]", "null", '"x"', "{"],
)
async def test_a_refusal_is_told_however_its_problem_is_shaped(
    open_page: Any, server: Server, topic: str, problem: str
) -> None:
    page = await open_page(server, path="/", expected=REFUSED)
    headers = {"Content-Type": "application/problem+json"}
    answer = {"status": 403, "headers": headers, "body": problem}
    await page.route("**/events*", lambda route: route.fulfill(**answer))

    await page.get_by_label("Follow a topic").fill(topic)
    await page.get_by_label("Follow a topic").press("Enter")
    await page.get_by_role("button", name="Publish", exact=True).click()

    told = re.compile(r"^(7|the hub answered 403.*)$")
    await expect(page.locator("#state-word")).to_have_text("refused")
    await expect(page.locator("#reason")).to_have_text(told)
    await expect(page.locator("#publish-answer")).to_have_text(told)


@pytest.mark.only_in("chromium")  # Firefox does not tell how long its tasks take
async def test_nothing_freezes_the_page(
    open_page: Any, roomy: Server, topic: str, browser: Any
) -> None:
    page = await open_page(roomy, topic)

    tasks = await _measure(browser.running, page, roomy, topic, list(SHOWN))
    for _ in range(
        2
    ):  # a task that was long by accident, such as a collection of garbage, is not long again
        long = [name for name, ms in tasks.items() if ms > LONGEST_TASK]
        again = await _measure(browser.running, page, roomy, topic, long) if long else {}
        tasks |= {name: min(ms, tasks[name]) for name, ms in again.items()}

    assert {} == {name: ms for name, ms in tasks.items() if ms > LONGEST_TASK}


async def _measure(
    browser: Any, page: Any, server: Server, topic: str, names: list[str]
) -> dict[str, float]:
    """Show these payloads one after another, and find the longest task that each of them makes."""
    categories = ["disabled-by-default-devtools.timeline", "blink.user_timing"]
    await browser.start_tracing(page=page, categories=categories)
    for name in names:
        good = f"good {next(_numbers)}"
        stream = b"data: before\n\n%bdata: %b\n\n" % (SHOWN[name], good.encode())
        await page.evaluate("(name) => void performance.mark(name)", name)
        await asyncio.to_thread(_post, server, topic, stream)
        await expect(rows(page).first.locator(".data")).to_have_text(good)
    return _longest_tasks(await browser.stop_tracing())


def _longest_tasks(trace: bytes) -> dict[str, float]:
    """Find the longest task of the page's thread after each mark, in ms of the thread's own time.

    Time that other processes take on a busy machine does not count.
    """
    events = json.loads(trace)["traceEvents"]
    marks = [event for event in events if event["cat"] == "blink.user_timing"]
    [thread] = {(mark["pid"], mark["tid"]) for mark in marks if mark["name"] in SHOWN}
    longest: dict[str, float] = {}
    name = ""
    for event in sorted(events, key=lambda event: int(event["ts"])):
        if (event["pid"], event["tid"]) != thread:
            continue
        if event["cat"] == "blink.user_timing":
            name = event["name"]
            longest[name] = 0.0
        elif event["name"] == "RunTask" and name:
            longest[name] = max(longest[name], event.get("tdur", 0) / 1000)
    return longest


@pytest.mark.only_in("chromium")  # of one engine's speed; what is kept is the same in both
async def test_large_events_are_opened_piece_by_piece_and_kept_within_bounds(
    open_page: Any, roomy: Server, topic: str
) -> None:
    page = await open_page(roomy, topic)
    large = b"data: %b\n\n" % (b"a line\ndata: " * 150_000)

    await asyncio.to_thread(_post, roomy, topic, large * 40)

    await expect(page.locator("#events-total")).to_have_text("40")
    assert 1 < await rows(page).count() < 35  # of 1 MiB each, without the field names
    newest = rows(page).first
    await newest.get_by_role("button", name="all of the data").click()
    for pieces in (2, 3):
        await newest.get_by_role("button", name="Show more").click()
        await expect(newest.locator(".data")).to_have_count(pieces)
    text = "".join(await newest.locator(".data").all_text_contents())
    assert "a line\n" * 3000 == text
    await newest.get_by_role("button", name="all of the data").click()
    await expect(newest.locator(".data")).to_have_count(1)
    assert len(await newest.locator(".data").text_content()) < 500
