"""Event streams to measure with, named for what they exercise.

Every corpus is made from a seed, so that two machines measure the same bytes. A corpus knows what its stream says (its
`events`), so that every decoder can be checked; `reference.py` agrees, word for word (test_corpora.py). The module
must not know the contenders.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

CHUNKINGS = ("whole", "64k", "4k", "event", "16b")
"""How a stream arrives: in one piece, in reads of 65,536 or 4,096 bytes, block by block, in 16-byte pieces."""

SIZES = {"64k": 65_536, "4k": 4_096, "16b": 16}  # bytes

SMALL_PART = 4
"""Of a stream in 16-byte pieces only this fraction is measured: it takes long, and says the same."""


class Fields(NamedTuple):
    """The fields of one block; `event` and `id` are None where the block has no such line."""

    data: str
    event: str | None = None
    id: str | None = None
    retry: int | None = None

    def block(self) -> bytes:
        """Write the block as the encoder must write it: LF, in the order id, event, retry, data."""
        lines = [
            f"{name}: {value}\n"
            for name, value in (("id", self.id), ("event", self.event), ("retry", self.retry))
            if value is not None
        ]
        lines += [f"data: {line}\n" for line in self.data.split("\n")]
        return "".join([*lines, "\n"]).encode()

    def fresh(self) -> Fields:
        """Copy the fields into new str objects, because CPython keeps a str's UTF-8 once it was asked for."""
        data = self.data if self.data.isascii() else self.data.encode().decode()
        return Fields(data, _fresh(self.event), _fresh(self.id), self.retry)

    @property
    def ascii(self) -> bool:
        return all(text is None or text.isascii() for text in (self.data, self.event, self.id))


class Seen(NamedTuple):
    """One event that a decoder must dispatch."""

    data: str
    event: str
    id: str
    retry: int | None


@dataclass(frozen=True, slots=True)
class Corpus:
    """One event stream.

    Attributes:
        name: the name on the command line.
        about: what the stream exercises.
        fields: what its blocks say, without heartbeats.
        blocks: its bytes, cut where an event ends.
        events: what a decoder must dispatch, block by block.
    """

    name: str
    about: str
    fields: tuple[Fields, ...]
    blocks: tuple[bytes, ...]
    events: tuple[Seen, ...]

    @property
    def stream(self) -> bytes:
        return b"".join(self.blocks)

    def cut(self, chunking: str) -> Cut:
        """Cut the stream as it arrives, with the events that each chunk completes."""
        blocks, events = self.blocks, self.events
        if chunking == "16b":
            blocks = blocks[: max(1, len(blocks) // SMALL_PART)]
            events = events[: len(blocks)]
        if chunking == "event":
            return Cut(self.name, chunking, blocks, events)
        stream = b"".join(blocks)
        size = SIZES.get(chunking, len(stream))
        chunks = tuple(stream[at : at + size] for at in range(0, len(stream), size))
        return Cut(self.name, chunking, chunks, events)

    def part(self, events: int) -> Corpus:
        """Take the first `events` events, when the corpus has more."""
        return Corpus(
            self.name,
            self.about,
            self.fields[:events],
            self.blocks[:events],
            self.events[:events],
        )


class Cut(NamedTuple):
    """A stream cut into chunks, with the events that it dispatches."""

    corpus: str
    chunking: str
    chunks: tuple[bytes, ...]
    events: tuple[Seen, ...]

    @property
    def size(self) -> int:
        return sum(map(len, self.chunks))


def _fresh(text: str | None) -> str | None:
    return text if text is None or text.isascii() else text.encode().decode()


# The seed's words. Only `random()` is used of the generator: its sequence is the same in every Python.

_ENGLISH = (
    "the of and to in is that for it as with was on are by this be from at or an which have not but all were "
    "when we there can been has more if will would about their out them than some time into only could these "
    "two then do first now such like other how its our over even most made after also did many before must "
    "through years where much way well down should because each just those people how too little state good "
    "very make world still own see men work"
)
_RUSSIAN = (
    "слово мир время человек работа жизнь день рука раз глаз друг дом голова сила конец вид система город "
    "отношение женщина деньги земля машина вода отец проблема час право нога решение дверь образ история "
    "власть закон война"
)
_WORDS = tuple(_ENGLISH.split())
_CYRILLIC = tuple(_RUSSIAN.split())
_CJK = (
    "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生自会那后能对着事其"
    "里所去行过家十用发天如然作方成者多日都三小军二无同么经法当起与好看学进种将还分此心前面又定见只主没"
)
_EMOJI = ("🎉", "🚀", "👍", "🔥", "✨", "🧪", "🐍", "🌍")
_RARE = ("é", "ü", "—", "“", "”", "’", "ñ", "…", "→", "€", "中文", "データ", "😀")


class _Seeded:
    """Draws from a seed."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed).random

    def below(self, bound: int) -> int:
        return int(self.random() * bound)

    def pick(self, items: tuple[str, ...] | list[str] | str) -> str:
        return items[self.below(len(items))]

    def many(self, items: tuple[str, ...] | list[str] | str, least: int, most: int) -> list[str]:
        return [self.pick(items) for _ in range(least + self.below(most - least + 1))]

    def text(self, size: int) -> str:
        """Draw ASCII words, exactly `size` characters."""
        words: list[str] = []
        length = 0
        while length < size:
            words.append(self.pick(_WORDS))
            length += len(words[-1]) + 1
        return " ".join(words)[:size].ljust(size, ".")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _chat(draw: _Seeded, delta: str) -> str:
    """Make one chunk of a chat completion, as the big services send it: about 300 bytes."""
    padding = "".join(
        draw.many("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 4, 12)
    )
    return (
        '{"id":"chatcmpl-CkT4vGm2pXq7Rb9sYd1LwZ0aHnUeJf","object":"chat.completion.chunk",'
        '"created":1769385600,"model":"example-large-2026-01-15",'
        '"system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":{"content":"'
        f'{_quoted(delta)}"}},"logprobs":null,"finish_reason":null}}],"obfuscation":"{padding}"}}'
    )


def _llm(events: int) -> Iterator[Fields]:
    draw = _Seeded("llm")
    for _ in range(events - 1):
        word = draw.pick(_RARE) if draw.random() < 0.03 else draw.pick(_WORDS)
        yield Fields(_chat(draw, " " + word))
    yield Fields("[DONE]")


def _llm_cjk(events: int) -> Iterator[Fields]:
    draw = _Seeded("llm-cjk")
    for _ in range(events - 1):
        yield Fields(_chat(draw, "".join(draw.many(_CJK, 1, 3))))
    yield Fields("[DONE]")


def _anthropic(events: int) -> Iterator[Fields]:
    draw = _Seeded("anthropic")
    for number in range(events):
        if number % 200 == 100:
            yield Fields('{"type": "ping"}', "ping")
            continue
        words = draw.many(_WORDS, 2, 6)
        if draw.random() < 0.11:
            words.append(draw.pick(_RARE))
        yield Fields(
            '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
            f'"text":" {_quoted(" ".join(words))}"}}}}',
            "content_block_delta",
        )


def _tiny(events: int) -> Iterator[Fields]:
    draw = _Seeded("tiny")
    for _ in range(events):
        yield Fields(str(10_000 + draw.below(90_000)))


def _small(events: int) -> Iterator[Fields]:
    draw = _Seeded("small")
    for number in range(events):
        yield Fields(f'{{"n":{draw.below(1000)},"ok":true}}', "tick", str(1000 + number))


def _full(events: int) -> Iterator[Fields]:
    draw = _Seeded("full")
    for number in range(events):
        lines = (
            " ".join(draw.many(_CYRILLIC, 3, 5)),
            "".join(draw.many(_CJK, 4, 9)) + draw.pick(_EMOJI),
            " ".join(draw.many(_WORDS, 5, 9)),
        )
        kind = draw.pick(("update", "create", "delete", "notice"))
        yield Fields("\n".join(lines), kind, f"1769385600-{number}", 1000 + 500 * draw.below(5))


def _big_line(events: int) -> Iterator[Fields]:
    draw = _Seeded("big1")
    for _ in range(events):
        yield Fields(draw.text(65_536 - 8))


def _many_lines(events: int) -> Iterator[Fields]:
    draw = _Seeded("bigml")
    for _ in range(events):
        yield Fields("\n".join(draw.text(56 + draw.below(16)) for _ in range(1_000)))


def _heartbeat(events: int) -> Iterator[Fields]:
    draw = _Seeded("heartbeat")
    for number in range(events):
        yield Fields(draw.text(60 + draw.below(30)), id="1" if number == 0 else None)


_HEARTBEATS = b": keep-alive\n\n" * 9


def _seen(fields: tuple[Fields, ...]) -> tuple[Seen, ...]:
    """Say what the fields dispatch, one after the other: an id stays until another one comes."""
    events = []
    last_id = ""
    for item in fields:
        last_id = last_id if item.id is None else item.id
        events.append(Seen(item.data, item.event or "message", last_id, item.retry))
    return tuple(events)


def _lf(fields: Fields) -> bytes:
    return fields.block()


def _crlf(fields: Fields) -> bytes:
    return fields.block().replace(b"\n", b"\r\n")


def _cr(fields: Fields) -> bytes:
    return fields.block().replace(b"\n", b"\r")


def _kept_alive(fields: Fields) -> bytes:
    """Write the event and the silence after it: nine heartbeats, each with its blank line."""
    return fields.block() + _HEARTBEATS


class _Recipe(NamedTuple):
    about: str
    events: int
    fields: Callable[[int], Iterator[Fields]]
    block: Callable[[Fields], bytes] = _lf


_RECIPES = {
    "llm": _Recipe("chat completion chunks, about 300 B, 3 % of them not ASCII", 4_000, _llm),
    "llm-cjk": _Recipe("the same, every delta one to three CJK characters", 4_000, _llm_cjk),
    "anthropic": _Recipe("an event line and a data line, about 145 B", 6_000, _anthropic),
    "tiny": _Recipe("five digits", 40_000, _tiny),
    "small": _Recipe("id, event and 20 B of JSON", 10_000, _small),
    "full": _Recipe("id, event, retry, three lines of Cyrillic, CJK, emoji, ASCII", 4_000, _full),
    "big1": _Recipe("one line of 64 KiB", 16, _big_line),
    "bigml": _Recipe("1,000 lines, 64 KiB together", 16, _many_lines),
    "heartbeat": _Recipe("nine heartbeats after every event", 2_000, _heartbeat, _kept_alive),
    "llm-crlf": _Recipe("llm with CRLF line ends", 4_000, _llm, _crlf),
    "llm-cr": _Recipe("llm with CR line ends", 4_000, _llm, _cr),
}

DECODED = tuple(_RECIPES)
"""The corpora to decode."""

ENCODED = tuple(name for name, recipe in _RECIPES.items() if recipe.block is _lf)
"""The corpora to encode: those that are written as our encoder writes."""


@cache
def corpus(name: str) -> Corpus:
    """Make the corpus called `name`; one of `DECODED`."""
    recipe = _RECIPES[name]
    fields = tuple(recipe.fields(recipe.events))
    blocks = tuple(map(recipe.block, fields))
    return Corpus(name, recipe.about, fields, blocks, _seen(fields))
