"""The decoder of fastsse in a client of OpenAI's SDK.

    client = use_fastsse(OpenAI())
    for chunk in client.chat.completions.create(model="gpt-5", messages=messages, stream=True):
        print(chunk.choices[0].delta.content)

The SDK's own decoder gives an event for a block that has none, and then reads JSON from nothing: a heartbeat after an
`id`, or a block with `retry:` alone, ends the answer with JSONDecodeError. One byte that is not UTF-8 ends it with
UnicodeDecodeError, and the first event after a byte-order mark is lost. By this adapter, answers with such blocks and
bytes are read to their end.

An event whose data is blank has no JSON, so the SDK never sees it: servers send such events to keep connections open.
All else is the SDK's: requests, retries, models, errors, and how a stream ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import openai

from fastsse._codec import DEFAULT_MAX_EVENT_SIZE, Decoder, Event
from fastsse.adapters._sdk import Hook, UnsupportedSDK, give_decoder
from fastsse.errors import EventTooLarge

__all__ = ["UnsupportedSDK", "use_fastsse"]

Client = TypeVar("Client")


def use_fastsse(client: Client, *, max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE) -> Client:
    """Give a client of OpenAI's SDK the decoder of fastsse, in place.

    Copies that `with_options` or `copy` make have the decoder, too; other clients do not change. Streams that are open
    already are read as they were.

    Args:
        client: an `OpenAI`, an `AsyncOpenAI`, or one of their subclasses, such as `AzureOpenAI`.
        max_event_size: bytes that one event of a stream may have; None for no limit. An event over the limit raises
            `fastsse.EventTooLarge` from the stream, after the events before it.

    Returns:
        The client itself.

    Raises:
        UnsupportedSDK: the installed version of the SDK has no hook for a decoder.
        TypeError: `client` is no client of the SDK, or has a decoder of its own; `max_event_size` is no int.
        ValueError: `max_event_size` is less than 1.
    """
    return give_decoder(client, openai, _Reading, max_event_size)


class _Reading:
    """One stream of OpenAI's. Implements `Reading`."""

    def __init__(self, hook: Hook, max_event_size: int | None) -> None:
        self._decoder = Decoder(max_event_size=max_event_size)
        self._make = hook.event

    def feed(self, chunk: bytes, /) -> Iterator[Any]:
        """Take the next chunk, and yield the events that it completes."""
        try:
            events = self._decoder.feed(chunk)
        except EventTooLarge as error:
            yield from self._made(error.events)
            raise
        yield from self._made(events)

    def _made(self, events: list[Event]) -> Iterator[Any]:
        for event in events:
            if not event.data or event.data.isspace():
                continue
            name = None if event.event == "message" else event.event
            yield self._make(event=name, data=event.data, id=event.id or None, retry=event.retry)
