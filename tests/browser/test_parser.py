"""The page's own parser (parser.js), by the same table as the codec: whole, byte by byte and at every cut."""

from __future__ import annotations

import base64
from typing import Any

from support.cases import CASES, PROMPT

# The page's bound of the reconnection time: larger whole numbers JavaScript cannot tell apart.
LARGEST = 2**53 - 1

READ = """async ([streams, cuts]) => {
    const { Parser } = await import("/page/stream/parser.js");
    const read = (chunks) => {
        const comments = [];
        const parser = new Parser({ onComment: (text) => comments.push(text) });
        const events = chunks.flatMap((chunk) => parser.feed(chunk));
        const seen = events.map(({ type, data, id }) => ({ type, data, id }));
        return JSON.stringify({ events: seen, comments, id: parser.lastEventId, retry: parser.retry });
    };
    const ways = {
        whole: (bytes) => [[bytes]],
        bytes: (bytes) => [Array.from(bytes, (_, at) => bytes.slice(at, at + 1))],
        cuts: (bytes) => Array.from(bytes, (_, at) => [bytes.slice(0, at), bytes.slice(at)]),
    };
    return streams.map((stream) => {
        const bytes = Uint8Array.from(atob(stream), (character) => character.charCodeAt(0));
        return [...new Set(ways[cuts](bytes).map(read))].map((text) => JSON.parse(text));
    });
}"""

FEED = """async (cases) => {
    const { Parser } = await import("/page/stream/parser.js");
    const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    return cases.map((chunks) => {
        const parser = new Parser();
        return chunks.map((chunk) => parser.feed(bytes(chunk)).map(({ type, data }) => [type, data]));
    });
}"""


def _text(stream: bytes) -> str:
    return base64.b64encode(stream).decode()


async def test_every_case_is_read_as_the_standard_says_however_it_is_cut(
    open_page: Any, server: Any
) -> None:
    page = await open_page(server, path="/")
    cases = [case for case in CASES if case.stream]
    expected = [
        {
            "events": [{"type": it.event, "data": it.data, "id": it.id} for it in case.events],
            "comments": list(case.comments),
            "id": case.last_event_id,
            "retry": None if case.retry is None else min(case.retry, LARGEST),
        }
        for case in cases
    ]

    for way in ("whole", "bytes", "cuts"):
        readings = await page.evaluate(READ, [[_text(case.stream) for case in cases], way])

        for case, wanted, reading in zip(cases, expected, readings, strict=True):
            assert [wanted] == reading, (way, case.section, case.rule)


async def test_an_event_comes_with_the_chunk_that_completes_it(open_page: Any, server: Any) -> None:
    page = await open_page(server, path="/")

    fed = await page.evaluate(FEED, [[_text(chunk) for chunk in case.chunks] for case in PROMPT])

    for case, events in zip(PROMPT, fed, strict=True):
        assert [[[it.event, it.data] for it in chunk] for chunk in case.events] == events, case.rule


async def test_more_than_the_bound_is_refused_and_the_bound_itself_is_not(
    open_page: Any, server: Any
) -> None:
    page = await open_page(server, path="/")

    outcomes = await page.evaluate(
        """async () => {
            const { Parser, EventTooLarge } = await import("/page/stream/parser.js");
            const feed = (...chunks) => {
                const parser = new Parser({ maxEventSize: 20 });
                try {
                    return chunks.flatMap((chunk) => parser.feed(new TextEncoder().encode(chunk))).length;
                } catch (error) {
                    return error instanceof EventTooLarge ? "too large" : String(error);
                }
            };
            return [
                feed("data: 89012345678901\\n\\n"),
                feed("data: 890123456789012\\n\\n"),
                feed("data: 8901", "2345678901\\n\\n"),
                feed("data: 8901", "23456789012"),
                feed("data: 1\\n".repeat(6), "data: 1\\n".repeat(6)),
                feed("data: 1\\n\\n".repeat(100)),
            ];
        }"""
    )

    assert [1, "too large", 1, "too large", "too large", 100] == outcomes
