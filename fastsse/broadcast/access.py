"""Who may speak to us: the Host that a request names, and the Origin whose page sent it.

A server on the loopback is open to every page in the user's browser, so two doors are shut by default:

- DNS rebinding: a foreign name that points to 127.0.0.1 makes a foreign page same-origin with us. It still
  sends its own name as Host, so on a loopback address only our own names are answered (421).
- Cross-site requests: a page of another site can POST a form here without asking. The browser tells us who
  sent it (``Sec-Fetch-Site``, else ``Origin``); what is not ours and not allowed is refused (403).

Programs send no Origin and pass. Reading from other sites is the browser's to refuse: it gets the CORS headers
that `origins` grants, never with credentials, and nothing else. It knows headers; it must not know topics or hubs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Scope

from fastsse.broadcast.problems import Problem
from fastsse.broadcast.settings import SettingError, Settings

__all__ = ["Access", "header", "headers", "is_loopback"]

_EXPOSED = (b"access-control-expose-headers", b"Retry-After")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OURS = frozenset({b"same-origin", b"none"})  # Sec-Fetch-Site: our own page; the user's own doing
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/?#@\[\]]+)(?::[0-9]*)?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-fA-F:.]+\]|[^\s:/?#@\[\]]+)(?::[0-9]+)?")

_HOST_RULE = (
    "must be a name of this server (localhost, 127.0.0.1, [::1], the bound host); "
    "add others with --hosts or FASTSSE_HOSTS"
)
_ORIGIN_RULE = (
    "pages of other sites may not publish here; allow one with --origins or FASTSSE_ORIGINS"
)


class Access:
    """The rules of one app.

    Args:
        settings: `hosts` and `origins` are read.

    Raises:
        SettingError: an origin is not of the form ``scheme://host[:port]``, or a host is not one.
    """

    def __init__(self, settings: Settings) -> None:
        for origin in settings.origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise SettingError(
                    f"origins {origin!r}: must be scheme://host or scheme://host:port, "
                    "as browsers send it, or *"
                )
        self._hosts = frozenset(_own_name(host) for host in settings.hosts)
        self._origins = frozenset(settings.origins) - {"*"}  # may publish, too
        self._cors = _cors(_unreachable, settings.origins)
        self._settings = settings

    def check(self, scope: Scope) -> None:
        """Refuse a request whose Host is not ours, or that another site's page sent to change something.

        Raises:
            Problem: 400 for a Host that cannot be read, 421 for a foreign one, 403 for a foreign page.
        """
        self._check_host(scope)
        if scope["method"] not in _SAFE:
            self._check_origin(scope)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """`app` with CORS answers and preflights."""
        return _cors(app, self._settings.origins)

    def grant(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """The CORS headers of an answer that does not go through `wrap`; the same rules."""
        origin = header(scope, b"origin")
        if self._cors.allow_all_origins:
            return [(b"access-control-allow-origin", b"*"), _EXPOSED] if origin is not None else []
        granted = [(b"vary", b"Origin")]
        if origin is not None and self._cors.is_allowed_origin(origin.decode("latin-1")):
            granted += [(b"access-control-allow-origin", origin), _EXPOSED]
        return granted

    def _check_host(self, scope: Scope) -> None:
        found = headers(scope, b"host")
        if len(found) > 1:
            raise Problem.of_field("host", b", ".join(found), "must be given once")
        bound = scope.get("server") or ("", None)
        if not found:
            if scope.get("http_version") in ("1.0", "1"):
                return  # browsers always send one
            raise Problem.of_field("host", None, "every request names the server that it is for")
        name = _name(found[0])
        if name is None:
            raise Problem.of_field("host", found[0], "must be a host name, with or without a port")
        if not self._hosts and not is_loopback(bound[0]):
            return
        if name in self._hosts or name == _normal(bound[0]) or _is_loopback_name(name):
            return
        raise Problem.of_field("host", found[0], _HOST_RULE, status=421)

    def _check_origin(self, scope: Scope) -> None:
        origin = header(scope, b"origin")
        if origin is not None and origin.decode("latin-1") in self._origins:
            return
        site = header(scope, b"sec-fetch-site")
        if site is None:
            if origin is None or _same_host(origin, header(scope, b"host")):
                return
        elif site.lower() in _OURS:
            return
        raise Problem.of_field("origin", origin or site, _ORIGIN_RULE, status=403)


def headers(scope: Scope, name: bytes) -> list[bytes]:
    """All values of a request header; `name` in lower case."""
    return [value for key, value in scope["headers"] if key == name]


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of a request header, or None; `name` in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


@lru_cache(maxsize=256)
def is_loopback(address: str) -> bool:
    """Whether an IP address is this machine's own: 127.0.0.0/8 or ::1, also IPv4-mapped."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)


@lru_cache(maxsize=256)
def _name(host: bytes) -> str | None:
    """The name in a Host header: lower case, without port, brackets and the root's dot."""
    match = _HOST.fullmatch(host.decode("latin-1"))
    return _normal(match[1].strip("[]")) if match else None


@lru_cache(maxsize=256)
def _normal(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower().removesuffix(".")


def _own_name(host: str) -> str:
    """A name from the settings; an IPv6 address may go without brackets there."""
    name = _name(
        (f"[{host}]" if host.count(":") > 1 and host[0] != "[" else host).encode(
            "latin-1", "replace"
        )
    )
    if name is None:
        raise SettingError(f"hosts {host!r}: must be a host name or an address")
    return name


def _is_loopback_name(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


def _same_host(origin: bytes, host: bytes | None) -> bool:
    """Whether an Origin is that of the server that the request names. Schemes may differ behind a proxy."""
    try:
        parts = urlsplit(origin.decode("latin-1").lower())
        default = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    except ValueError:
        return False
    ours = (host or b"").decode("latin-1").lower()
    return parts.netloc != "" and parts.netloc.removesuffix(default) == ours.removesuffix(default)


def _cors(app: ASGIApp, origins: Collection[str]) -> CORSMiddleware:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        # With "*" alone nobody else may publish, so a preflight for POST says no at once.
        allow_methods=("GET", "HEAD") if set(origins) <= {"*"} else ("GET", "HEAD", "POST"),
        allow_headers=("Last-Event-ID", "Cache-Control"),
        allow_credentials=False,
        allow_private_network="*" not in origins,
        expose_headers=(_EXPOSED[1].decode(),),
    )


async def _unreachable(*_: Any) -> None:
    raise AssertionError("this instance only answers questions")
