"""The live page: events, the tools of the log, topics, publishing, the chart."""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qsl

import pytest
from browser.live import REFUSED, expect, publish_stream, rows, shown_data
from support.servers import Server

JSON_TOKEN = re.compile(r'"[^"]*"|[\w.+-]+|[{}\[\]:,]')


# Events.


async def test_an_event_published_over_http_is_shown(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)

    id = server.publish(topic, "hello, world", event="greeting")

    row = rows(page).first
    await expect(row.locator(".data")).to_have_text("hello, world")
    await expect(row.locator(".row-type")).to_have_text("greeting")
    await expect(row.locator(".row-topics")).to_have_text(topic)
    await expect(row.locator(".row-id")).to_have_text(id)
    await expect(row.locator("time")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d{3}$"))
    await expect(page.locator("#last-event-id")).to_have_text(id)
    await expect(page.locator("#start")).to_be_hidden()


async def test_an_event_is_labelled_with_those_of_its_topics_that_the_page_follows(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, f"{topic}-a", f"{topic}-b")

    server.request(
        "POST", f"/events?topic={topic}-b&topic={topic}-c", b"x", {"Content-Type": "text/plain"}
    )

    await expect(rows(page).first.locator(".row-topics .chip")).to_have_text([f"{topic}-b"])


async def test_json_is_pretty_printed_as_it_was_sent(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    data = (
        '{"large":12345678901234567890,"same":1.0,"same":2,"text":"a b  c",'
        '"list":[1,2],"none":{},"deep":{"null":null}}'
    )

    server.publish(topic, data)

    shown = rows(page).first.locator(".data")
    await expect(shown).to_contain_text('"large": 12345678901234567890,\n')
    assert JSON_TOKEN.findall(data) == JSON_TOKEN.findall(await shown.text_content())
    await expect(shown.locator(".json-key").first).to_have_text('"large"')


async def test_no_event_can_become_markup(open_page: Any, server: Server, topic: str) -> None:
    page = await open_page(server, topic)
    attack = "<img src=x onerror=alert(1)><script>alert(1)</script>"

    server.publish(topic, attack, event=attack)
    server.publish(topic, '{"' + attack + '": 1}')
    publish_stream(server, topic, f"event: token\ndata: {attack}\n\n")

    await expect(page.locator(".answer-text")).to_have_text(attack)
    await expect(rows(page)).to_have_count(3)
    assert 0 == await page.locator("#log img, #log script, #answers img, #answers script").count()


async def test_long_data_is_folded_until_somebody_asks(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    data = "word " * 2000

    server.publish(topic, data)

    row = rows(page).first
    fold = row.get_by_role("button", name="all of the data, 10,000 characters")
    await expect(fold).to_have_attribute("aria-expanded", "false")
    assert len(await row.locator(".data").text_content()) < 1000
    await fold.press("Enter")
    await expect(fold).to_have_attribute("aria-expanded", "true")
    assert data == await row.locator(".data").text_content()


async def test_folded_json_shows_the_beginning_of_what_is_too_long(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)

    server.publish(topic, '{"first":"' + "x" * 2000 + '"}')

    shown = rows(page).first.locator(".data")
    await expect(shown).to_contain_text('"first": "xxx')
    await expect(shown).to_contain_text("…")
    assert len(await shown.text_content()) < 500


async def test_of_very_many_events_the_newest_500_are_shown_and_all_are_counted(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)

    publish_stream(server, topic, "".join(f"data: {number}\n\n" for number in range(1, 3001)))

    await expect(page.locator("#events-total")).to_have_text("3,000")
    await expect(rows(page).first.locator(".data")).to_have_text("3000")
    await expect(page.locator("#log > .row")).to_have_count(500)
    await expect(rows(page).last.locator(".data")).to_have_text("2501")


@pytest.mark.long
async def test_a_thousand_events_a_second_do_not_freeze_the_page(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    await page.evaluate(
        """() => {
            window.frames_drawn = 0;
            const draw = () => (window.frames_drawn++, requestAnimationFrame(draw));
            draw();
        }"""
    )
    data = '{"symbol":"ACME","bid":101.25,"venue":{"name":"XAMS","open":true},"sizes":[100,200,300,400]}'

    await asyncio.to_thread(_publish_for, 3.0, server, topic, f"event: tick\ndata: {data}\n\n")

    assert await page.evaluate("window.frames_drawn") > 15
    await expect(page.locator("#events-total")).to_have_text("3,000")
    await expect(page.locator("#log > .row")).to_have_count(500)


def _publish_for(seconds: float, server: Server, topic: str, block: str) -> None:
    """Publish a thousand events a second, in one streamed body."""

    def blocks() -> Iterator[bytes]:
        start = time.monotonic()
        for number in range(1, int(seconds * 50) + 1):
            yield (block * 20).encode()
            time.sleep(max(0.0, start + number / 50 - time.monotonic()))

    headers = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
    connection = HTTPConnection(server.host, server.port)
    connection.request("POST", f"/events?topic={topic}", blocks(), headers, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()


# Tools of the log.


async def test_the_filter_hides_what_does_not_match_now_and_later(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    server.publish(topic, "an Apple")
    server.publish(topic, "a pear", event="apple-like")
    server.publish(topic, "a plum")
    await expect(rows(page)).to_have_count(3)

    await page.get_by_label("Filter the events").fill("apple")
    server.publish(topic, "a cherry")

    await expect(rows(page)).to_have_count(4)
    await expect(shown_data(page)).to_have_text(["a pear", "an Apple"])
    await expect(page.locator("#shown")).to_contain_text("2 of")


async def test_pause_holds_events_back_and_resume_shows_them(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    await page.get_by_role("button", name="Pause", exact=True).click()

    server.publish(topic, "held")

    await expect(page.get_by_role("button", name="Resume (1)")).to_have_attribute(
        "aria-pressed", "true"
    )
    await expect(rows(page)).to_have_count(0)
    await page.get_by_role("button", name="Resume (1)").click()
    await expect(rows(page).first.locator(".data")).to_have_text("held")


async def test_clear_empties_the_log_and_replay_fetches_what_is_kept(
    open_page: Any, server: Server, topic: str
) -> None:
    server.publish(topic, "before the page was opened")
    page = await open_page(server, topic)
    server.publish(topic, "after")
    await expect(rows(page)).to_have_count(1)

    await page.get_by_role("button", name="Clear", exact=True).click()

    await expect(rows(page)).to_have_count(0)
    await page.get_by_role("button", name="Replay", exact=True).click()
    await expect(rows(page).locator(".data")).to_have_text(["after", "before the page was opened"])


# Topics.


async def test_topics_are_picked_and_removed_and_the_address_says_so(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, f"{topic}-a")

    await page.get_by_label("Follow a topic").fill(f"{topic} b/ü")
    await page.get_by_label("Follow a topic").press("Enter")

    await expect(page.locator("#topics .chip > span")).to_have_text([f"{topic}-a", f"{topic} b/ü"])
    assert [f"{topic}-a", f"{topic} b/ü"] == await page.evaluate(
        "new URLSearchParams(location.search).getAll('topic')"
    )
    await expect(page.locator("#state-word")).to_have_text("open")
    server.publish(f"{topic} b/ü", "to the new one")
    await expect(rows(page).first.locator(".data")).to_have_text("to the new one")

    await page.get_by_role("button", name=f"stop following {topic}-a").click()
    assert [f"{topic} b/ü"] == await page.evaluate(
        "new URLSearchParams(location.search).getAll('topic')"
    )
    await page.go_back()
    await expect(page.locator("#topics .chip")).to_have_count(2)


async def test_a_changed_choice_of_topics_loses_nothing_in_between(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, f"{topic}-a")
    server.publish(f"{topic}-a", "1")
    await expect(rows(page)).to_have_count(1)
    server.publish(f"{topic}-b", "2")

    await page.get_by_label("Follow a topic").fill(f"{topic}-b")
    await page.get_by_label("Follow a topic").press("Enter")

    await expect(rows(page).locator(".data")).to_have_text(["2", "1"])


TOPICS = [
    "👨‍👩‍👧",  # a family, held together by joiners
    "می‌خواهم",  # a word with a non-joiner in it
    "東京　大阪",  # an ideographic space
    "\U0001fae9",  # a new emoji
    "a b+c&d=e#f%20?g/h;i,j",
    """"quotes" 'n' <b>markup</b> $(shell) `back` \\""",
    "\u202eright to left\u202c",
    "\u200b",  # nothing to be seen
    "__proto__",
    "constructor",
]


async def test_topics_of_every_script_are_followed_shared_and_published_to(
    open_page: Any, server: Server
) -> None:
    page = await open_page(server, path="/")
    chips = page.locator("#topics .chip > span")

    for topic in TOPICS:  # by the picker
        await page.get_by_label("Follow a topic").fill(topic)
        await page.get_by_label("Follow a topic").press("Enter")
    assert TOPICS == await chips.all_text_contents()
    assert TOPICS == await page.evaluate("new URL(location).searchParams.getAll('topic')")
    assert ", ".join(TOPICS) in await page.title()
    await expect(page.locator("#log > .note").first).to_contain_text("\u2068می‌خواهم\u2069, 東京")

    await page.reload()  # by the address
    await expect(page.locator("#state-word")).to_have_text("open")
    assert TOPICS == await chips.all_text_contents()

    for topic in TOPICS:  # by the form
        await page.get_by_label("Topic", exact=True).fill(topic)
        await page.get_by_label("Data", exact=True).fill(f"to {TOPICS.index(topic)}")
        await page.get_by_role("button", name="Publish", exact=True).click()
        row = rows(page).filter(has_text=f"to {TOPICS.index(topic)}")
        await expect(row).to_have_count(1)
        assert [topic] == await row.locator(".chip > span").all_text_contents()

    command = await page.locator("[data-commands] code").first.text_content()
    [url] = shlex.split(command)[2:]
    assert [("topic", topic) for topic in TOPICS] == parse_qsl(url.partition("?")[2])


async def test_a_topic_that_the_hub_refuses_is_explained_beside_the_topics(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic, expected=REFUSED)

    await page.get_by_label("Follow a topic").fill("x" * 300)
    await page.get_by_label("Follow a topic").press("Enter")

    await expect(page.locator("#topic-error")).to_contain_text("256")
    await expect(page.locator("#state-word")).to_have_text("refused")


# Publishing.


async def test_the_form_publishes_and_shows_the_id_and_the_subscribers(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    await expect(page.get_by_label("Topic", exact=True)).to_have_value(topic)

    await page.get_by_label("Event type").fill("note")
    await page.get_by_label("Data", exact=True).fill("first line\nsecond line")
    await page.get_by_role("button", name="Publish", exact=True).click()

    row = rows(page).first
    await expect(row.locator(".data")).to_have_text("first line\nsecond line")
    id = await row.locator(".row-id").text_content()
    await expect(page.locator("#publish-answer")).to_have_text(
        f"published as {id}, to 1 subscriber"
    )


@pytest.mark.parametrize(
    ("field", "label", "value"),
    [("event", "Event type", "gap"), ("topic", "Topic", ""), ("topic", "Topic", "x" * 300)],
)
async def test_a_problem_is_shown_beside_the_field_that_it_names(
    open_page: Any, server: Server, topic: str, field: str, label: str, value: str
) -> None:
    page = await open_page(server, topic, expected=REFUSED)

    await page.get_by_label(label, exact=True).fill(value)
    await page.get_by_role("button", name="Publish", exact=True).click()

    input, error = page.locator(f"#publish-{field}"), page.locator(f"#publish-{field}-error")
    await expect(error).to_be_visible()
    await expect(error).not_to_be_empty()
    await expect(input).to_have_attribute("aria-invalid", "true")
    await expect(input).to_be_focused()
    await expect(page.locator("#publish-answer")).to_have_text("not published")
    await expect(rows(page)).to_have_count(0)

    await input.fill("good")
    await expect(error).to_be_hidden()
    assert await input.get_attribute("aria-invalid") is None


async def test_the_start_says_hello_and_has_the_command_lines_of_this_server(
    open_page: Any, server: Server
) -> None:
    page = await open_page(server, path="/")
    await page.get_by_role("button", name="Follow news").click()
    await expect(page.locator("#start")).to_contain_text(
        f"curl -N '{server.url}/events?topic=news'"
    )
    await expect(page.locator("#start")).to_contain_text(
        f"curl -d topic=news -d data=hello {server.url}/events"
    )

    await page.get_by_role("button", name="Publish a hello to news").click()

    await expect(rows(page).first.locator(".row-type")).to_have_text("greeting")
    await expect(page.locator("#start")).to_be_hidden()


# The chart.


async def test_the_chart_counts_events_of_the_running_second(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    await expect(page.locator("#chart rect")).to_have_count(60)

    publish_stream(server, topic, "data: x\n\n" * 200)

    await expect(page.locator("#chart")).to_have_attribute(
        "aria-label", re.compile(r"peak (\d\d\d)")
    )
    await expect(page.locator("#chart rect:not(.none)")).not_to_have_count(0)
