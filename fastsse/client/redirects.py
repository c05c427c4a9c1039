"""Where a redirect leads, and what of the request goes along (Fetch Standard, "HTTP-redirect fetch").

    status          method                          body and its headers
    301, 302        POST becomes GET, others stay   dropped when the method changes
    303             all but HEAD become GET         dropped when the method changes
    307, 308        stays                           sent again

Once a redirect leads to another origin (scheme, host or port), the credentials of the caller stay behind for the
rest of the way: ``Authorization``, ``Cookie``, ``Proxy-Authorization`` and whatever the `auth` hook gives. The last
event ID goes along, as in browsers.

The module knows one redirect; it must not know how many there may be, or whether one is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit

from fastsse.client.messages import Headers, Response, clean_url
from fastsse.errors import quote

__all__ = ["OF_BODY", "OF_CREDENTIALS", "PERMANENT", "REDIRECTS", "Target"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})
PERMANENT = frozenset({301, 308})

OF_CREDENTIALS = ("authorization", "cookie", "proxy-authorization")
OF_BODY = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-type",
    "transfer-encoding",
)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """Where the next request goes, and what goes along.

    Attributes:
        method: as it has become.
        url: absolute.
        body: False when a redirect has made the request one without a body.
        credentials: False when a redirect has led to another origin.
    """

    method: str
    url: str
    body: bool = True
    credentials: bool = True

    def after(self, response: Response) -> Target:
        """Follow a redirect.

        Raises:
            ValueError: there is no ``Location``, there are several, or its address is none of HTTP.
        """
        location = _location(response.headers)
        parts = urlsplit(location)
        if parts.scheme and not parts.netloc:
            raise ValueError(f"{quote(location)}: there is no host")
        url = clean_url(urljoin(self.url, location))
        becomes_get = self.method not in ("GET", "HEAD") and (
            response.status == 303 or (response.status in (301, 302) and self.method == "POST")
        )
        return replace(
            self,
            method="GET" if becomes_get else self.method,
            url=url,
            body=self.body and not becomes_get,
            credentials=self.credentials and _origin(url) == _origin(self.url),
        )


def _location(headers: Headers) -> str:
    """Return the place that an answer names; the same place may be named twice."""
    named = {value.strip() for name, value in headers.pairs() if name.lower() == "location"}
    if len(named) > 1:
        raise ValueError(f"there are {len(named)} of Location")
    for location in named:
        return location
    raise ValueError("there is no Location")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
