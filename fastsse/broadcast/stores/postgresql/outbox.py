"""Publishing within an application's own transaction: delivered if and only if that transaction commits.

The event goes into the outbox, a table of the log, by the application's own connection. After the commit a process that
follows the log moves it into the log. So a transaction that takes its time holds up nobody, and its events have their
place after its commit.

The module knows the connections of psycopg, asyncpg and SQLAlchemy by the names of their classes. Of these libraries
only SQLAlchemy is imported, when one of its connections is given.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastsse import InvalidField, encode
from fastsse.broadcast.names import check_names
from fastsse.broadcast.stores import Draft, KeyReused
from fastsse.broadcast.stores._entries import write_entry
from fastsse.broadcast.stores.postgresql.schema import REUSED, Names

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "MAX_BLOCK",
    "MAX_EVENT_TYPE",
    "MAX_KEY",
    "MAX_RETRY",
    "MAX_TOPICS",
    "MAX_TOPIC_LENGTH",
    "Outbox",
]

# Bytes of an event as it is written; as much as the defaults of a hub let through.
MAX_BLOCK = 2**20 + 4096
MAX_TOPICS = 100  # topics of one event
MAX_TOPIC_LENGTH = 256  # bytes of UTF-8
MAX_KEY = 256  # bytes of UTF-8
MAX_EVENT_TYPE = 256  # bytes of UTF-8
MAX_RETRY = 86_400_000  # ms, a day
_RESERVED = frozenset(("gap", "end", "expired"))  # event types that only a hub publishes


class Outbox:
    """The part of a `PostgresStore` that publishes within other people's transactions. The store need not be open."""

    _names: Names

    async def publish_in(
        self,
        connection: Any,
        topics: str | Iterable[str],
        data: str | Buffer,
        *,
        event: str | None = None,
        retry: int | None = None,
        key: str | None = None,
    ) -> bool:
        """Put an event into the transaction of a connection: delivered if and only if that transaction commits.

        The event has its position after the commit, behind everything that was in the log then. Events of one
        transaction keep their order. A rollback, also to a savepoint, takes the event back. Without a transaction (a
        connection in autocommit mode) the event is committed at once.

        Args:
            connection: to the database of the log: an ``AsyncConnection`` of psycopg 3, a connection of asyncpg or of
                its pool, or an ``AsyncConnection`` or ``AsyncSession`` of SQLAlchemy over one of these.
            topics: one or more names, at most `MAX_TOPICS`, of at most `MAX_TOPIC_LENGTH` bytes.
            data: text or bytes-like UTF-8; the event as it is written may have `MAX_BLOCK` bytes.
            event: the event type, at most `MAX_EVENT_TYPE` bytes; ``gap``, ``end`` and ``expired`` are reserved.
            retry: reconnection time for its readers, milliseconds, at most `MAX_RETRY`.
            key: 1 to `MAX_KEY` bytes. While the store remembers the key, a second event with it is not published. While
                another transaction with this key is open, this call waits for the end of that one.

        Returns:
            False when the key was known, and nothing was put in.

        Raises:
            InvalidField: a value cannot be published; `KeyReused` where the key is another event's, after which the
                transaction can only be rolled back, as after every error of the database. A transaction of a stricter
                isolation than READ COMMITTED does not see a key that was used after it began; its event is then left
                out when the log takes it.
            TypeError: a connection that is of none of these classes.
            Exception: the driver's own, where the statement fails.
        """
        head, entry, name = _event(topics, data, event, retry, key)
        try:
            answer = _execute(connection, self._names, head, entry, name)
            if not inspect.isawaitable(answer):
                raise TypeError(_OTHER_METHOD.format("publish_in_sync", "waits for no loop"))
            return await _first(await answer)
        except Exception as error:
            raise _translate(error, key) from error

    def publish_in_sync(
        self,
        connection: Any,
        topics: str | Iterable[str],
        data: str | Buffer,
        *,
        event: str | None = None,
        retry: int | None = None,
        key: str | None = None,
    ) -> bool:
        """Put an event into the transaction of a connection, without an event loop.

        Arguments, answer and errors as `publish_in`; the connection is a ``Connection`` of psycopg 3, or a
        ``Connection`` or ``Session`` of SQLAlchemy over one.
        """
        head, entry, name = _event(topics, data, event, retry, key)
        try:
            answer = _execute(connection, self._names, head, entry, name)
            if inspect.isawaitable(answer):
                getattr(answer, "close", lambda: None)()
                raise TypeError(_OTHER_METHOD.format("publish_in", "has to be awaited"))
            row = answer.fetchone()
            return bool(row[0])
        except Exception as error:
            raise _translate(error, key) from error


_OTHER_METHOD = "call {} instead: this connection {}"


def _event(
    topics: str | Iterable[str],
    data: str | Buffer,
    event: str | None,
    retry: int | None,
    key: str | None,
) -> tuple[str, bytes, bytes | None]:
    """Check an event; return its topics, one in a line, the entry, and the key.

    Raises:
        InvalidField: a value cannot be published.
    """
    names = check_names(topics, MAX_TOPICS, MAX_TOPIC_LENGTH)
    if event in _RESERVED:
        raise InvalidField("event", event, "is reserved: only a hub publishes it")
    if event is not None and len(event.encode("utf-8", "surrogatepass")) > MAX_EVENT_TYPE:
        raise InvalidField("event", None, f"must be at most {MAX_EVENT_TYPE} bytes of UTF-8")
    if isinstance(retry, int) and not 0 <= retry <= MAX_RETRY:
        raise InvalidField("retry", retry, f"must be 0 to {MAX_RETRY} ms, a day")
    name = None if key is None else key.encode("utf-8", "surrogatepass")
    if name is not None and not 0 < len(name) <= MAX_KEY:
        raise InvalidField("key", key, f"must be 1 to {MAX_KEY} bytes of UTF-8")
    block = encode(data, event=event, retry=retry)
    if len(block) > MAX_BLOCK:
        raise InvalidField("data", None, f"must be at most {MAX_BLOCK} bytes as it is written")
    return "\n".join(names), write_entry(Draft(names, block)), name


def _execute(connection: Any, names: Names, head: str, entry: bytes, key: bytes | None) -> Any:
    """Begin the statement on a connection, in the manner of its library.

    Raises:
        TypeError: the library is not known.
    """
    call = f"SELECT {names.schema}.publish"
    libraries = {kind.__module__.partition(".")[0] for kind in type(connection).__mro__}
    if "psycopg" in libraries:
        return connection.execute(f"{call}(%s, %s, %s)", (head, entry, key))
    if "asyncpg" in libraries:
        return connection.fetchval(f"{call}($1, $2, $3)", head, entry, key)
    if "sqlalchemy" in libraries:
        from sqlalchemy import text

        values = {"head": head, "entry": entry, "key": key}
        return connection.execute(text(f"{call}(:head, :entry, :key)"), values)
    raise TypeError(
        f"a connection of psycopg 3, asyncpg or SQLAlchemy is needed, not {type(connection).__qualname__}"
    )


async def _first(answer: Any) -> bool:
    """Read the one value of an answer."""
    if hasattr(answer, "fetchone"):
        row = answer.fetchone()
        answer = (await row if inspect.isawaitable(row) else row)[0]
    return bool(answer)


def _translate(error: Exception, key: str | None) -> Exception:
    """Return the error that callers get: `KeyReused` in place of the database's word for it."""
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return KeyReused(key or "") if code == REUSED else error
