"""The requests of the client, and the answers to them: values without I/O.

The module knows names, values and addresses as HTTP has them (RFC 9110, RFC 3986); it must not know a library, or
when a request is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

__all__ = ["Body", "Headers", "HeadersLike", "Request", "Response", "clean_url", "sendable"]

# Bytes; or a function that makes them anew for each request.
Body = bytes | Callable[[], Any] | None
HeadersLike = Mapping[str, str] | Iterable[tuple[str, str]]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_URL = re.compile(r"[\x00-\x1f\x7f]")
_KEPT = "%/:=&?~#+!$,;'@()*[]|"  # characters that an address may hold as they are


class Headers(Mapping[str, str]):
    """Header fields in order; names are found in any case. A field that came several times is joined by commas.

    Args:
        pairs: names and values, or a mapping of them.

    Raises:
        ValueError: a name or value that could not be sent as it is.
    """

    __slots__ = ("_joined", "_pairs")

    def __init__(self, pairs: HeadersLike = ()) -> None:
        given: Iterable[tuple[str, str]] = (
            cast("Mapping[str, str]", pairs).items() if isinstance(pairs, Mapping) else pairs
        )
        self._pairs = tuple(
            (_checked_name(name), _checked_value(name, value)) for name, value in given
        )
        self._joined = _join(self._pairs)

    @classmethod
    def received(cls, pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Read fields as they came: UTF-8, otherwise Latin-1. Nothing is refused."""
        headers = cls()
        headers._pairs = tuple((_text(name), _text(value).strip(" \t")) for name, value in pairs)
        headers._joined = _join(headers._pairs)
        return headers

    def __getitem__(self, name: str) -> str:
        return self._joined[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._joined)

    def __len__(self) -> int:
        return len(self._joined)

    def __repr__(self) -> str:
        return f"Headers({list(self._pairs)!r})"

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return every field as it was given, in order."""
        return self._pairs

    def but(self, changes: Mapping[str, str | None]) -> Headers:
        """Return a copy in which these fields have these values, or are gone where the value is None."""
        changed = {name.lower() for name in changes}
        kept = [pair for pair in self._pairs if pair[0].lower() not in changed]
        return Headers(
            kept + [(name, value) for name, value in changes.items() if value is not None]
        )


def _join(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        low = name.lower()
        joined[low] = f"{joined[low]}, {value}" if low in joined else value
    return joined


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _checked_name(name: str) -> str:
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a header's name must be str, not {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"header name {name!r}: must be a token, such as 'Authorization'")
    return name


def _checked_value(name: str, value: str) -> str:
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the value of header {name} must be str, not {type(value).__name__}")
    if _NOT_IN_VALUE.search(value):  # the value itself may be a secret, so no message repeats it
        raise ValueError(f"the value of header {name} must have no control characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the value of header {name} must have no lone surrogates") from None
    return value.strip(" \t")


@dataclass(frozen=True, slots=True)
class Request:
    """A request to be sent.

    Attributes:
        method: such as ``GET``.
        url: absolute, ASCII.
        headers: values are sent as UTF-8.
        body: bytes, a function that makes them, or None.
        credentials: False after a redirect to another origin: no credentials of the caller's may be sent, neither
            from `headers`, where they are gone, nor from a client object.
        attempt: 1 for the first request after an event, and one more for each that follows without one.
        refused: the answer of 401 because of which the request is made again; None otherwise.
    """

    method: str
    url: str
    headers: Headers
    body: Body = None
    credentials: bool = True
    attempt: int = 1
    refused: Response | None = None

    def but(self, **changes: Any) -> Request:
        """Return a copy with other values for these attributes."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Response:
    """The head of an answer.

    Attributes:
        status: such as 200.
        headers: the fields as they came.
        url: the address that was asked, after redirects.
    """

    status: int
    headers: Headers
    url: str


def clean_url(url: str, params: Any = None) -> str:
    """Return an address in ASCII: other characters are percent-encoded, a host as IDNA, and `params` are added.

    Args:
        url: absolute, with scheme http or https.
        params: a mapping or pairs, as `urllib.parse.urlencode` takes them; a value may be a list.

    Raises:
        ValueError: the address is none of HTTP.
    """
    text = url.strip(" \t\r\n\f")
    rule = "must be http://HOST or https://HOST, optionally with a port, a path and a query"
    if _NOT_IN_URL.search(text):
        raise ValueError(f"{url!r}: {rule}, without control characters")
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        port = parts.port
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except ValueError as error:  # UnicodeError is one
        raise ValueError(f"{url!r}: {rule}") from error
    if parts.scheme not in ("http", "https") or not host or port == 0 or " " in host:
        raise ValueError(f"{url!r}: {rule}")
    user, at, _ = parts.netloc.rpartition("@")
    place = f"[{ascii_host}]" if ":" in ascii_host else ascii_host
    netloc = f"{quote(user, safe=_KEPT)}{at}{place}{'' if port is None else f':{port}'}"
    query = quote(parts.query, safe=_KEPT)
    if params:
        query = "&".join(filter(None, (query, urlencode(params, doseq=True))))
    return urlunsplit((parts.scheme, netloc, quote(parts.path, safe=_KEPT) or "/", query, ""))


def sendable(last_event_id: str) -> str:
    """Return an ID as it can be a header's value: without white space round it; "" where it has control characters.

    HTTP libraries refuse such characters (RFC 9110, 5.5), and a stream must not end because of an ID that its server
    chose.
    """
    text = last_event_id.strip(" \t")
    return "" if _NOT_IN_VALUE.search(text) else text
