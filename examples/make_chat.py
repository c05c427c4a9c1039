"""Make `chat.sse`: an answer of an LLM in the shape that OpenAI's chat completions API streams it.

    python examples/make_chat.py [--seed 7] [--out examples/chat.sse]

The shape was recorded, the words are ours: a first chunk with the role, one chunk for each token (most of them with
their leading space, some of a few letters, some not ASCII), one with `finish_reason`, one with `usage` and no
choice, and `[DONE]`. Equal seeds make equal bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

ANSWER = """\
Server-Sent Events are the simplest way to push from a server: one HTTP answer that does not end. The server \
writes small blocks of text, and the browser turns each block into an event.

What makes them pleasant:

1. They come back. A reader that was cut off reconnects by itself and says which event it saw last, so \
nothing in between is lost.
2. They are plain HTTP. Proxies, cookies, compression and TLS work as for any other answer — no upgrade, no \
second protocol.
3. They are text. `curl -N` is a complete debugger. ☕

An event on the wire is no more than this:

    event: greeting
    data: {"hello": "world"}

The blank line at the end sends it.

When is a WebSocket the better choice? When the browser has much to say as well: games, shared editors, voice. \
For prices, notifications, progress bars and answers like this one, which you are watching being typed, one \
direction is enough.

Text in any language passes as UTF-8: „Grüße aus Köln“, «à bientôt», こんにちは、世界, Привет, שלום, 🌍🎉.
"""

PROMPT_TOKENS = 24
MODEL = "gpt-4o-mini-2024-07-18"
CREATED = 1_760_000_000  # seconds since the epoch
HEX = "0123456789abcdef"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

# As tokenisers cut: a word with the space before it, a number, a run of line ends, a mark, a single character.
_PIECE = re.compile(r" ?[A-Za-zÀ-ÿЀ-ӿ]+| ?\d{1,3}|\n+|  +| ?[^\w\s]{1,2}|.", re.DOTALL)
_LONG = 7  # letters; longer words are often more than one token


def main() -> None:
    parser = argparse.ArgumentParser(description="Make an LLM's answer as an event stream.")
    parser.add_argument(
        "--seed", type=int, default=7, help="other seeds cut other tokens (%(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("chat.sse"))
    given = parser.parse_args()
    given.out.write_bytes(make_stream(given.seed))


def make_stream(seed: int) -> bytes:
    """Make the whole event stream."""
    rng = random.Random(seed)
    pieces = list(tokens(ANSWER.rstrip("\n"), rng))
    blocks = [f"data: {_compact(chunk)}\n\n" for chunk in chunks(pieces, rng)]
    return "".join([*blocks, "data: [DONE]\n\n"]).encode()


def tokens(text: str, rng: random.Random) -> Iterator[str]:
    """Cut a text as a tokeniser might. Joined, the pieces are the text."""
    for match in _PIECE.finditer(text):
        piece = match[0]
        if len(piece.strip()) > _LONG and rng.random() < 0.7:
            cut = rng.randrange(3, len(piece) - 2)
            yield piece[:cut]
            yield piece[cut:]
        else:
            yield piece


def chunks(pieces: list[str], rng: random.Random) -> Iterator[dict[str, object]]:
    """Make the `chat.completion.chunk` objects of one answer."""
    common = {
        "id": "chatcmpl-" + "".join(rng.choices(LETTERS, k=29)),
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_" + "".join(rng.choices(HEX, k=10)),
    }
    yield common | _choice({"role": "assistant", "content": "", "refusal": None}, None)
    for piece in pieces:
        yield common | _choice({"content": piece}, None)
    yield common | _choice({}, "stop")
    yield common | {"choices": [], "usage": _usage(len(pieces))}


def _choice(delta: dict[str, object], finish_reason: str | None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {"choices": [choice], "usage": None}


def _usage(completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": completion,
        "total_tokens": PROMPT_TOKENS + completion,
    }


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    main()
