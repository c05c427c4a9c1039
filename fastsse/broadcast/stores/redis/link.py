"""Connections to Redis and Valkey, alone, behind Sentinel or in a Cluster; plain or TLS.

A `Link` is one connection on which commands go out and answers come back, without a pool, a retry or a translation in
between: a store that must know what became of each command does its own repeating. Whoever serves the log is looked up
anew for each link, so a link always leads to the present master.

The module knows redis-py and URLs; it must not know streams, entries or scripts. All errors leave it as `OSError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import SplitResult, unquote, urlencode

import hiredis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

__all__ = ["Argument", "Command", "DriverError", "Link", "Place", "Said"]

# Parts of redis-py have no types.
_Sentinel: Any = Sentinel
_Cluster: Any = RedisCluster
_Pool: Any = ConnectionPool
_pack = cast("Any", hiredis).pack_command  # in C, where redis-py's own for asyncio is not

_FIRST_WORDS: dict[type[Exception], str] = {  # a class stands before the one that it extends
    NoScriptError: "NOSCRIPT",
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    MovedError: "MOVED",
    AskError: "ASK",
    TryAgainError: "TRYAGAIN",
    MasterDownError: "MASTERDOWN",
    ClusterDownError: "CLUSTERDOWN",
}

Argument = bytes | str | int
Command = tuple[Argument, ...]

_ANSWERS = 5.0  # s that any answer may take, beyond the time that the command is meant to wait


class DriverError(ValueError):
    """A URL that the driver cannot use."""


class Said(OSError):
    """The server has answered a command by an error.

    Attributes:
        code: the first word of the error, such as ``READONLY``.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Link:
    """One connection.

    Args:
        connection: redis-py's, connected.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def call(self, *command: Argument, waits: float = 0.0) -> Any:
        """Send a command, and return its answer.

        Args:
            waits: seconds that the command itself may wait at the server.

        Raises:
            Said: the server has answered by an error; the link stays good.
            OSError: contact was lost; nobody knows what became of the command.
        """
        [answer] = await self.calls([command], waits=waits)
        if isinstance(answer, Said):
            raise answer
        return answer

    async def calls(self, commands: list[Command], *, waits: float = 0.0) -> list[Any]:
        """Send commands together, and return their answers; one that is an error is a `Said`.

        Raises:
            OSError: contact was lost; nobody knows what became of the commands.
        """
        try:
            async with asyncio.timeout(_ANSWERS + waits):
                connection = self._connection
                packed = b"".join(map(_pack, commands))
                await connection.send_packed_command(packed, check_health=False)
                return [await self._answer() for _ in commands]
        except (TimeoutError, RedisError, OSError) as error:
            await self.close()
            raise ConnectionError(_words(error)) from error

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return _said(error)

    async def close(self) -> None:
        """Close the connection; what waits for an answer gets an error."""
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect(nowait=True)


def _said(error: ResponseError) -> Said:
    """Translate an answer that is an error; redis-py takes the first word of some away, and earlier ones forget it."""
    code, text = getattr(error, "status_code", None), str(error)
    if not isinstance(code, str):
        known = (word for kind, word in _FIRST_WORDS.items() if isinstance(error, kind))
        code = next(known, text.partition(" ")[0])
    return Said(code, text)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


class Place:
    """The address of a log: where to connect, and as whom.

    Args:
        parts: a URL whose scheme is ``redis``, ``rediss``, ``redis+sentinel`` or ``redis+cluster``. Behind Sentinel the
            path is ``/<name of the master>/<database>``.
        options: those of the query that are for the driver; ``tls=yes`` asks for TLS behind Sentinel and in a Cluster.
        key: a key of the log, by which a cluster knows the node.

    Raises:
        DriverError: the URL cannot be used; the message repeats no part that may be secret.
    """

    def __init__(self, parts: SplitResult, options: Mapping[str, str], key: str) -> None:
        self._key = key
        self._kind = parts.scheme
        self._hosts = _hosts(parts)
        rest = dict(options)
        tls = rest.pop("tls", "no") == "yes" or self._kind == "rediss"
        self._watchers = {
            name: rest.pop(f"sentinel_{name}")
            for name in ("username", "password")
            if f"sentinel_{name}" in rest
        }
        self._service, path = "", parts.path
        if self._kind == "redis+sentinel":
            self._service, path = _service(parts)
        user, at, _ = parts.netloc.rpartition("@")
        if re.fullmatch(r"/?|/[0-9]{1,5}", path) is None:
            raise DriverError("the path must be the number of a database")
        url = f"{'rediss' if tls else 'redis'}://{user}{at}localhost{path}?{urlencode(rest)}"
        try:
            pool = _Pool.from_url(url)
        except (ValueError, RedisError):
            raise DriverError("an option is not one that redis-py knows") from None
        [(host, port), *_] = self._hosts
        self._class = pool.connection_class
        self._options: dict[str, Any] = {
            **pool.connection_kwargs,
            "host": host,
            "port": port,
            "socket_timeout": None,
            "socket_connect_timeout": _ANSWERS,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        try:
            self._class(**self._options)  # which connects to nothing
        except (TypeError, ValueError, RedisError):
            raise DriverError("an option is not one that redis-py knows") from None

    async def dial(self) -> Link:
        """Connect to the present master.

        Raises:
            OSError: there is none, or it cannot be reached or does not know us.
        """
        try:
            async with asyncio.timeout(2 * _ANSWERS):
                where = await self._find()
                connection: Any = self._class(**(self._options | where))
                await connection.connect()
        except (TimeoutError, RedisError, OSError) as error:
            raise ConnectionError(_words(error)) from error
        return Link(connection)

    async def _find(self) -> dict[str, Any]:
        """Find host and port of the present master, where others know them."""
        if self._kind == "redis+sentinel":
            return await self._ask_sentinel()
        if self._kind == "redis+cluster":
            return await self._ask_cluster()
        return {}

    async def _ask_sentinel(self) -> dict[str, Any]:
        knobs: dict[str, Any] = {"socket_timeout": _ANSWERS, **self._watchers}
        sentinel = _Sentinel(self._hosts, sentinel_kwargs=knobs)
        try:
            host, port = await sentinel.discover_master(self._service)
        finally:
            for one in sentinel.sentinels:
                await one.aclose()
        return {"host": host, "port": port}

    async def _ask_cluster(self) -> dict[str, Any]:
        secrets = {
            name: self._options[name] for name in ("username", "password") if name in self._options
        }
        tls = {"ssl": True} if issubclass(self._class, SSLConnection) else {}
        [(host, port), *_] = self._hosts
        cluster = _Cluster(host=host, port=port, **secrets, **tls)
        try:
            await cluster.initialize()
            node = cluster.get_node_from_key(self._key)
            if node is None:
                raise ConnectionError("no node of the cluster has the log")
            return {"host": node.host, "port": int(node.port)}
        finally:
            await cluster.aclose()


def _hosts(parts: SplitResult) -> list[tuple[str, int]]:
    """Read the hosts of a URL, which may be several with commas between them."""
    default = 26379 if parts.scheme == "redis+sentinel" else 6379
    found: list[tuple[str, int]] = []
    for host in parts.netloc.rpartition("@")[2].split(","):
        name, colon, port = host.rpartition(":")
        if not colon or host.endswith("]"):
            name, port = host, ""
        if port and not port.isdigit():
            raise DriverError("a port is no number")
        found.append((unquote(name).strip("[]") or "localhost", int(port or default)))
    return found


def _service(parts: SplitResult) -> tuple[str, str]:
    """Read the name of the master and the database from the path of a Sentinel URL."""
    name, _, database = parts.path.strip("/").partition("/")
    if not name:
        raise DriverError(
            "name the master that Sentinel watches: redis+sentinel://host:26379/mymaster/0"
        )
    return unquote(name), f"/{database or '0'}"
