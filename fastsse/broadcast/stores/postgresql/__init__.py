"""A log in PostgreSQL, which all processes with the same namespace share, and into which transactions publish.

The namespace is a schema of the database: ``fastsse``, or as the URL says (``namespace``).

**Positions.** A sequence alone would not do: numbers are given before they are committed, so a reader could pass over a
number whose transaction commits late. Here positions are given under an advisory lock, as the last thing of a
transaction that is one statement long. The server lets the lock go after the commit is visible to everybody. So whoever
sees a position sees every smaller one, and reads on after the last that it has seen. Other ways were left out: to read
only below the oldest running transaction makes one long transaction, of any database on the server, hold up every
reader; a row that holds the number dies with each event, and a long transaction keeps all the dead.

**Transactions of applications** may be long, so they take no lock. `PostgresStore.publish_in` writes into an outbox,
which is a part of the application's transaction. After the commit a process that follows the log moves the event into
the log, and every append moves first what is there. So an event has its place after its commit, and what was
published after that commit comes later.

**Bells.** ``NOTIFY`` only says that there is something, with no payload. A process that hears nothing looks by itself
every two seconds, so a lost bell costs time and no event.

**Appends** that wait together are one statement, so they are in the log together or not at all. The statement also
remembers the keys, and the name of the batch: a batch that is sent again, because its connection died, is found.

**Rollback.** A server may come back with less than it had: a backup was restored, a lagging replica took over, commits
were not synchronous. At each connection, and every two seconds, a process shows the newest entry that it knows, and the
server must have this very entry or have trimmed it. Otherwise the log gets another name, in one step for all processes,
and each reports `renewed`. A server that was started anew, and a table that was restored, go on at the present
microsecond, so no position is given twice, even where nobody is left that knew the lost ones.

**Durability** is the server's: an event is on disk before `append` returns, unless ``synchronous_commit`` is off.

The driver is asyncpg: with an event at a time it takes half of the processor time that psycopg takes, and it needs no
libpq. `publish_in` takes the connections of both.

    link.py     connections
    schema.py   tables, and what runs inside the server
    install.py  tables and functions, created or brought up to date
    outbox.py   publishing within other people's transactions
    store.py    the store
    portable.py copies
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastsse.broadcast.stores.postgresql.link import OPTIONS, Place
from fastsse.broadcast.stores.postgresql.portable import PortablePostgresStore
from fastsse.broadcast.stores.postgresql.schema import Names
from fastsse.broadcast.stores.postgresql.store import KEY_SECONDS, PostgresStore

if TYPE_CHECKING:
    from fastsse.broadcast.stores.opening import Address
    from fastsse.broadcast.stores.retention import Retention

__all__ = ["PostgresStore", "from_url"]

_NAMESPACE = re.compile(r"[a-z_][a-z0-9_]{0,47}", re.ASCII)


def from_url(address: Address, retention: Retention) -> PostgresStore:
    """Make the store that a URL names: `docs/stores.md` has the forms.

    Raises:
        SettingError: the URL or the retention is one that PostgreSQL cannot serve.
    """
    address.check_options(OPTIONS | {"namespace", "keys"})
    options = dict(address.options)
    namespace = options.pop("namespace", "fastsse")
    if _NAMESPACE.fullmatch(namespace) is None or namespace.startswith("pg_"):
        raise address.refuse(
            "option namespace: must be 1 to 48 of the characters a-z 0-9 _, begin with no digit and not with pg_"
        )
    if retention.by_topic:
        raise address.refuse(
            "bounds of single topics (retain_… in a table of topics) cannot be kept by PostgreSQL"
        )
    seconds = address.number("keys", KEY_SECONDS, 1, 30 * 86_400)
    options.pop("keys", None)
    place = Place(address.parts, options)
    return PortablePostgresStore(place, Names(namespace), retention.log, key_seconds=seconds)
