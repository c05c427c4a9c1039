"""The address of a client behind proxies, from ``X-Forwarded-For`` and ``Forwarded`` (RFC 7239).

Everybody can send these headers, so the headers are read only where the connection comes from a proxy that the operator
trusts, and from right to left: a proxy adds the address that it was asked from at the end. The first address that is
not a trusted proxy's is the client's. Hops further left were sent by that client, and are never looked at.

    connection from 10.0.0.1, trusted: 10.0.0.0/8
    X-Forwarded-For: 198.51.100.9, 192.0.2.7, 10.0.0.2        the client is 192.0.2.7

A hop that cannot be read, that is ``unknown``, or that has a name in place of an address ends the search: the client
then has the address of the proxy that wrote the hop, so no value wins by being odd. Where both headers are there and
say different things, a client has sent one of them, and the connection's own address counts.

The module knows headers and addresses; it must not know quotas or logs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Any, NamedTuple

from fastsse.asgi import Scope, headers
from fastsse.broadcast.settings import Settings
from fastsse.errors import SettingError, shorten

__all__ = ["HOPS", "Proxies"]

HOPS = 32
"""Hops of one header that are looked at."""

_LONGEST_LINE = 4096  # bytes at the end of a header line that are looked at
_LONGEST_NODE = 64  # characters of an address, with its port
_MOST = 100  # networks of a setting
_KNOWN = 1024  # addresses whose trust is remembered
_UNIX = "unix"  # a connection by a Unix socket, which has no address

_HEADERS = {"x-forwarded-for": (b"x-forwarded-for",), "forwarded": (b"forwarded",)}
_BOTH = (b"x-forwarded-for", b"forwarded")
_PORT = r"(?::([0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_FOUR = re.compile(rf"([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+){_PORT}")
_SIX = re.compile(rf"\[([0-9A-Fa-f:.]+)\]{_PORT}")
_BARE_SIX = re.compile(r"[0-9A-Fa-f:.]+")
_PAIR = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=([^\s";,=]+|"(?:[^"\\]|\\.)*")')
_ESCAPE = re.compile(r"\\(.)")

_RULE = "must be an address, a network such as 10.0.0.0/8, or unix for connections by a Unix socket"
_TOO_WIDE = "trusts everybody, so every client could choose its own address; name your proxies"

Client = Sequence[Any] | None


class _Node(NamedTuple):
    """A hop: its address, empty for a Unix socket, and its port, 0 where that is not known."""

    address: str
    port: int


class Proxies:
    """The proxies of one app, and what they say of their clients.

    Args:
        settings: `trusted_proxies` and `proxy_header` are read.

    Attributes:
        trusted: there is at least one.

    Raises:
        SettingError: a text that is no address and no network, or a network of everybody.
    """

    def __init__(self, settings: Settings) -> None:
        names = settings.trusted_proxies
        if len(names) > _MOST:
            raise SettingError(f"trusted_proxies: {len(names)} networks: must be at most {_MOST}")
        self._unix = _UNIX in names
        self._networks = tuple(_network(name) for name in names if name != _UNIX)
        self._headers = _HEADERS.get(settings.proxy_header, _BOTH)
        self._trusts = lru_cache(maxsize=_KNOWN)(self._look_up)
        self.trusted = bool(names)

    def client(self, scope: Scope) -> Client:
        """Return the client's address and port, as ``scope["client"]`` has them; a port that is not known is 0."""
        given: Client = scope.get("client")
        peer = _peer(given)
        if not self._trusts(peer):
            return given
        found = [
            self._follow(lines, name) for name in self._headers if (lines := headers(scope, name))
        ]
        if not found or found[0] is None or any(_differ(found[0], other) for other in found[1:]):
            return given
        return found[0]

    def _follow(self, lines: list[bytes], name: bytes) -> _Node | None:
        """Return the client that one header names; None where not even the last hop can be read."""
        found: _Node | None = None
        for node in islice(_hops(lines, name), HOPS):
            if node is None:
                break
            found = node
            if not self._trusts(node.address):
                break
        return found

    def _look_up(self, address: str) -> bool:
        if not address:
            return self._unix
        try:
            given = ip_address(address)
        except ValueError:
            return False
        return any(given in network for network in self._networks)


def _differ(one: _Node, other: _Node | None) -> bool:
    return other is None or one.address != other.address


def _network(name: str) -> IPv4Network | IPv6Network:
    shown = f"trusted_proxies {shorten(name, _LONGEST_NODE)!r}"
    try:
        found = ip_network(name)
    except ValueError as error:
        cure = f"; write {_without_host(name)}" if "host bits" in str(error) else ""
        raise SettingError(f"{shown}: {_RULE}{cure}") from None
    if not found.prefixlen:
        raise SettingError(f"{shown}: {_TOO_WIDE}")
    return found


def _without_host(name: str) -> str:
    return str(ip_network(name, strict=False))


def _peer(client: Client) -> str:
    """Return the address of a connection; empty for a Unix socket, of which servers give no client or an empty one."""
    if not client or not client[0]:
        return ""
    address = str(client[0]).partition("%")[0]  # the zone of a link-local address
    return _plain(address) or address[:_LONGEST_NODE]


def _plain(text: str) -> str | None:
    """Write an address as `ipaddress` does, an IPv4 address within IPv6 as itself; return None for other text."""
    try:
        given = ip_address(text)
    except ValueError:
        return None
    if isinstance(given, IPv6Address) and given.ipv4_mapped is not None:
        given = given.ipv4_mapped
    return str(given)


def _hops(lines: list[bytes], name: bytes) -> Iterator[_Node | None]:
    """Yield the hops of a header's lines from right to left; None for one that cannot be read."""
    for line in reversed(lines):
        cut = len(line) > _LONGEST_LINE
        text = line[-_LONGEST_LINE:].decode("latin-1")
        for start, part in _parts(text, quotes=name == b"forwarded"):
            # The rest of an address that was cut may look like another address.
            yield None if cut and not start else _read(part.strip(" \t"), name)


def _parts(line: str, *, quotes: bool) -> Iterator[tuple[int, str]]:
    """Cut a line at its commas from right to left, but for commas between quotes; yield each part and its place.

    Reading from the left would let a quote that a client has opened and not closed take in what proxies add.
    """
    end = at = len(line)
    while at > 0:
        comma, quote = line.rfind(",", 0, at), line.rfind('"', 0, at) if quotes else -1
        at = max(comma, quote)
        if quote > comma:
            at = line.rfind('"', 0, at)
            while at > 0 and line[at - 1] == "\\":
                at = line.rfind('"', 0, at)
        elif at >= 0:
            yield at + 1, line[at + 1 : end]
            end = at
    yield 0, line[:end]


def _read(text: str, name: bytes) -> _Node | None:
    if name == b"forwarded":
        return _node(_for(text) or "")
    if len(text) <= _LONGEST_NODE and _BARE_SIX.fullmatch(text) and (plain := _plain(text)):
        return _Node(plain, 0)
    return _node(text)


def _node(text: str) -> _Node | None:
    """Read an address with or without a port; an IPv6 address stands in brackets."""
    if text == "unix:":
        return _Node("", 0)  # as nginx writes it
    if len(text) > _LONGEST_NODE:
        return None
    match = _FOUR.fullmatch(text) or _SIX.fullmatch(text)
    if match is None or (plain := _plain(match[1])) is None:
        return None
    port = match[2] or "0"
    number = int(port) if port.isdigit() else 0
    return _Node(plain, number) if number <= 65535 else None


def _for(element: str) -> str | None:
    """Return the value of ``for`` in one element of ``Forwarded``; None where there is none, or something is odd."""
    found: str | None = None
    at = 0
    while at < len(element):
        match = _PAIR.match(element, at)
        if match is None:
            return None
        if match[1].lower() == "for":
            if found is not None:
                return None
            found = _ESCAPE.sub(r"\1", match[2][1:-1]) if match[2][0] == '"' else match[2]
        rest = element[match.end() :].lstrip(" \t")
        if rest and rest[0] != ";":
            return None
        at = len(element) - len(rest[1:].lstrip(" \t"))
    return found
