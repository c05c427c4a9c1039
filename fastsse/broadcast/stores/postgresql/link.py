"""Connections to PostgreSQL by asyncpg, whose errors leave this module as `OSError`.

A `Link` is one connection that runs a statement at a time. A statement that does not come back in time ends its
connection, so that nothing is ever answered late. Each statement is a transaction of its own: a lock in the server is
never held while an answer travels.

The module knows asyncpg and URLs; it must not know tables, entries or positions.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlencode, urlunsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

__all__ = ["OPTIONS", "Link", "Place", "Pool", "Said"]

_driver: Any = asyncpg  # which has no types
_CONNECTS = 10.0  # s that it may take to connect
_ANSWERS = 10.0  # s that a statement may take, the wait for its lock included

OPTIONS = frozenset(
    (
        *("host", "port", "dbname", "user", "password", "passfile", "service", "servicefile"),
        *("sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version"),
        *("target_session_attrs", "krbsrvname", "gsslib"),
    )
)
"""The options of a URL that are for the driver."""

# A database or a role may have other defaults. A step that has waited for its lock must see what was committed since.
_SESSION = f"""
SET default_transaction_isolation = 'read committed';
SET default_transaction_deferrable = off;
SET statement_timeout = '{_ANSWERS:g}s';
SET lock_timeout = 0;
SET jit = off;
SET search_path = pg_catalog, pg_temp;
"""


class Said(OSError):
    """The server has answered a statement by an error.

    Attributes:
        code: its SQLSTATE.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Link:
    """One connection.

    Args:
        connection: asyncpg's.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def pid(self) -> int:
        """The process in the server that serves this connection."""
        number: int = self._connection.get_server_pid()
        return number

    @property
    def closed(self) -> bool:
        """True when nothing can be sent any more."""
        gone: bool = self._connection.is_closed()
        return gone

    async def rows(self, sql: str, *values: object) -> list[Sequence[Any]]:
        """Run a statement, and return its rows.

        Raises:
            Said: the server has answered by an error; nothing was changed.
            OSError: contact was lost; nobody knows what became of the statement.
        """
        found: list[Sequence[Any]] = await self._do(
            self._connection.fetch(sql, *values, timeout=_ANSWERS + 1)
        )
        return found

    async def run(self, script: str) -> None:
        """Run statements as one transaction.

        Raises:
            OSError: as `rows`.
        """
        await self._do(self._connection.execute(script, timeout=6 * _ANSWERS))

    async def hear(self, bells: Mapping[str, Callable[[int], None]]) -> None:
        """Call a function at each notification on a channel, with the process that has sent it.

        When the connection is lost, all functions are called with 0.

        Raises:
            OSError: as `rows`.
        """
        for channel, bell in bells.items():

            def ring(_: object, pid: int, *__: object, bell: Callable[[int], None] = bell) -> None:
                bell(pid)

            def ended(_: object, bell: Callable[[int], None] = bell) -> None:
                bell(0)

            await self._do(self._connection.add_listener(channel, ring))
            self._connection.add_termination_listener(ended)

    async def _do(self, work: Awaitable[Any]) -> Any:
        try:
            return await work
        except _driver.PostgresError as error:
            raise Said(error.sqlstate or "", _words(error)) from error
        except asyncio.CancelledError:
            self._connection.terminate()
            raise
        except (
            OSError,
            TimeoutError,
            _driver.InterfaceError,
            _driver.InternalClientError,
        ) as error:
            self._connection.terminate()
            raise ConnectionError(_words(error)) from error

    async def close(self) -> None:
        """Close the connection. Nothing is raised."""
        try:
            await self._connection.close(timeout=1.0)
        except asyncio.CancelledError:
            self._connection.terminate()
            raise
        except Exception:
            self._connection.terminate()


class Place:
    """The address of a database: where to connect, and as whom.

    Args:
        parts: a URL.
        options: those of its query that are for the driver.
    """

    def __init__(self, parts: SplitResult, options: dict[str, str]) -> None:
        known = {"target_session_attrs": "read-write", **options}
        self._url = urlunsplit(parts._replace(query=urlencode(known)))

    async def dial(self) -> Link:
        """Connect.

        Raises:
            OSError: no host of the URL can be reached, takes writes, and lets us in.
        """
        try:
            connection = await _driver.connect(
                self._url, timeout=_CONNECTS, server_settings={"application_name": "fastsse"}
            )
        except (
            OSError,
            TimeoutError,
            ValueError,
            _driver.PostgresError,
            _driver.InterfaceError,
        ) as error:
            raise ConnectionError(_words(error)) from None  # whose cause may hold the URL
        link = Link(connection)
        try:
            await link.run(_SESSION)
        except BaseException:
            await link.close()
            raise
        return link


class Pool:
    """Some links to one place, made when they are needed.

    Args:
        dial: makes a link.
        most: how many there are at once; further users wait.
    """

    def __init__(self, dial: Callable[[], Awaitable[Link]], most: int) -> None:
        self._dial = dial
        self._free: list[Link] = []
        self._places = asyncio.Semaphore(most)
        self._closed = False

    @contextlib.asynccontextmanager
    async def link(self) -> AsyncGenerator[Link, None]:
        """Lend a link.

        Raises:
            OSError: none can be made, or the pool is closed.
        """
        async with self._places:
            if self._closed:
                raise ConnectionError("the store is closed")
            link = self._free.pop() if self._free else await self._dial()
            try:
                yield link
            finally:
                if link.closed or self._closed:
                    await link.close()
                else:
                    self._free.append(link)

    async def close(self) -> None:
        """Close all links that are not lent, and the others when they come back."""
        self._closed = True
        while self._free:
            await self._free.pop().close()


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
