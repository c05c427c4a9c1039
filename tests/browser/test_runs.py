"""Answers that survive a reload: in the live page, in the example's page, and with an EventSource alone."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.live import expect, rows
from support.servers import ROOT, Server, serve, serve_granian

WORDS = [f"word{n} " for n in range(1, 201)]
RELOADS = 10

EXAMPLE = """
import run
from starlette.responses import JSONResponse
from starlette.routing import Route

run.PAUSE = 0.03
app = run.app
app.routes.append(Route("/health", lambda request: JSONResponse({})))
"""

# An EventSource that nobody closes: what it is told, and the states in which it finds itself after errors.
LISTEN = """(url) => {
    window.told = [];
    window.states = [];
    const source = window.source = new EventSource(url);
    source.onmessage = ({ data }) => window.told.push(data);
    source.addEventListener("end", ({ data }) => window.told.push(JSON.parse(data)));
    source.onerror = () => window.states.push(source.readyState);
}"""
GONE = "can’t establish a connection"  # what Firefox's console says of a 204
CLOSED = "() => window.source.readyState === EventSource.CLOSED"


def stream_of(words: list[str]) -> bytes:
    return b"".join(b"event: token\ndata: %b\n\n" % word.encode() for word in words)


def post(server: Server, topic: str, body: bytes, more: str = "") -> Any:
    headers = {"Content-Type": "text/event-stream"}
    reply = server.request("POST", f"/events?topic={topic}{more}", body, headers)
    assert reply.status == 200, reply
    return reply.json


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the example, whose answers take some six seconds."""
    place: Path = tmp_path_factory.mktemp("example")
    (place / "slow.py").write_text(EXAMPLE)
    path = os.pathsep.join(map(str, [ROOT, ROOT / "examples", place]))
    with serve_granian(app="slow:app", PYTHONPATH=path) as server:
        yield server


# The example's page.


@pytest.mark.long
async def test_the_examples_page_shows_a_whole_answer_after_each_of_ten_reloads(
    open_page: Any, example: Server, topic: str
) -> None:
    page = await open_page(example, path=f"/answers/{topic}", expected="404")  # no icon
    answer, whole = page.locator("#answer"), "".join(WORDS)
    lengths = []

    for number in range(RELOADS):
        await expect(answer).to_contain_text(WORDS[10 * number])
        await page.reload()
        await expect(answer).to_contain_text(WORDS[10 * number])
        text = await answer.text_content()
        assert whole.startswith(text)
        lengths.append(len(text))

    await expect(page.locator("#state")).to_have_text("finished")
    assert whole == await answer.text_content()
    assert lengths == sorted(lengths)
    await page.reload()
    await expect(page.locator("#state")).to_have_text("finished")
    assert whole == await answer.text_content()


# The live page.


async def test_the_live_page_shows_a_run_to_its_end_through_ten_reloads_and_asks_no_more(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    asked: list[str] = []
    text, facts = page.locator(".answer-text"), page.locator(".answer-facts")

    for number in range(RELOADS):
        words = WORDS[20 * number : 20 * number + 20]
        await asyncio.to_thread(post, server, topic, stream_of(words))
        await expect(text).to_have_text("".join(WORDS[: 20 * number + 20]))
        await page.reload()
        await expect(text).to_have_text("".join(WORDS[: 20 * number + 20]))
        await expect(page.locator("#log > .gap")).to_have_count(0)

    page.on("request", lambda request: asked.append(request.url))
    reply = await asyncio.to_thread(server.request, "DELETE", f"/events?topic={topic}")
    assert 200 == reply.status
    await expect(page.locator("#state-word")).to_have_text("stopped")
    await expect(page.locator("#reason")).to_have_text("all topics have ended")
    await expect(facts).to_contain_text("200 tokens")
    await expect(facts).to_contain_text("done")
    await expect(page.locator("#log > .note.good").first).to_contain_text("has ended")
    await asyncio.sleep(0.5)
    assert [] == [url for url in asked if "/events" in url]

    await page.reload()
    await expect(page.locator("#state-word")).to_have_text("stopped")
    await expect(text).to_have_text("".join(WORDS))


async def test_a_link_with_a_beginning_shows_all_of_it(
    open_page: Any, server: Server, topic: str
) -> None:
    await asyncio.to_thread(post, server, topic, stream_of(WORDS[:30]))

    page = await open_page(server, path=f"/?topic={topic}&last_event_id=earliest")

    await expect(page.locator(".answer-text")).to_have_text("".join(WORDS[:30]))


async def test_the_live_page_says_why_a_run_has_ended(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic, "other")
    await asyncio.to_thread(post, server, topic, stream_of(WORDS[:3]))
    await expect(rows(page)).to_have_count(3)

    path = f"/events?topic={topic}&reason=failed"
    await asyncio.to_thread(server.request, "DELETE", path)

    await expect(page.locator("#log > .note.bad").first).to_contain_text("has ended: failed")
    await expect(page.locator(".answer-facts")).to_contain_text("failed")
    await expect(page.locator("#state-word")).to_have_text("open")  # the other topic goes on


async def test_a_page_that_comes_too_late_stops_at_once(open_page: Any, topic: str) -> None:
    with serve("--history-events", "0") as late:
        await asyncio.to_thread(post, late, topic, stream_of(WORDS[:3]), "&end=1")

        page = await open_page(late, path=f"/?topic={topic}")

        await expect(page.locator("#state-word")).to_have_text("stopped")
        await expect(page.locator("#reason")).to_contain_text("nothing more is kept (204)")
        await page.close()


# An EventSource.


async def test_an_event_source_gets_the_end_comes_back_once_and_stays_away(
    open_page: Any, topic: str
) -> None:
    with serve("--retry", "100") as server:
        page = await open_page(server, path="/", expected=GONE)
        await page.evaluate(LISTEN, f"/events?topic={topic}&last_event_id=earliest")
        await asyncio.to_thread(post, server, topic, b"data: 1\n\ndata: 2\n\n", "&end=1")

        await page.wait_for_function(CLOSED, polling=20)
        health = server.health()

        end = {"topic": topic, "reason": "finished"}
        assert ["1", "2", end] == await page.evaluate("window.told")
        assert [0, 2] == await page.evaluate("window.states")  # CONNECTING, CLOSED
        assert ({"ended": 1}, {"finished": 1}) == (health["refused"], health["ended"])
        await asyncio.sleep(0.5)
        assert {"ended": 1} == server.health()["refused"]
        await page.close()


async def test_an_event_source_that_comes_after_the_expiry_is_closed(
    open_page: Any, topic: str
) -> None:
    with serve("--retry", "100", "--keep-ended", "0.3") as server:
        page = await open_page(server, path="/", expected=GONE)
        first = server.publish(topic, "1")
        await asyncio.to_thread(server.request, "DELETE", f"/events?topic={topic}")
        while server.health()["history"]["topics"]:
            await asyncio.sleep(0.05)

        for query in ("", "&last_event_id=earliest", f"&last_event_id={first}"):
            await page.evaluate(LISTEN, f"/events?topic={topic}{query}")
            await page.wait_for_function(CLOSED, polling=20)
            assert [[], [2]] == json.loads(
                await page.evaluate("JSON.stringify([window.told, window.states])")
            )
        assert {"ended": 3} == server.health()["refused"]
        await page.close()
