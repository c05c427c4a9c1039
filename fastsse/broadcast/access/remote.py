"""Keys that an issuer publishes at a URL (a JWK set), fetched when a token asks for a key that is not there yet.

The operator says which URL is fetched, and a token never does. The URL is https, or http on the loopback; a redirect
is not followed. The answer is bounded in bytes and time, and a thread waits for it, so the loop does not. Readers that
wait for one set wait together. However many tokens with unknown keys come, the set is fetched again at most once in
`PAUSE` seconds. While the issuer cannot be reached, the keys that are there go on being good.

The module knows URLs and JWK sets; it must not know tokens or requests.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import socket
import ssl
import threading
import time
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastsse.broadcast.access.keys import BadKey, Key, Keyring, keys_of_set
from fastsse.errors import SettingError, shorten

__all__ = ["PAUSE", "RemoteSet"]

PAUSE = 30.0
"""Seconds between two fetches of one set."""

_OLD = 600.0  # s after which a set is fetched anew, while its keys go on being good
_LARGEST = 256 * 1024  # bytes of an answer
_PATIENCE = 5.0  # s for the whole answer

_log = logging.getLogger("fastsse.broadcast.access")


class RemoteSet:
    """The keys of one issuer.

    Args:
        issuer: whose tokens they check.
        url: where the set is.
        ring: where the keys are put.

    Attributes:
        issuer: as given.
        loaded: the set was fetched at least once.

    Raises:
        SettingError: the URL is neither https nor on the loopback, or there is no issuer.
    """

    def __init__(self, issuer: str | None, url: str, ring: Keyring) -> None:
        if not issuer:
            raise SettingError(
                f"keys {shorten(url)!r}: a URL needs its issuer before it, as ISSUER=URL"
            )
        self.issuer = issuer
        self.loaded = False
        self._ring = ring
        self._secure, self._host, self._port, self._target = _read_url(url)
        self._due = 0.0  # monotonic time before which nothing is fetched
        self._old = 0.0  # monotonic time from which the keys are old
        self._task: asyncio.Task[bool] | None = None
        ring.replace(issuer, ())

    def lacks(self, key: str | None) -> bool:
        """Return True when a token waits for a fetch: its key is not there, and one may be made or is under way."""
        now = time.monotonic()
        if self.loaded and (key is None or self._ring.knows(self.issuer, key)) and now < self._old:
            return False
        return now >= self._due or self._task is not None

    async def fetch(self) -> bool:
        """Fetch the set, together with others that wait for it; return True when the keys have changed."""
        if self._task is None:
            if time.monotonic() < self._due:
                return False
            self._due = time.monotonic() + PAUSE
            self._task = asyncio.create_task(self._fetch())
            self._task.add_done_callback(self._done)
        return await asyncio.shield(self._task)

    def _done(self, _: asyncio.Task[bool]) -> None:
        self._task = None

    async def _fetch(self) -> bool:
        line = _Line()
        try:
            async with asyncio.timeout(_PATIENCE + 1):
                data = await asyncio.to_thread(self._get, line)
            keys = keys_of_set(data, self.issuer, public=True)
        except (OSError, http.client.HTTPException, BadKey, TimeoutError) as error:
            _log.warning("keys of %r cannot be fetched: %s", self.issuer, type(error).__name__)
            return False
        finally:
            line.cut()
        changed = not self.loaded or _names(keys) != _names(self._ring.all_of(self.issuer))
        self._ring.replace(self.issuer, keys)
        self.loaded = True
        self._old = time.monotonic() + _OLD
        return changed

    def _get(self, line: _Line) -> bytes:
        """Get the set, in a thread."""
        end = time.monotonic() + _PATIENCE
        context = ssl.create_default_context() if self._secure else None
        connection = self._connection(context)
        try:
            connection.sock = self._connected(context, connection.port, line)
            connection.request("GET", self._target, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise BadKey(f"status {answer.status}")
            found = b""
            while part := answer.read1(65_536):
                found += part
                if len(found) > _LARGEST or time.monotonic() > end:
                    raise BadKey("the answer is too large, or too slow")
            return found
        finally:
            connection.close()

    def _connection(self, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
        if context is None:
            return http.client.HTTPConnection(self._host, self._port)
        return http.client.HTTPSConnection(self._host, self._port, context=context)

    def _connected(self, context: ssl.SSLContext | None, port: int, line: _Line) -> socket.socket:
        plain = socket.create_connection((self._host, port), _PATIENCE)
        line.hold(plain)
        return plain if context is None else context.wrap_socket(plain, server_hostname=self._host)


class _Line:
    """A connection that another thread may cut, whatever its own thread waits for there.

    A time-out of a socket counts from byte to byte, so an issuer that sends one now and then would hold the thread for
    ever, and with it the end of the process.
    """

    def __init__(self) -> None:
        self._held: socket.socket | None = None
        self._over = False
        self._lock = threading.Lock()

    def hold(self, connected: socket.socket) -> None:
        """Take a connection, to cut it later.

        Raises:
            TimeoutError: it is too late.
        """
        with self._lock:
            if self._over:
                connected.close()
                raise TimeoutError("the connection took too long")
            self._held = connected.dup()

    def cut(self) -> None:
        """End the connection, and every wait there."""
        with self._lock:
            self._over = True
            if self._held is not None:
                with suppress(OSError):  # the issuer has ended it
                    self._held.shutdown(socket.SHUT_RDWR)
                self._held.close()


def _names(keys: list[Key]) -> list[tuple[str | None, object]]:
    """Return what tells sets of keys apart."""
    return [(key.id, key.material) for key in keys]


def _read_url(url: str) -> tuple[bool, str, int | None, str]:
    """Read a URL: if it is https, the host, the port and the target."""
    shown = shorten(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise SettingError(f"keys {shown!r}: is no URL") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise SettingError(f"keys {shown!r}: must be https://host/path")
    if parts.scheme == "http" and not _is_loopback(host):
        raise SettingError(f"keys {shown!r}: must be https, or http on the loopback")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or not target.isprintable() or " " in target:
        raise SettingError(f"keys {shown!r}: must be ASCII, with escapes")
    return parts.scheme == "https", host, port, target


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
