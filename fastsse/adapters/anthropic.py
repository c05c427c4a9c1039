"""The decoder of fastsse in a client of Anthropic's SDK.

    client = use_fastsse(Anthropic())
    with client.messages.stream(model="claude-opus-4-1", max_tokens=1000, messages=messages) as stream:
        for text in stream.text_stream:
            print(text)

The SDK's own decoder ends an answer with UnicodeDecodeError at one byte that is not UTF-8, loses the first event after
a byte-order mark, and holds an event back where line ends are mixed. By this adapter, answers with such bytes are read
to their end.

The SDK passes over an event without a type, but reads one whose type is named as ``message``. The standard gives both
the type ``message``, so the adapter looks into the block. Each event has the lines of its block as `raw`, where the SDK
knows that. An event whose data is blank has no JSON, and is left out unless its type is ``error``.

`Stream.raw_events` of the SDK asks no client, and so still reads by the SDK's own decoder.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, TypeVar

import anthropic

from fastsse._codec import DEFAULT_MAX_EVENT_SIZE, BlockSplitter, Decoder
from fastsse.adapters._sdk import Hook, UnsupportedSDK, give_decoder
from fastsse.errors import BlockTooLarge, EventTooLarge

__all__ = ["UnsupportedSDK", "use_fastsse"]

Client = TypeVar("Client")
_BOM = b"\xef\xbb\xbf"


def use_fastsse(client: Client, *, max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE) -> Client:
    """Give a client of Anthropic's SDK the decoder of fastsse, in place.

    Copies that `with_options` or `copy` make have the decoder, too; other clients do not change. Streams that are open
    already are read as they were.

    Args:
        client: an `Anthropic`, an `AsyncAnthropic`, or another client of the SDK that reads event streams, such as
            `AnthropicVertex`. `AnthropicBedrock` reads another format, and is refused.
        max_event_size: bytes that the block of one event may have, comments included; None for no limit. A block over
            the limit raises `fastsse.EventTooLarge` from the stream, after the events before it.

    Returns:
        The client itself.

    Raises:
        UnsupportedSDK: the installed version of the SDK has no hook for a decoder.
        TypeError: `client` is no client of the SDK, or has a decoder of its own; `max_event_size` is no int.
        ValueError: `max_event_size` is less than 1.
    """
    return give_decoder(client, anthropic, _Reading, max_event_size)


class _Reading:
    """One stream of Anthropic's. Implements `Reading`."""

    def __init__(self, hook: Hook, max_event_size: int | None) -> None:
        Decoder(max_event_size=max_event_size)  # checks the limit by the name that the caller knows
        self._splitter = BlockSplitter(max_block_size=max_event_size)
        self._decoder = Decoder(max_event_size=None)  # a block is bounded already
        self._make = hook.event
        self._tells_lines = "raw" in inspect.signature(hook.event).parameters
        self._first = True  # the next block is the stream's first: a byte-order mark may begin it

    def feed(self, chunk: bytes, /) -> Iterator[Any]:
        """Take the next chunk, and yield the events that it completes."""
        try:
            blocks = self._splitter.feed(chunk)
        except BlockTooLarge as error:
            yield from self._made(error.blocks)
            raise EventTooLarge(error.limit, []) from None
        yield from self._made(blocks)

    def _made(self, blocks: list[bytes]) -> Iterator[Any]:
        for block in blocks:
            events = self._decoder.feed(block)  # of one block: one at most
            if self._first:
                block = block.removeprefix(_BOM)
                self._first = False
            for event in events:
                if event.event != "error" and (not event.data or event.data.isspace()):
                    continue
                lines = [line for line in block.splitlines() if line]
                unnamed = event.event == "message" and not _says_message(lines)
                told: dict[str, Any] = {}
                if self._tells_lines:
                    told["raw"] = [line.decode("utf-8", "replace") for line in lines]
                yield self._make(
                    event=None if unnamed else event.event,
                    data=event.data,
                    id=event.id or None,
                    retry=event.retry,
                    **told,
                )


def _says_message(lines: list[bytes]) -> bool:
    """Return True when a block of the type ``message`` has it from a line, and not by default."""
    named = [line for line in lines if line.partition(b":")[0] == b"event"]
    return bool(named) and named[-1] in (b"event:message", b"event: message")
