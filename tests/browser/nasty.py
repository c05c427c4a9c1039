"""Events that a page can choke on, each as a block of an event stream: the table of test_survival.py.

The page shows each between two good events. Most of them look like what the page knows (an LLM's chunk, JSON, a token)
and are not; the rest is too large, too deep, too many, or text that a browser treats in a way of its own.
"""

from __future__ import annotations

import json
from typing import Any

from fastsse import encode

_CHUNK = {"id": "a", "object": "chat.completion.chunk"}
_DEEP = 9_000
_MIB = 2**20


def _js(value: Any, event: str | None = None) -> bytes:
    return encode(json.dumps(value), event=event)


def _chat(**members: Any) -> bytes:
    """Write a chunk of a chat completion, with these members instead of the good ones."""
    good = {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}
    return _js({**_CHUNK, **good, **members})


def _choice(**members: Any) -> bytes:
    return _chat(choices=[{"index": 0, "delta": {"content": "x"}, **members}])


_NO_TEXT = {"toString": 1}  # an object that becomes no string
_NO_PRIMITIVE = {"toString": None, "valueOf": None}
_LONG = "x" * _MIB

SHAPES = {
    "choices: [null]": _chat(choices=[None]),
    "choices: a number": _chat(choices=7),
    "choices: an object": _chat(choices={"0": {"delta": {"content": "x"}}}),
    "choices: strings": _chat(choices=["x", ""]),
    "choices: lists": _chat(choices=[[], [[]]]),
    "choices: none": _chat(choices=[]),
    "choices: very many": _chat(
        choices=[{"index": i, "delta": {"content": "x"}} for i in range(9000)]
    ),
    "id: no string": _chat(id=_NO_TEXT),
    "id: no primitive": _chat(id=_NO_PRIMITIVE),
    "id: a list": _chat(id=[[[[_NO_TEXT]]]]),
    "id: null": _chat(id=None),
    "id: long": _chat(id="i" * 60_000),
    "id: __proto__": _chat(id="__proto__"),
    "id: constructor": _chat(id="constructor"),
    "model: no string": _chat(model=_NO_TEXT),
    "model: long": _chat(model="m" * 60_000),
    "index: no string": _choice(index=_NO_TEXT),
    "index: a list": _choice(index=[_NO_TEXT]),
    "index: NaN": encode('{"object":"chat.completion.chunk","id":"a","choices":[{"index":1e999}]}'),
    "delta: null": _choice(delta=None),
    "delta: a string": _choice(delta="x"),
    "content: no string": _choice(delta={"content": _NO_TEXT}),
    "content: a list": _choice(delta={"content": [{"type": "text", "text": "x"}]}),
    "finish_reason: no string": _choice(finish_reason=_NO_TEXT),
    "object: a list": _js({"object": ["chat.completion.chunk"], "choices": [None]}),
    "responses: type only": _js({"type": "response.output_text.delta"}),
    "responses: item no string": _js(
        {"type": "response.output_text.delta", "item_id": _NO_TEXT, "delta": "x"}
    ),
    "responses: index no string": _js(
        {"type": "response.output_text.delta", "item_id": "a", "content_index": _NO_TEXT}
    ),
    "responses: delta no string": _js(
        {"type": "response.output_text.delta", "item_id": "a", "delta": _NO_TEXT}
    ),
    "responses: done no string": _js(
        {"type": "response.output_text.done", "item_id": _NO_PRIMITIVE}
    ),
    "anthropic: message null": _js({"type": "message_start", "message": None}),
    "anthropic: message id no string": _js({"type": "message_start", "message": {"id": _NO_TEXT}}),
    "anthropic: model no string": _js(
        {"type": "message_start", "message": {"id": "m", "model": _NO_TEXT}}
    ),
    "anthropic: delta null": _js({"type": "content_block_delta", "delta": None}),
    "anthropic: text no string": _js(
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": _NO_TEXT}}
    ),
    "anthropic: type a list": _js({"type": ["message_stop"], "a": "message_stop"}),
    "token: no string": _js({"text": _NO_TEXT, "token": [], "delta": {}}, "token"),
    "token: a list": _js([1, 2], "token"),
    "token: empty": encode("", event="token"),
    "token: cut off": encode('{"text":"', event="token"),
    "token: 1 MiB": encode("word " * (_MIB // 5), event="token"),
    "token: 1 MiB of JSON": _js({"text": _LONG[:-20]}, "token"),
    "token: 60 kB of text": _js({"text": "word " * 12_000}, "token"),
    "done: long": encode(_LONG, event="done"),
}

NAMES = {
    "type: __proto__": encode("x", event="__proto__"),
    "type: constructor": encode("x", event="constructor"),
    "type: toString": encode("x", event="toString"),
    "type: hasOwnProperty": encode("x", event="hasOwnProperty"),
    "type: the longest": encode("x", event="t" * 256),
    "type: one emoji": encode("x", event="👨‍👩‍👧‍👦" * 10),
    "type: turned round": encode("x", event="\u202etxet\u202c \u2066x"),
    "type: markup": encode("x", event="<img src=x onerror=alert(1)>"),
    "keys: __proto__": encode(
        '{"__proto__":{"x":1},"constructor":{"prototype":{"y":2}},"toString":3}'
    ),
    "keys: __proto__ of a chunk": encode(
        '{"object":"chat.completion.chunk","id":"a","choices":[{"__proto__":{"delta":{"content":1}},"delta":{"__proto__":null}}]}'
    ),
    "data: constructor": encode("constructor"),
    "data: __proto__": encode("__proto__"),
    "data: toString": encode('"toString"'),
    "label: in the data": encode('topics ["x"]'),
}

SIZES = {
    "nested lists": encode("[" * _DEEP + "]" * _DEEP),
    "nested lists, cut off": encode("[" * 2 * _DEEP),
    "nested objects": encode('{"a":' * 3_000 + "1" + "}" * 3_000),
    "nested lists of two": encode("[1," * 4_500 + "1" + "]" * 4_500),
    "nested lists, 1 MiB": encode("[" * (_MIB // 2) + "]" * (_MIB // 2)),
    "nested in a token": encode('{"text":' + "[" * 20_000 + "]" * 20_000 + "}", event="token"),
    "nested in a chunk": encode(
        '{"object":"chat.completion.chunk","id":'
        + "[" * 20_000
        + "]" * 20_000
        + ',"choices":[{"delta":{"content":"x"}}]}'
    ),
    "one line of 1 MiB": encode(_LONG),
    "one line of 1 MiB of words": encode("word " * (_MIB // 5)),
    "one line of 1 MiB of spaces": encode(" " * _MIB),
    "JSON of 1 MiB": _js(
        [{"id": i, "name": f"name {i}", "tags": ["a", "b"]} for i in range(16_000)]
    ),
    "JSON string of 1 MiB": _js(_LONG[:-2]),
    "100,000 lines": encode("\n" * 100_000),
    "100,000 lines of text": encode("a line\n" * 100_000),
    "400 lines of JSON": encode(json.dumps(list(range(4_000)), indent=1)),
    "a million keys": encode("{" + ",".join(f'"{i:x}":0' for i in range(1_000_000)) + "}"),
    "numbers, 19 kB": _js(list(range(3_500))),
    "quotes and backslashes": encode('"\\' * 9_000),
    "an unfinished string": encode('{"a":"' + "\\" * 15_001),
}

TEXTS = {
    "control characters": encode(
        "".join(map(chr, [*range(1, 10), 11, 12, *range(14, 32), *range(127, 160)]))
    ),
    "NUL": encode("a\0b"),
    "lone surrogates in JSON": encode('{"a":"\\ud800","b":"\\udc00\\ud800"}'),
    "a chunk's lone surrogate": _chat(choices=[{"delta": {"content": "\ud83d"}}]),
    "right to left": encode("\u202e" * 100 + "evil \u2067 مرحبا بالعالم " + "\u2066" * 100),
    "joined emoji": encode("👨‍👩‍👧‍👦" * 2_000),
    "joiners alone": encode("\u200d" * 20_000),
    "combining marks": encode("Z" + "\u0301" * 10_000),
    "one long word": encode("ü" * 100_000),
    "no character, U+FFFE": encode("\ufffe\uffff\ufdd0"),
    "byte-order marks": encode("\ufeff" * 1_000),
    "line separators": encode("a\u2028b\u2029c\x85d" * 100),
    "markup": encode("</pre><script>alert(1)</script><style>*{display:none}</style>"),
    "empty": encode(""),
    "white space": encode("\t \t"),
}

# Blocks that a hub does not pass on, but that something between hub and page may put into the stream.
FOREIGN = {
    "comment: a farewell that is none": encode("x", comment="constructor"),
    "comment: a broken label": encode("x", comment='topics [{"toString":1},'),
    "comment: a label of no strings": encode("x", comment='topics [{"toString":1}, null, 7]'),
    "comment: a greeting": encode("x", comment="fastsse heartbeat=1e9"),
    "not UTF-8": b"data: \xff\xfe\xc3(\xed\xa0\x80\n\n",
    "an id of 1 MiB": b"id: %b\ndata: x\n\n" % (b"i" * _MIB),
    "a type of 1 MiB": b"event: %b\ndata: x\n\n" % (b"t" * _MIB),
    "a comment of 1 MiB": b": %b\ndata: x\n\n" % (b"c" * _MIB),
    "a gap that tells nothing": b"event: gap\ndata: 7\n\n",
    "a gap of no strings": encode(
        json.dumps(dict.fromkeys(("from", "to", "reason"), _NO_TEXT)), event="gap"
    ),
    "a gap of no list": encode('{"topics":{"toString":1}}', event="gap"),
    "a gap for a reason that every object has": encode(
        '{"reason":"constructor","topics":[null,{}]}', event="gap"
    ),
    "a gap of long names": encode(
        json.dumps({"from": _LONG[:60_000], "topics": ["n" * 60_000]}), event="gap"
    ),
}

_TICK = {"symbol": "ACME", "bid": 101.25, "venue": {"name": "XAMS", "open": True}, "sizes": [1, 2]}

# Many events at once.
FLOODS = {
    "1,000 events": _js(_TICK) * 1_000,
    "1,000 events of 2 kB": _js([_TICK] * 20) * 1_000,
    "1,000 tokens": encode("word ", event="token") * 1_000,
    "200 answers": b"".join(_chat(id=f"flood {number}") for number in range(200)),
}

PAYLOADS: dict[str, bytes] = SHAPES | NAMES | SIZES | TEXTS
