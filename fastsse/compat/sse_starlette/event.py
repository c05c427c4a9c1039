"""Events under the names of `sse_starlette.event`: what a stream may yield, and its bytes.

The bytes are those of sse-starlette: the lines ``comment``, ``id``, ``event``, ``data``, ``retry`` in this order, and
CRLF unless `sep` says otherwise.

Different on purpose:

- An id or event type with a line end, and an id with NUL, are refused (`InvalidField`, a ValueError). sse-starlette
  takes the line end out, and a client hears another event type than was meant.
- A reconnection time must not be negative or a bool. Data must not contain half of a surrogate pair.
- A `bytearray` is a block that is written already, like `bytes` and `memoryview`. An `Event` of fastsse is written as
  it is.

The module knows events and bytes; it must not know responses.
"""

from __future__ import annotations

import json
from typing import Any

from fastsse.compat._fields import check_retry, encoded, lines, one_line

__all__ = ["JSONServerSentEvent", "ServerSentEvent", "ensure_bytes"]


class ServerSentEvent:
    """One event, or a comment, or both.

    Args:
        data: written with `str`, each of its lines on a ``data`` line; None for no data.
        event: the event type, one line.
        id: the last event ID, one line without NUL.
        retry: the reconnection time, integer milliseconds.
        comment: text that clients ignore.
        sep: the line end, CRLF by default.

    Attributes:
        data, event, id, retry, comment: as given; they may be changed until the event is sent.
    """

    DEFAULT_SEPARATOR = "\r\n"

    def __init__(
        self,
        data: Any | None = None,
        *,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
        comment: str | None = None,
        sep: str | None = None,
    ) -> None:
        self.data = data
        self.event = event
        self.id = id
        self.retry = retry
        self.comment = comment
        self._sep = self.DEFAULT_SEPARATOR if sep is None else sep

    def encode(self) -> bytes:
        """Write the event as one block, blank line included.

        Raises:
            InvalidField: a field cannot be written without a change of its meaning.
            TypeError: the reconnection time is no integer, or the id or event type is no str.
        """
        end = self._sep
        block = "" if self.comment is None else lines(": ", str(self.comment), end)
        if self.id is not None:
            block += one_line("id", self.id, end)
        if self.event is not None:
            block += one_line("event", self.event, end)
        if self.data is not None:
            block += lines("data: ", str(self.data), end)
        if self.retry is not None:
            block += f"retry: {check_retry(self.retry)}{end}"
        return encoded(block + end)


class JSONServerSentEvent(ServerSentEvent):
    """One event whose data is JSON, compact and on one line, as `json.dumps` writes it.

    Args:
        data: whatever `json.dumps` takes, without NaN and the infinities; None for no data.
        args, kwargs: the others of `ServerSentEvent`.

    Raises:
        TypeError, ValueError: `data` cannot be written as JSON.
    """

    def __init__(self, data: Any | None = None, *args: Any, **kwargs: Any) -> None:
        text = None if data is None else _json.encode(data)
        super().__init__(text, *args, **kwargs)


_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def ensure_bytes(data: Any, sep: str) -> bytes:
    """Write what a stream has yielded as one block.

    Args:
        data: bytes-like, sent as it is; a `ServerSentEvent`, of this module or of sse-starlette, or an `Event` of
            fastsse, each with line ends of its own; a dict of the arguments of `ServerSentEvent`; anything else
            becomes the data, by `str`.
        sep: the line end; a dict's own `sep` does not count.

    Raises:
        InvalidField: a field cannot be written without a change of its meaning.
        TypeError: a dict has another key, or a field has another type.
    """
    if type(data) is str:
        return encoded(lines("data: ", data, sep) + sep)
    if isinstance(data, dict):
        fields: dict[str, Any] = {**data, "sep": sep}
        return ServerSentEvent(**fields).encode()
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(data, ServerSentEvent) or (hasattr(data, "retry") and hasattr(data, "encode")):
        block: bytes = data.encode()
        return block
    return encoded(lines("data: ", str(data), sep) + sep)
