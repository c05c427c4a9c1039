"""EventSource of httpx2, read by the decoder of fastsse.

    with client.sse("https://example.com/events") as source:
        for event in EventSource(source.response):
            print(event.event, event.data)

A response of `client.stream` will do as well. The events are those of httpx2. The reading is that of the standard:
UTF-8 whatever charset the response names, one byte-order mark stripped, no event for a block without data, ASCII
digits alone for `retry`, and an event at once where its line ends are CR.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx2

from fastsse._codec import Decoder, Event
from fastsse.errors import EventTooLarge

__all__ = ["EventSource"]

_DEFAULT_MAX_EVENT_SIZE = 2**20  # bytes: as in httpx2


class EventSource(httpx2.EventSource):
    """The events of one response: an iterable for a sync client, an async iterable for an async one.

    Args:
        response: a response whose body has not been read.
        max_event_size: bytes that one event may have; None for no limit.

    Raises:
        httpx2.SSEError: on iteration. The response is no event stream, or an event is over the limit; the events
            before it have been given.
        TypeError, ValueError: `max_event_size` is not an int of at least 1, and not None.
    """

    def __init__(
        self, response: httpx2.Response, max_event_size: int | None = _DEFAULT_MAX_EVENT_SIZE
    ) -> None:
        super().__init__(response, max_event_size)
        self._reading = _Reading(response, max_event_size)

    def __iter__(self) -> Iterator[httpx2.ServerSentEvent]:
        reading = self._reading.begin()
        for chunk in self.response.iter_bytes():
            yield from reading.feed(chunk)

    async def __aiter__(self) -> AsyncIterator[httpx2.ServerSentEvent]:
        reading = self._reading.begin()
        async for chunk in self.response.aiter_bytes():
            for event in reading.feed(chunk):
                yield event


class _Reading:
    """One response on its way from bytes to events."""

    def __init__(self, response: httpx2.Response, max_event_size: int | None) -> None:
        self._decoder = Decoder(max_event_size=max_event_size)
        self._response = response

    def begin(self) -> _Reading:
        given, _, _ = self._response.headers.get("content-type", "").partition(";")
        if given.strip().lower() != "text/event-stream":
            raise self._error(f"the content type must be 'text/event-stream', not {given!r}")
        self._decoder.reset()
        return self

    def feed(self, chunk: bytes) -> Iterator[httpx2.ServerSentEvent]:
        try:
            events = self._decoder.feed(chunk)
        except EventTooLarge as error:
            yield from map(_made, error.events)
            raise self._error(f"an event is over {error.limit} bytes") from error
        yield from map(_made, events)

    def _error(self, message: str) -> httpx2.SSEError:
        return httpx2.SSEError(message, request=self._response.request)


def _made(event: Event) -> httpx2.ServerSentEvent:
    return httpx2.ServerSentEvent(event.event, event.data, event.id, event.retry)
