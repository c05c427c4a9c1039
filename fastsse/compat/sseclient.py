"""The names of sseclient-py 1.8 and 1.9: `SSEClient` over a response that is open already, and `Event`.

    from fastsse.compat.sseclient import SSEClient

    response = requests.get(url, stream=True, headers={"Accept": "text/event-stream"})
    for event in SSEClient(response).events():
        print(event.data)

Kept are: any iterable of bytes, such as a response of requests, urllib3, http.client or a generator; `char_enc`;
`close`, which closes the response; an event's attributes, of which `retry` is text, as there; its ``str()``.

Different on purpose:

- The bytes are read as the HTML standard says: a byte-order mark is no part of the first event; line ends may be
  mixed; bytes that are no text become U+FFFD and do not end the stream; ``retry`` is digits alone; an id with NUL is
  ignored; an event that the end cuts off is discarded.
- `Event.id` is the last event ID at this event, so that a later event without an ``id`` line has it, too. sseclient-py
  forgets it. A reconnection time that came alone is told by the next event that is
  given.
- A response of requests or urllib3 whose body is not chunked is read as its bytes come. sseclient-py waits for 128
  bytes, or for 64 KiB.
- An event over `SSEClient.max_event_size` (16 MiB) raises `fastsse.EventTooLarge`. sseclient-py has no limit.

The library named sseclient on the package index, whose class takes an address, is another one: for addresses there is
`fastsse.client.EventSource`.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

from fastsse import DEFAULT_MAX_EVENT_SIZE
from fastsse.compat._reading import Reading
from fastsse.errors import quote

__all__ = ["Event", "SSEClient"]

_READ = 65536  # bytes that one read asks for


class Event:
    """One event; its attributes may be changed.

    Attributes:
        id: the last event ID at this event; None when there is none.
        event: the event type.
        data: the data, lines joined by LF.
        retry: the reconnection time in milliseconds that came with this event, as text of digits; None without one.
    """

    def __init__(
        self,
        id: str | None = None,
        event: str = "message",
        data: str = "",
        retry: str | None = None,
    ) -> None:
        self.id = id
        self.event = event
        self.data = data
        self.retry = retry

    def __str__(self) -> str:
        text = f"{self.event} event"
        if self.id:
            text += f" #{self.id}"
        text += f", {len(self.data)} bytes" if self.data else ", no data"
        if self.retry:
            text += f", retry in {self.retry}ms"
        return text


class SSEClient:
    """The events of a stream that is open already.

    Args:
        event_source: an iterable of bytes; `close` needs a method ``close`` of it.
        char_enc: the encoding of the bytes. The standard knows UTF-8 alone.

    Attributes:
        max_event_size: bytes of one event, 16 MiB; None for no limit. Set it on the object, or in a subclass.

    Raises:
        TypeError: `event_source` is an address or another text, or cannot be iterated.
        LookupError: nothing is known about `char_enc`.
    """

    max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE

    def __init__(self, event_source: Iterable[bytes], char_enc: str = "utf-8") -> None:
        if isinstance(event_source, str) or not hasattr(event_source, "__iter__"):
            raise TypeError(
                f"event_source must be a response or another iterable of bytes, not {quote(event_source)}; "
                "for an address there is fastsse.client.EventSource"
            )
        self._encoding = codecs.lookup(char_enc).name
        self._event_source = event_source

    def events(self) -> Iterator[Event]:
        """Iterate the events until the stream ends; a later call goes on with the bytes that are left.

        Raises:
            EventTooLarge: an event is over `max_event_size`; the events before it are given first.
            TypeError: the stream gives something other than bytes.
        """
        reading = Reading(self.max_event_size)
        recode = _recoder(self._encoding)
        for chunk in _chunks(self._event_source):
            events, failure = reading.read(recode(chunk))
            for one, retry in events:
                asked = None if retry is None else str(retry)
                yield Event(one.id or None, one.event, one.data, asked)
            if failure is not None:
                raise failure

    def close(self) -> None:
        """Close the stream."""
        self._event_source.close()  # type: ignore[attr-defined]


def _recoder(encoding: str) -> Callable[[bytes], bytes]:
    """Return the function that makes UTF-8 of chunks; a character may be cut by their edges."""
    if encoding == "utf-8":
        return lambda chunk: chunk
    decode = codecs.getincrementaldecoder(encoding)("replace").decode
    return lambda chunk: decode(chunk).encode("utf-8", "replace")


def _chunks(source: Any) -> Any:
    """Return the chunks of a stream: from below a response that would wait until a piece is full."""
    body = getattr(source, "raw", None)  # of requests
    raw = source if body is None else body
    library = type(raw).__module__.partition(".")[0]
    if library != "urllib3" or not hasattr(raw, "read1") or getattr(raw, "chunked", True):
        return iter(source)
    if body is None:
        return _read(raw)
    return iter(source) if getattr(source, "_content_consumed", True) else _read_of_requests(raw)


def _read(raw: Any) -> Iterator[bytes]:
    """Read a response of urllib3 as its bytes come."""
    while chunk := raw.read1(_READ, decode_content=True):
        yield chunk


def _read_of_requests(raw: Any) -> Iterator[bytes]:
    """Read the body of a response of requests, and raise the exceptions of requests, as its own iteration does."""
    requests: Any = import_module("requests")
    failures: Any = import_module("urllib3").exceptions
    try:
        yield from _read(raw)
    except failures.ProtocolError as error:
        raise requests.exceptions.ChunkedEncodingError(error) from error
    except failures.DecodeError as error:
        raise requests.exceptions.ContentDecodingError(error) from error
    except failures.ReadTimeoutError as error:
        raise requests.exceptions.ConnectionError(error) from error
    except failures.SSLError as error:
        raise requests.exceptions.SSLError(error) from error
