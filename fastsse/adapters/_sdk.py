"""Our decoder inside another library's client: what the adapters of the SDKs share.

The generated SDKs have one hook in common. A stream asks its client for a decoder by ``client._make_sse_decoder()``,
and takes events from the answer by ``iter_bytes`` or ``aiter_bytes``. The hook is private, so a later version may drop
it: `find_hook` looks for all of it before a client is touched.

A client gets a subclass of its own class, with the hook answered, as its class. Copies are made by
``self.__class__(...)`` in all these SDKs, and so keep the decoder; other clients of the process do not change.

The module knows the shape of the hook; it must not know the name of any SDK.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, Protocol, TypeVar

from fastsse.errors import FastSSEError

__all__ = ["BytesDecoder", "Hook", "Reading", "UnsupportedSDK", "find_hook", "give_decoder"]

Client = TypeVar("Client")
_HOOK = "_make_sse_decoder"
_ORIGINAL = "_class_before_fastsse"


class UnsupportedSDK(FastSSEError, RuntimeError):
    """A version of an SDK whose streams cannot be given a decoder. The client is as it was.

    Attributes:
        sdk: the SDK's name.
        version: the version that is installed.
        missing: what that version does not have.
    """

    def __init__(self, sdk: str, version: str, missing: str) -> None:
        super().__init__(sdk, version, missing)
        self.sdk = sdk
        self.version = version
        self.missing = missing

    def __str__(self) -> str:
        return (
            f"{self.sdk} {self.version} has no {self.missing}, which a decoder is given by; "
            f"take another version of {self.sdk}, or use its client as it is"
        )


class Reading(Protocol):
    """One stream on its way from bytes to an SDK's events."""

    def feed(self, chunk: bytes, /) -> Iterator[Any]:
        """Take the next chunk, and yield the events that it completes; then raise when one is too large."""
        ...


class Hook(NamedTuple):
    """The classes of an SDK that the hook consists of.

    Attributes:
        client: the base of all its clients.
        event: the class of its events, whose arguments are ``event``, ``data``, ``id`` and ``retry``.
    """

    client: type[Any]
    event: type[Any]


Begin = Callable[[Hook, int | None], Reading]


class BytesDecoder:
    """A decoder as the SDKs ask for one. Each iteration reads a stream of its own.

    Args:
        begin: begins to read a stream.
    """

    def __init__(self, begin: Callable[[], Reading]) -> None:
        self._begin = begin

    def iter_bytes(self, iterator: Iterator[bytes]) -> Iterator[Any]:
        """Yield the events of a stream whose chunks an iterator gives.

        Raises:
            EventTooLarge: an event is over the limit; the events before it have been yielded.
        """
        reading = self._begin()
        for chunk in iterator:
            yield from reading.feed(chunk)

    async def aiter_bytes(self, iterator: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        """Yield the events of a stream whose chunks an async iterator gives.

        Raises:
            EventTooLarge: an event is over the limit; the events before it have been yielded.
        """
        reading = self._begin()
        async for chunk in iterator:
            for event in reading.feed(chunk):
                yield event


def find_hook(sdk: ModuleType) -> Hook:
    """Find the hook of an SDK, as it is installed.

    Raises:
        UnsupportedSDK: a part of the hook is gone.
    """
    base = _part(sdk, "_base_client", "BaseClient")
    event = _part(sdk, "_streaming", "ServerSentEvent")
    if not hasattr(base, _HOOK):
        raise _unsupported(sdk, f"BaseClient.{_HOOK}")
    for name in ("Stream", "AsyncStream"):
        stream = _part(sdk, "_streaming", name)
        asks, takes = _names(stream, "__init__"), _names(stream, "_iter_events")
        if _HOOK not in asks or "_decoder" not in takes:
            raise _unsupported(sdk, f"{name} that reads by the decoder of its client")
    try:
        event(event=None, data="", id=None, retry=None)
    except TypeError as error:
        raise _unsupported(sdk, "ServerSentEvent(event=, data=, id=, retry=)") from error
    return Hook(base, event)


def give_decoder(
    client: Client, sdk: ModuleType, begin: Begin, max_event_size: int | None
) -> Client:
    """Give a client, in place, a decoder that reads by `begin`. Its copies have it, too.

    Args:
        client: a client of the SDK, sync or async.
        sdk: the SDK.
        begin: begins to read a stream: a function, given the hook and the limit.
        max_event_size: the limit in bytes; None for no limit.

    Returns:
        The client itself.

    Raises:
        UnsupportedSDK: a part of the hook is gone in this version.
        TypeError: `client` is not a client of the SDK, or has a decoder of its own; the limit is no int.
        ValueError: the limit is less than 1.
    """
    hook = find_hook(sdk)
    if not isinstance(client, hook.client):
        raise TypeError(f"client must be a client of {sdk.__name__}, not {type(client).__name__}")
    begin(hook, max_event_size)  # refuses a wrong limit now, not at the first stream
    kind: Any = type(client)
    original = getattr(kind, _ORIGINAL, kind)
    if getattr(original, _HOOK) is not getattr(hook.client, _HOOK):
        raise TypeError(
            f"client must have the decoder of {sdk.__name__}: "
            f"{original.__name__} has one of its own, for streams of its own"
        )
    client.__class__ = _subclass(original, hook, begin, max_event_size)
    return client


@lru_cache(maxsize=64)
def _subclass(original: Any, hook: Hook, begin: Begin, max_event_size: int | None) -> type[Any]:
    """Make a class that differs from `original` in its decoder alone."""

    def make_decoder(_client: object) -> BytesDecoder:
        return BytesDecoder(lambda: begin(hook, max_event_size))

    body = {
        "__doc__": original.__doc__,
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        _ORIGINAL: original,
        _HOOK: make_decoder,
    }
    return type(original.__name__, (original,), body)


def _part(sdk: ModuleType, module: str, name: str) -> Any:
    """Find what a private module of the SDK has by a name."""
    try:
        return getattr(import_module(f"{sdk.__name__}.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise _unsupported(sdk, f"{module}.{name}") from error


def _names(stream: type[Any], method: str) -> tuple[str, ...]:
    """List the names that a method's own code looks up; none where it is not written in Python."""
    code = getattr(getattr(stream, method, None), "__code__", None)
    return () if code is None else code.co_names


def _unsupported(sdk: ModuleType, missing: str) -> UnsupportedSDK:
    return UnsupportedSDK(sdk.__name__, str(getattr(sdk, "__version__", "of no version")), missing)
