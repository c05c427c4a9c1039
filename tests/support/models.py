"""Event streams as the large language models' services send them: their shapes, made from a seed.

    openai       chat completions: data lines, ``[DONE]``; LF
    responses    the Responses API: event and data lines, ``sequence_number``, no ``[DONE]``; LF
    anthropic    messages: event and data lines, pings; LF
    gemini       streamGenerateContent?alt=sse: data lines; CRLF

Text has characters of every length, and what cuts lines elsewhere: U+2028, U+0085.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

__all__ = ["STREAMS", "chunked"]

_WORDS = (
    "the",
    " answer",
    " is",
    " 42",
    "é",
    " 世界",
    "😀",
    "\u2028",
    "\x85",
    "\\n",
    '"',
    " so on",
)


def _text(random: Random) -> str:
    return "".join(random.choice(_WORDS) for _ in range(1 + int(random.random() * 4)))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _openai(random: Random, events: int) -> bytes:
    blocks = []
    for number in range(events):
        delta = {"content": _text(random)} if number else {"role": "assistant", "content": ""}
        chunk = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1769385600,
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
        }
        blocks.append(f"data: {_json(chunk)}\n\n")
    usage = {"prompt_tokens": 3, "completion_tokens": events, "total_tokens": events + 3}
    last = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1769385600,
        "model": "m",
        "choices": [],
        "usage": usage,
    }
    blocks += [f"data: {_json(last)}\n\n", "data: [DONE]\n\n"]
    return "".join(blocks).encode()


def _responses(random: Random, events: int) -> bytes:
    blocks = []
    for number in range(events):
        kind = "response.output_text.delta"
        data = {
            "type": kind,
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": _text(random),
            "sequence_number": number,
        }
        blocks.append(f"event: {kind}\ndata: {_json(data)}\n\n")
    done = {"type": "response.completed", "sequence_number": events, "response": {"id": "resp_1"}}
    blocks.append(f"event: response.completed\ndata: {_json(done)}\n\n")
    return "".join(blocks).encode()


def _anthropic(random: Random, events: int) -> bytes:
    blocks = ['event: message_start\ndata: {"type":"message_start"}\n\n']
    for number in range(events):
        if number % 7 == 3:
            blocks.append('event: ping\ndata: {"type": "ping"}\n\n')
        delta = {"type": "text_delta", "text": _text(random)}
        data = {"type": "content_block_delta", "index": 0, "delta": delta}
        blocks.append(f"event: content_block_delta\ndata: {_json(data)}\n\n")
    blocks.append('event: message_stop\ndata: {"type":"message_stop"}\n\n')
    return "".join(blocks).encode()


def _gemini(random: Random, events: int) -> bytes:
    blocks = []
    for _ in range(events):
        content = {"parts": [{"text": _text(random)}], "role": "model"}
        data = {"candidates": [{"content": content, "index": 0}], "modelVersion": "m"}
        blocks.append(f"data: {_json(data)}\r\n\r\n")
    return "".join(blocks).encode()


STREAMS: dict[str, Callable[[Random, int], bytes]] = {
    "openai": _openai,
    "responses": _responses,
    "anthropic": _anthropic,
    "gemini": _gemini,
}


def chunked(stream: bytes, random: Random, size: int | None) -> list[bytes]:
    """Cut a stream into chunks of 1 to `size` bytes; into one when `size` is None."""
    if size is None:
        return [stream]
    chunks, at = [], 0
    while at < len(stream):
        end = at + 1 + int(random.random() * size)
        chunks.append(stream[at:end])
        at = end
    return chunks
