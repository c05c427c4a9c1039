"""The log's tables and functions, created or brought up to date when a process connects.

The module knows versions; what is created is the business of `schema.py`.
"""

from __future__ import annotations

import secrets
import time

from fastsse.broadcast.stores import StoreUnusable
from fastsse.broadcast.stores.postgresql.link import Link, Said
from fastsse.broadcast.stores.postgresql.schema import (
    FUNCTIONS,
    VERSION,
    Names,
    functions,
    tables,
)

__all__ = ["install"]

_OLDEST = 130_000  # the oldest server that is of use

_ABOUT = """
SELECT current_setting('server_encoding'), current_setting('server_version_num')::integer,
    to_regclass($1) IS NOT NULL
"""


async def install(link: Link, names: Names) -> None:
    """Create what is not there.

    Raises:
        StoreUnusable: the server is too old, its text is not UTF-8, the tables are those of a later release, or the
            role may not create them.
        OSError: contact was lost.
    """
    [(encoding, release, there)] = await link.rows(_ABOUT, f"{names.schema}.meta")
    if encoding != "UTF8":
        raise StoreUnusable(f"the database has the encoding {encoding}, and topics need UTF8")
    if release < _OLDEST:
        raise StoreUnusable("the server is older than PostgreSQL 13")
    sql = "SELECT version, functions FROM :schema:.meta"
    rows = await link.rows(names.write(sql)) if there else [(VERSION, 0)]
    if not rows:
        raise StoreUnusable(
            f"the table {names.schema}.meta is empty: restore it, or drop the schema"
        )
    version, known = rows[0]
    if version > VERSION:
        raise StoreUnusable(
            f"the log was written by a later release of fastsse (version {version} of its tables; this release knows "
            f"{VERSION}): use that release"
        )
    if known < FUNCTIONS:
        await _create(link, names)


async def _create(link: Link, names: Names) -> None:
    """Create tables where there are none, and then the functions, unless another process was first."""
    epoch = f"{int(time.time()):x}{secrets.token_hex(4)}"
    create = tables(names).replace("$epoch$", epoch)
    script = f"""
    BEGIN;
    SELECT pg_advisory_xact_lock({names.lock});
    DO $install$ BEGIN
        IF to_regnamespace('{names.schema}') IS NULL THEN
            CREATE SCHEMA {names.schema};
        END IF;
        IF to_regclass('{names.schema}.meta') IS NULL THEN
            {create}
        END IF;
    END $install$;
    {functions(names)}
    COMMIT;
    """
    try:
        await link.run(script)
    except Said as error:
        if error.code == "42501":
            raise StoreUnusable(
                f"the role may not create the schema {names.schema}: grant CREATE on the database, or let another role "
                "start fastsse once"
            ) from error
        raise
