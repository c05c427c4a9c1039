"""Answers of language models in each shape that servers and proxies give to a stream, for tests of the SDKs.

An answer is a list of events, each a type and JSON; a shape makes bytes of them, as some server does. All answers say
`WORDS`, so a test knows when an SDK has read all of one.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from support.cases import BOM
from support.misbehaving import Misbehaving, Script, head

__all__ = [
    "SAID",
    "SHAPES",
    "WORDS",
    "Answer",
    "Answering",
    "Shape",
    "as_said",
    "for_anthropic",
    "for_openai",
    "for_responses",
    "outcome",
]

WORDS = ("Hel", "lo\u2028", "wor\u0085", "ld\u2029")
SAID = "".join(WORDS)
Answer = list[tuple[str | None, str]]  # the type of each event, None for one without, and its data


class Shape(NamedTuple):
    """A manner in which a server writes an answer.

    Attributes:
        name: of the test.
        write: makes the bytes of the stream.
        openai, anthropic: what becomes of it without our adapter: the name of the exception, "lost" where words are
            missing, and `SAID` where nothing is wrong.
    """

    name: str
    write: Callable[[Answer], bytes]
    openai: str = SAID
    anthropic: str = SAID


class Answering(Misbehaving):
    """A server that answers each request alike.

    Attributes:
        script: what it does; may be changed between requests.
    """

    def __init__(self) -> None:
        super().__init__([self._act])
        self.script: Script = []

    def says(self, body: bytes) -> None:
        """Answer with an event stream from now on."""
        self.script = [lambda sock: sock.sendall(head(200, {"Connection": "close"}) + body)]

    def _act(self, sock: socket.socket) -> None:
        for step in self.script:
            step(sock)


def outcome(read: Callable[[Any], str], client: Any) -> str:
    """Have a client read an answer, and tell what came of it, in the words of `Shape`."""
    try:
        return as_said(read(client))
    except Exception as error:
        return type(error).__name__


def as_said(text: str) -> str:
    """Return `SAID` for all of the words, whatever stands where bytes were wrong, and "lost" for fewer."""
    return SAID if text.replace("\ufffd", "") == SAID else "lost"


def _block(event: str | None, data: str, end: str = "\n", last_id: str = "") -> bytes:
    lines = [f"id: {last_id}"] if last_id else []
    lines += [f"event: {event}"] if event else []
    return (end.join([*lines, f"data: {data}"]) + end * 2).encode()


def _plain(answer: Answer) -> bytes:
    return b"".join(_block(*event) for event in answer)


def _between(block: bytes) -> Callable[[Answer], bytes]:
    """Write a block before each event, and one at the end."""
    return lambda answer: b"".join(block + _block(*event) for event in answer) + block


def _after_ids(block: bytes) -> Callable[[Answer], bytes]:
    return lambda answer: b"".join(
        _block(*event, last_id=str(at)) + block for at, event in enumerate(answer)
    )


def _ends(end: str) -> Callable[[Answer], bytes]:
    return lambda answer: b"".join(_block(*event, end=end) for event in answer)


def _mixed(answer: Answer) -> bytes:
    return _plain(answer).replace(b"\n\n", b"\n\r\n")


def _one_json_field_a_line(answer: Answer) -> bytes:
    return b"".join(
        _block(event, data.replace(", ", ",\ndata: ")) if data[0] == "{" else _block(event, data)
        for event, data in answer
    )


def _in_the_first_word(octets: bytes) -> Callable[[Answer], bytes]:
    word = WORDS[0].encode()
    return lambda answer: _plain(answer).replace(word, word + octets, 1)


SHAPES = [
    Shape("plain", _plain),
    Shape("an empty comment as a block", _between(b":\n\n")),
    Shape("a comment as a block", _between(b": ping\n\n")),
    Shape("a comment on one line", _between(b": ping\n")),
    Shape("a comment as a block, CRLF", _between(b": heartbeat\r\n\r\n")),
    Shape("an empty comment on one line, CRLF", _between(b":\r\n")),
    Shape("a comment after an id", _after_ids(b": ping\n\n"), openai="JSONDecodeError"),
    Shape("a blank line after an id", _after_ids(b"\n"), openai="JSONDecodeError"),
    Shape("a block with nothing but retry", _between(b"retry: 3000\n\n"), openai="JSONDecodeError"),
    Shape("a block with nothing but an id", _between(b"id: 7\n\n"), openai="JSONDecodeError"),
    Shape("a block with nothing but a type", _between(b"event: x\n\n"), openai="JSONDecodeError"),
    Shape("an event without data", _between(b"data\n\n"), openai="JSONDecodeError"),
    Shape("an event with empty data", _between(b"data:\n\n"), openai="JSONDecodeError"),
    Shape("an event with blank data", _between(b"data:  \n\n"), openai="JSONDecodeError"),
    Shape("a byte-order mark", lambda answer: BOM + _plain(answer), "lost", "lost"),
    Shape(
        "a byte-order mark before a comment",
        lambda answer: BOM + b": hello\n\n" + _plain(answer),
    ),
    Shape(
        "bytes that are not UTF-8 in data",
        _in_the_first_word(b"\xff"),
        "UnicodeDecodeError",
        "UnicodeDecodeError",
    ),
    Shape(
        "half a character in data",
        _in_the_first_word(b"\xe2\x82"),
        "UnicodeDecodeError",
        "UnicodeDecodeError",
    ),
    Shape(
        "bytes that are not UTF-8 in a comment",
        _between(b": \xff\n\n"),
        "UnicodeDecodeError",
        "UnicodeDecodeError",
    ),
    Shape("line ends CRLF", _ends("\r\n")),
    Shape("line ends CR", _ends("\r")),
    Shape("mixed line ends", _mixed),
    Shape("data on several lines", _one_json_field_a_line),
    Shape("a field that nobody knows", _between(b"trace: 1\n")),
    Shape("an event that the end cuts off", lambda answer: _plain(answer) + b"data: {"),
]


def _json(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False)


def for_openai() -> Answer:
    """Make an answer of Chat Completions that says `WORDS`."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks: Answer = [
        (
            None,
            _json(
                **head, choices=[{"index": 0, "delta": {"content": word}, "finish_reason": None}]
            ),
        )
        for word in WORDS
    ]
    last = _json(**head, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    return [*chunks, (None, last), (None, "[DONE]")]


def for_responses() -> Answer:
    """Make an answer of OpenAI's Responses that says `WORDS`."""
    kind = "response.output_text.delta"
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    return [
        (kind, _json(type=kind, sequence_number=number, delta=word, **place))
        for number, word in enumerate(WORDS)
    ]


def for_anthropic() -> Answer:
    """Make an answer of Anthropic's Messages that says `WORDS`."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    events = [
        {"type": "message_start", "message": message},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": word},
            }
            for word in WORDS
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 4},
        },
        {"type": "message_stop"},
    ]
    return [(str(event["type"]), _json(**event)) for event in events]
