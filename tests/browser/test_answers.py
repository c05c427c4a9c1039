"""Answers of LLMs, which the live page puts together from their tokens."""

from __future__ import annotations

import asyncio
import runpy
import sys
from typing import Any

import pytest
from browser.live import expect, publish_stream, rows, shown_data
from support.servers import ROOT, Server

EXAMPLES = ROOT / "examples"

# Records how the text of the only answer grows.
WATCH = """() => {
    window.grown = [];
    const look = () => {
        const text = document.querySelector(".answer-text")?.textContent ?? "";
        if (text.length !== (window.grown.at(-1) ?? 0)) window.grown.push(text.length);
    };
    const options = { subtree: true, childList: true, characterData: true };
    new MutationObserver(look).observe(document.querySelector("#answers"), options);
}"""


async def test_an_answer_grows_as_it_is_played(open_page: Any, server: Server, topic: str) -> None:
    page = await open_page(server, topic)
    await page.evaluate(WATCH)

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(EXAMPLES / "play.py", EXAMPLES / "chat.sse"),
        *("--topic", topic, "--url", server.url, "--rate", "150"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    await expect(page.locator(".answer.typing .caret")).to_be_visible()
    assert 0 == await process.wait()

    await expect(page.locator(".answer-facts")).to_contain_text("done")
    answer = runpy.run_path(str(EXAMPLES / "make_chat.py"))["ANSWER"].rstrip("\n")
    assert answer == await page.locator(".answer-text").text_content()
    await expect(page.locator(".answer-model")).to_contain_text("gpt")
    grown = await page.evaluate("window.grown")
    assert grown == sorted(set(grown))
    assert len(grown) > 10
    await expect(rows(page).first.locator(".data")).to_have_text("[DONE]")


ANTHROPIC = """\
event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","model":"claude","content":[]}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Grüß"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" dich"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_stop
data: {"type":"message_stop"}

"""

RESPONSES = """\
event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"Grüß"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":" dich"}

event: response.output_text.done
data: {"type":"response.output_text.done","item_id":"msg_1","output_index":0,"content_index":0,"text":"Grüß dich"}

"""

PLAIN = "event: token\ndata: Grüß\n\nevent: token\ndata:  dich\n\nevent: done\ndata: ok\n\n"
PLAIN_JSON = 'event: token\ndata: {"text":"Grüß"}\n\nevent: token\ndata: {"text":" dich"}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(ANTHROPIC, id="anthropic"),
        pytest.param(RESPONSES, id="responses"),
        pytest.param(PLAIN, id="plain"),
        pytest.param(PLAIN_JSON, id="json"),
    ],
)
async def test_an_answer_of_each_shape_is_put_together(
    open_page: Any, server: Server, topic: str, stream: str
) -> None:
    page = await open_page(server, topic)

    publish_stream(server, topic, stream)

    await expect(page.locator(".answer-text")).to_have_text("Grüß dich")
    await expect(page.locator(".answer-facts")).to_have_text("2 tokens · done")
    await expect(rows(page)).to_have_count(stream.count("\ndata") + stream.startswith("data"))


async def test_answers_that_run_at_once_are_kept_apart(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, f"{topic}-a", f"{topic}-b")
    chunk = (
        'data: {{"id":"{id}","object":"chat.completion.chunk","choices":'
        '[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}\n\n'
    )

    publish_stream(
        server, f"{topic}-a", chunk.format(id="1", text="one ") + chunk.format(id="2", text="two ")
    )
    publish_stream(server, f"{topic}-b", chunk.format(id="1", text="three "))
    publish_stream(
        server, f"{topic}-a", chunk.format(id="1", text="more") + chunk.format(id="2", text="again")
    )

    await expect(page.locator(".answer-text")).to_have_text(["three ", "two again", "one more"])


async def test_a_recording_that_is_played_again_is_another_answer(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)

    publish_stream(server, topic, RESPONSES * 2)

    await expect(page.locator(".answer-text")).to_have_text(["Grüß dich", "Grüß dich"])
    await expect(page.locator(".answer.typing")).to_have_count(0)


async def test_tokens_can_be_hidden_from_the_log(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    publish_stream(server, topic, PLAIN)
    server.publish(topic, "no token")
    await expect(rows(page)).to_have_count(4)

    await page.get_by_label("Hide tokens").check()

    await expect(shown_data(page)).to_have_text(["no token", "ok"])
