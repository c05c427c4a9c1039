"""Items: the kinds of them that a stream may have, and the block that each becomes.

Every way out of the package (`iter_blocks`, `aiter_blocks`, `EventSourceResponse`) takes the same items, checks the
same arguments and closes its iterator in the same manner; all of that is said here. The table of items that users read
is in `fastsse.streams`.

The module knows items, blocks and iterators of either kind; it must not know tasks, threads or timers.
"""

from __future__ import annotations

import io
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Mapping,
)
from functools import partial
from typing import Any, Literal, TypeGuard, TypeVar, cast

from fastsse._codec import Event, encode, encode_comment, encode_json
from fastsse._text import LineSeparators, Surrogates, check_options
from fastsse.errors import InvalidField

__all__ = [
    "DEFAULT_HEARTBEAT",
    "HEARTBEAT",
    "Block",
    "HeartbeatForm",
    "Items",
    "LineSeparators",
    "Surrogates",
    "Write",
    "aclose",
    "as_async",
    "close",
    "heartbeat_of",
    "require_iterable",
    "seconds",
    "writer",
]

T = TypeVar("T")

Items = AsyncIterable[Any] | Iterable[Any]
Write = Callable[[Any], bytes]  # an item to its block

HeartbeatForm = Literal["block", "line"]

HEARTBEAT = encode_comment()
DEFAULT_HEARTBEAT = 15.0  # s; proxies close a silent connection after 29 to 60

_FIELDS = frozenset({"data", "event", "id", "retry", "comment"})
_FIELD_RULE = "is no field: an item that is a mapping has data, event, id, retry and comment"


class Block(bytes):
    """A block that is written already, blank line included: `iter_blocks` passes it on as it is."""

    __slots__ = ()


def heartbeat_of(form: HeartbeatForm) -> bytes:
    """Return the bytes of a heartbeat: a comment and a blank line, or the comment's line alone.

    Raises:
        ValueError: `form` is neither ``"block"`` nor ``"line"``.
    """
    if form not in ("block", "line"):
        raise ValueError(f"heartbeat_form must be 'block' or 'line', not {form!r}")
    return HEARTBEAT if form == "block" else HEARTBEAT.removesuffix(b"\n")


# From an item to its block.


def writer(
    json: bool, surrogates: Surrogates = "refuse", line_separators: LineSeparators = "keep"
) -> Write:
    """Choose the function that writes an item as a block.

    Raises:
        ValueError: `surrogates` or `line_separators` is neither of its two words.
    """
    check_options(surrogates, line_separators)
    if surrogates == "refuse" and line_separators == "keep":
        return _write_json if json else _write
    options = {"surrogates": surrogates, "line_separators": line_separators}
    return partial(_write_mended, _write_json_mended if json else _write_data_mended, options)


def _write(item: object) -> bytes:
    if type(item) is str:  # as most items are
        return encode(item)
    if isinstance(item, Block):
        return item
    if isinstance(item, (str, bytes, bytearray, memoryview)):
        return encode(cast("Any", item))
    if _is_event(item):
        return item.encode()
    if isinstance(item, Mapping):
        return _write_fields(cast("Any", item))
    raise _no_item(item)


def _write_json(item: object) -> bytes:
    if isinstance(item, Block):
        return item
    if _is_event(item):
        return item.encode()
    return encode_json(item)


def _no_item(item: object) -> TypeError:
    return TypeError(
        f"an item must be Event, str, bytes-like, a mapping of fields or Block, not"
        f" {type(item).__name__}; json=True writes any object as JSON"
    )


def _write_fields(fields: Mapping[Any, Any]) -> bytes:
    _check_names(fields)
    return encode(
        fields.get("data"),
        event=fields.get("event"),
        id=fields.get("id"),
        retry=fields.get("retry"),
        comment=fields.get("comment"),
    )


def _check_names(fields: Mapping[Any, Any]) -> None:
    if not _FIELDS.issuperset(fields):
        name = next(name for name in fields if name not in _FIELDS)
        raise InvalidField(str(name), fields[name], _FIELD_RULE)


def _write_mended(write: Callable[[Any, Any], bytes], options: Any, item: Any) -> bytes:
    """Write an item with the options of `encode`, which are for its data; a block is sent as it is."""
    if isinstance(item, Block):
        return item
    if _is_event(item):
        name = None if item.event == "message" else item.event
        return encode(item.data, event=name, id=item.id or None, retry=item.retry, **options)
    return write(item, options)


def _write_json_mended(item: object, options: Any) -> bytes:
    return encode_json(item, **options)


def _write_data_mended(item: object, options: Any) -> bytes:
    if isinstance(item, (str, bytes, bytearray, memoryview)):
        return encode(cast("Any", item), **options)
    if isinstance(item, Mapping):
        fields: dict[str, Any] = {"data": None, **cast("Any", item)}
        _check_names(fields)
        return encode(**fields, **options)
    raise _no_item(item)


def _is_event(item: object) -> TypeGuard[Event]:
    """Return True for an Event of either twin: a pickled event outlives the choice of the codec."""
    return getattr(type(item), "_is_fastsse_event", False) is True


# Iterables of either kind: how they are checked, iterated and closed.


def require_iterable(items: object, name: str, methods: tuple[str, ...]) -> None:
    """Refuse an argument that cannot be iterated, or that would be iterated by mistake: text, a mapping.

    Args:
        items: the argument, and `name` is its name in messages.
        methods: one of them must be there: ``__iter__``, ``__aiter__``.

    Raises:
        TypeError: the argument is refused.
    """
    kind = type(items)
    if isinstance(items, (str, bytes, bytearray, memoryview, Mapping)):
        raise TypeError(
            f"{name} must be an iterable of them, not one {kind.__name__}: put it in a list"
        )
    if not any(hasattr(kind, method) for method in methods):
        wanted = "an iterable" if methods == ("__iter__",) else "an iterable or async iterable"
        raise TypeError(f"{name} must be {wanted}, not {kind.__name__}")


def seconds(name: str, value: Any) -> float | None:
    """Check a delay in seconds. Returns None for "never", which None and 0 both say.

    Raises:
        TypeError, ValueError: `value` is no number, is negative, infinite or not a number at all.
    """
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be seconds or None, not {type(value).__name__}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be seconds, 0 (off) or more, not {value!r}")
    return value or None


def as_async(items: AsyncIterable[T] | Iterable[T]) -> AsyncIterator[T]:
    """Return an async iterator over items of either kind. A sync iterable is iterated in the loop's own thread."""
    if isinstance(items, AsyncIterable):
        return aiter(items)
    return _inline(items)


async def _inline(items: Iterable[T]) -> AsyncGenerator[T]:
    source = iter(items)
    try:
        for item in source:
            yield item
    finally:
        close(source)


def close(source: object) -> None:
    """Close sync items, or their iterator, where they have a `close`. Files stay open: they are the caller's."""
    closing = getattr(source, "close", None)
    if closing is not None and not isinstance(source, io.IOBase):
        closing()


async def aclose(source: object) -> None:
    """Close items of either kind, or their iterator."""
    closing = getattr(source, "aclose", None)
    if closing is None:
        close(source)
    else:
        await closing()
