"""The rules for hosts and origins: which server a request names, and which site's page has sent it.

A hub inside a network is open to every page in the browsers of that network, so two doors are shut by default:

- DNS rebinding. A foreign name that points to our address makes a foreign page same-origin with us, but the browser
  still sends that name as Host. So only requests that name this server are answered, whatever the address (421):
  `hosts`, the bound name, localhost. An address cannot be rebound, and is always taken. A request without Host is taken
  under HTTP/1.0, which no browser speaks. A socket without an address has a proxy before it, which sees to the names.
- Cross-site requests. A page of another site can POST a form here, or open streams as images, without asking. The
  browser names the sender (``Sec-Fetch-Site``, otherwise ``Origin``). A sender that is neither our own page nor allowed
  by `origins` is refused (403).

Programs send no Origin, and pass. The browser decides, by the CORS headers that `origins` grants, whether a page of
another site may read an answer. Credentials go to origins that are named, where there are tokens, and never with ``*``.

The length of a stranger's string is checked before the string is parsed, looked up or kept.

The module knows headers; it must not know topics or hubs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

from starlette.middleware.cors import CORSMiddleware

from fastsse.asgi import App, Headers, Scope, header
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.web.headers import header_once
from fastsse.broadcast.web.problems import Problem, shown
from fastsse.errors import SettingError

__all__ = ["Access"]

_LONGEST_HOST = 255 + len(":65535")  # bytes: a name in the DNS, and a port
_LONGEST_ORIGIN = 512  # bytes: a scheme, and a host

_VARY = (b"vary", b"Origin")
_ANY = (b"access-control-allow-origin", b"*")
_EXPOSED = (b"access-control-expose-headers", b"Retry-After")
_CREDENTIALS = (b"access-control-allow-credentials", b"true")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_KEPT = (b"cross-origin-resource-policy", b"same-origin")
_SHARED = (b"cross-origin-resource-policy", b"cross-origin")

_DECIDING = frozenset({b"host", b":authority", b"origin", b"sec-fetch-site"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# Sec-Fetch-Site: our own page; an address that the user typed.
_OURS = frozenset({b"same-origin", b"none"})
_DOCUMENTS = frozenset({None, b"document", b"empty"})  # Sec-Fetch-Dest of a navigation by the user
_PORTS = {"http": ":80", "https": ":443"}  # the ports that a browser leaves out
_NO_PORTS = (None, 0, "0")  # the port of a socket that has a path: in ASGI, and as granian says it
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/?#@\[\]]+)(?::[0-9]*)?")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s:/?#@\[\]]+)(:[0-9]+)?")

_HOST_RULE = (
    "must be a name of this server (localhost, the bound host, any address); "
    "add others with --hosts or FASTSSE_HOSTS"
)
_ORIGIN_CURE = "allow it with --origins or FASTSSE_ORIGINS"
_ORIGIN_RULE = f"pages of other sites may not publish here; {_ORIGIN_CURE}"
_COOKIE_RULE = "a cookie is taken from a browser that names its page; programs send Authorization"
_READER_RULE = (
    f"pages of other sites may not open streams as images, scripts or frames; {_ORIGIN_CURE}"
)


class _Host(NamedTuple):
    """A Host header, read.

    Attributes:
        name: without port, brackets and the dot at the end.
        always_ours: True for addresses and localhost, which name this server whatever the settings are.
    """

    name: str
    always_ours: bool


class Access:
    """The rules for hosts and origins of one app.

    Args:
        settings: `hosts` and `origins` are read.

    Raises:
        SettingError: an origin that no browser sends, or a host that cannot be one.
    """

    def __init__(self, settings: Settings) -> None:
        for origin in settings.origins:
            _check_own_origin(origin)
        self._hosts = frozenset(_own_name(host) for host in settings.hosts)
        self._origins = frozenset(settings.origins) - {"*"}  # their pages may publish, too
        self._open = "*" in settings.origins  # pages of every site may read
        self._cors = settings.origins
        # Cookies of other origins are of use where there are tokens, and never go with "*".
        self._credentials = bool(settings.keys) and not self._open
        # The headers of an answer, by the Origin of its request. All streams share these lists: never change one.
        self._granted: dict[bytes, Headers] = {
            origin.encode("latin-1"): [
                _VARY,
                (b"access-control-allow-origin", origin.encode("latin-1")),
                _EXPOSED,
                *([_CREDENTIALS] if self._credentials else []),
                _NOSNIFF,
                _SHARED,
            ]
            for origin in self._origins
        }
        self._to_all: Headers = [_ANY, _EXPOSED, _NOSNIFF, _SHARED]
        self._to_programs: Headers = [_NOSNIFF, _SHARED] if self._open else [_VARY, _NOSNIFF, _KEPT]

    def check(self, scope: Scope) -> None:
        """Refuse a request that names another server, or that another site's page sent to change something.

        Raises:
            Problem: 400 for a Host that cannot be read, and for a Host or Origin that is there twice; 421 for
                another server's name; 403 for another site's page.
        """
        given = _deciding(scope)
        self._check_host(scope, given)
        if scope["method"] not in _SAFE:
            self._check_origin(given)

    def check_reader(self, scope: Scope) -> None:
        """Refuse a stream to a page of another site that asks for it as an image, a script or a frame.

        Such a page could not read the stream, but could hold the few connections that its visitor's browser has for us.

        Raises:
            Problem: 400 for a header that is there twice, 403 for such a page.
        """
        site = header_once(scope, b"sec-fetch-site")
        if site is None or site.lower() in _OURS or self._open:
            return
        mode, origin = header_once(scope, b"sec-fetch-mode"), header_once(scope, b"origin")
        framed = mode == b"navigate" and header_once(scope, b"sec-fetch-dest") not in _DOCUMENTS
        if (mode == b"no-cors" or framed) and origin not in self._granted:
            raise Problem.of_field("sec-fetch-site", site, _READER_RULE, status=403)

    def check_cookie(self, scope: Scope) -> None:
        """Refuse a cookie for credentials, unless a browser says that a page of ours or of `origins` sent it.

        A browser adds cookies to requests of every page, to streams as well.

        Raises:
            Problem: 403 for another site's page, and where no header says whose page it is.
        """
        given = _deciding(scope)
        if b"origin" not in given and b"sec-fetch-site" not in given:
            raise Problem.of_field("origin", None, _COOKIE_RULE, status=403)
        self._check_origin(given)

    def check_sender(self, scope: Scope) -> None:
        """Refuse a request with cookies that another site's page sent, where the operator's function reads them.

        Programs that send cookies name no page, and pass.

        Raises:
            Problem: 403 for such a page.
        """
        if header(scope, b"cookie") is not None:
            self._check_origin(_deciding(scope))

    def wrap(self, app: App) -> App:
        """Wrap `app` with CORS answers and preflights."""
        return _cors(app, self._cors, credentials=self._credentials)

    def headers(self, scope: Scope) -> Headers:
        """Return the headers of an answer that does not pass `wrap`: the ones of CORS, and the ones on embedding.

        The answers to one Origin share one list: copy the list, never change it.
        """
        origin = header(scope, b"origin")
        if self._open:
            return self._to_programs if origin is None else self._to_all
        return self._to_programs if origin is None else self._granted.get(origin, self._to_programs)

    def shield(self, scope: Scope) -> Headers:
        """Return the headers of an answer that passes `wrap`, which adds the ones of CORS."""
        return self.headers(scope)[-2:]

    def _check_host(self, scope: Scope, given: dict[bytes, bytes]) -> None:
        host = given.get(b"host")
        if not host and scope.get("http_version") in ("1.0", "1"):
            return  # granian gives an empty Host where the request has none
        if host is None:
            raise Problem.of_field("host", None, "every request names the server that it is for")
        read = _read_host(host) if len(host) <= _LONGEST_HOST else None
        if read is None:
            raise Problem.of_field("host", host, "must be a host name, with or without a port")
        other = given.get(b":authority", _authority(scope["path"]))
        if other is not None and (len(other) > _LONGEST_HOST or _read_host(other) != read):
            raise Problem.of_field("host", host, "must be what the request line names")
        if read.always_ours or read.name in self._hosts:
            return
        bound, port = scope.get("server") or ("", None)
        if read.name == _normal(bound) or (port in _NO_PORTS and not self._hosts):
            return
        raise Problem.of_field("host", host, _HOST_RULE, status=421)

    def _check_origin(self, given: dict[bytes, bytes]) -> None:
        origin, site, host = map(given.get, (b"origin", b"sec-fetch-site", b"host"))
        if origin in self._granted or (site is not None and site.lower() in _OURS):
            return
        if site is not None:
            raise Problem.of_field("origin", origin or site, _ORIGIN_RULE, status=403)
        if origin is not None and not _same_host(origin, host):
            raise Problem.of_field("origin", origin, _origin_rule(origin, host), status=403)


def _deciding(scope: Scope) -> dict[bytes, bytes]:
    """Collect the headers that decide here, each once, in a single pass because every request comes through here."""
    given: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _DECIDING:
            if name in given:
                header_once(scope, name)  # raises the problem
            given[name] = value
    return given


@lru_cache(maxsize=256)
def _read_host(host: bytes) -> _Host | None:
    """Read a Host header whose length was checked; return None for text that cannot be one."""
    match = _HOST.fullmatch(host.decode("latin-1"))
    if match is None:
        return None
    name = _normal(match[1].strip("[]"))
    local = name == "localhost" or name.endswith(".localhost")
    return _Host(name, local or _is_address(name))


@lru_cache(maxsize=256)
def _normal(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _authority(target: str) -> bytes | None:
    """Return the server that an absolute request target names, or None: some ASGI servers pass on the target whole."""
    if target.startswith("/") or "://" not in target:
        return None
    return target.partition("://")[2].partition("/")[0].encode("latin-1", "replace")


def _own_name(host: str) -> str:
    """Read a host from the settings, where an IPv6 address may stand without brackets."""
    bracketed = f"[{host}]" if host.count(":") > 1 and host[0] != "[" else host
    read = (
        _read_host(bracketed.encode("latin-1", "replace")) if len(host) <= _LONGEST_HOST else None
    )
    if read is None:
        raise SettingError(f"hosts {host!r}: must be a host name or an address")
    return read.name


def _same_host(origin: bytes, host: bytes | None) -> bool:
    """Return True when an Origin has the host and port that the request names; schemes may differ behind a proxy."""
    if len(origin) > _LONGEST_ORIGIN:
        return False
    match = _ORIGIN.fullmatch(origin.decode("latin-1").lower())
    if match is None:
        return False
    default = _PORTS.get(match[1], "")
    ours = (host or b"").decode("latin-1").lower()
    return (match[2] + (match[3] or "")).removesuffix(default) == ours.removesuffix(default)


def _origin_rule(origin: bytes, host: bytes | None) -> str:
    """Write a rule that names both hosts: the usual cause is a proxy that puts its own name in the browser's place."""
    return (
        f"the page is {shown(origin)}, this request names {shown(host or b'no host')}: "
        f"let the proxy pass Host on, or, where the page is of another site, {_ORIGIN_CURE}"
    )


def _check_own_origin(origin: str) -> None:
    """Refuse an origin in the settings that no browser sends, because no request would ever match it."""
    if origin == "*":
        return
    sent = _as_browsers_send(origin)
    if sent is None:
        raise SettingError(
            f"origins {origin!r}: must be scheme://host or scheme://host:port, as browsers send it, or *"
        )
    if sent != origin:
        raise SettingError(f"origins {origin!r}: browsers send {sent!r}")


def _as_browsers_send(origin: str) -> str | None:
    """Write an origin as the URL standard serializes it; return None for text that cannot be one."""
    match = _ORIGIN.fullmatch(origin.lower().removesuffix("/"))
    if match is None or "*" in origin or len(origin) > _LONGEST_ORIGIN:
        return None
    scheme, host, port = match[1], match[2], match[3] or ""
    try:
        if host[0] == "[":
            host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
        elif not host.isascii():
            host = host.encode("idna").decode("ascii")
        number = int(port[1:] or "0")
    except ValueError:
        return None
    if number > 65535:
        return None
    port = f":{number}" if port and f":{number}" != _PORTS.get(scheme) else ""
    return f"{scheme}://{host}{port}"


def _cors(app: App, origins: Collection[str], *, credentials: bool) -> CORSMiddleware:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        # With "*" alone no other site may publish, so a preflight for POST or DELETE is refused at once.
        allow_methods=("GET", "HEAD")
        if set(origins) <= {"*"}
        else ("GET", "HEAD", "POST", "DELETE"),
        allow_headers=("Authorization", "Last-Event-ID", "Cache-Control", "Idempotency-Key"),
        allow_credentials=credentials,
        allow_private_network="*" not in origins,
        expose_headers=(_EXPOSED[1].decode(),),
    )
