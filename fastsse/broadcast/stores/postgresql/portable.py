"""Copies of a log in PostgreSQL: read it whole, put another log's entries in under their own positions.

A copy keeps positions, because a position is a number in a table. The function that puts entries in is created when a
copy begins, by a role that may create functions in the schema: no hub needs it.

The module knows SQL and entries; it must not know what is followed or published.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastsse.broadcast.stores import Draft, Entry, Log, Page, StorageFull, StoreState, StoreUnusable
from fastsse.broadcast.stores._copies import CopiedStore, check_extent, in_order, no_log, not_new
from fastsse.broadcast.stores._entries import write_entry
from fastsse.broadcast.stores.postgresql.link import Link, Said
from fastsse.broadcast.stores.postgresql.schema import LAST
from fastsse.broadcast.stores.postgresql.store import FULL, ROWS, PostgresStore

__all__ = ["PortablePostgresStore"]

_NOT_NEW = "FS003"  # SQLSTATE: the log has, or had, entries of its own
_NO_RIGHT = "42501"

_THERE = "SELECT to_regclass($1) IS NOT NULL"

_EXTENT = """
SELECT m.epoch, m.floor, l.position, l.serial - m.serial, l.bytes - m.bytes FROM :schema:.meta m
LEFT JOIN LATERAL (SELECT * FROM :schema:.log ORDER BY position DESC LIMIT 1) l ON true
"""

# Statements of one call are one transaction, and each sees what was committed before it: the lock comes first.
_ADOPT = f"""
SELECT pg_advisory_xact_lock(:lock:);
DO $adopt$ BEGIN
    IF EXISTS (SELECT FROM :schema:.log) OR EXISTS (SELECT FROM :schema:.outbox)
        OR (SELECT floor > 0 OR serial > 0 FROM :schema:.meta) OR (SELECT is_called FROM :schema:.position) THEN
        RAISE EXCEPTION 'the log is not new' USING ERRCODE = '{_NOT_NEW}';
    END IF;
    UPDATE :schema:.meta SET epoch = '$epoch$', generation = generation + 1, mark = $floor$, floor = $floor$;
    IF $head$ > 0 THEN
        PERFORM setval(':schema:.position', $head$);
    END IF;
    PERFORM pg_notify(':bell:', '');
END $adopt$;
CREATE OR REPLACE FUNCTION :schema:.put_copy(log text, positions bigint[], heads text[], entries bytea[])
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE head bigint; last record;
BEGIN
    PERFORM pg_advisory_xact_lock(:lock:);
    IF NOT EXISTS (SELECT FROM :schema:.meta m WHERE m.epoch = log) THEN
        RAISE EXCEPTION 'the log is another one now' USING ERRCODE = '{_NOT_NEW}';
    END IF;
    SELECT greatest(m.floor, (SELECT max(l.position) FROM :schema:.log l)) INTO head FROM :schema:.meta m;
    IF positions[1] <= head THEN
        RETURN head;
    END IF;
{LAST}    INSERT INTO :schema:.log (position, at, serial, bytes, topic, entry)
        SELECT n.position, clock_timestamp(), last.serial + n.place,
            last.bytes + sum(octet_length(n.entry)) OVER (ORDER BY n.place ROWS UNBOUNDED PRECEDING),
            split_part(n.head, E'\\n', 1), n.entry
        FROM unnest(positions, heads, entries) WITH ORDINALITY n(position, head, entry, place);
    INSERT INTO :schema:.further (topic, position)
        SELECT t.topic, n.position FROM unnest(positions, heads) n(position, head)
        CROSS JOIN LATERAL unnest((string_to_array(n.head, E'\\n'))[2:]) t(topic);
    IF (SELECT last_value FROM :schema:.position) < positions[cardinality(positions)] THEN
        PERFORM setval(':schema:.position', positions[cardinality(positions)]);
    END IF;
    PERFORM pg_notify(':bell:', '');
    RETURN 0;
END $$;
"""

_PUT = "SELECT :schema:.put_copy($1, $2, $3, $4)"


class PortablePostgresStore(CopiedStore[Link], PostgresStore):
    """A log in one schema of a database that can be copied out and in. Arguments as those of `PostgresStore`."""

    async def open_to_read(self) -> Log:
        """Read the extent. As `Portable.open_to_read`: nothing is created, and a right to read is enough."""
        await self.close()
        self._copying = link = await self._place.dial()
        schema = self._names.schema
        [(there,)] = await link.rows(_THERE, f"{schema}.meta")
        rows = await self._told(link, _EXTENT) if there else []
        if not rows:
            raise no_log(schema.strip('"'))
        [(epoch, floor, head, count, size)] = rows
        self._glance = StoreState(self.engine, entries=count or 0, size=size or 0)
        return Log(epoch, floor, floor if head is None else head)

    async def open_to_change(self) -> Log:
        """Make the log ready. As `Portable.open_to_change`."""
        log = await self.open()
        self._copying = await self._dial()
        return log

    async def scan(self, after: int, limit: int) -> Page:
        """Read a page of all topics. As `Portable.scan`."""
        rows = await self._told(self._require(), self._sql.take, after, ROWS, limit)
        if not rows:
            raise OSError("the log's table says nothing")
        epoch, floor, *_ = rows[0]
        found: list[Entry] = []
        end = max(after, floor)
        for _, _, position, _, entry, _ in rows:
            if position is None:
                continue
            end = position
            if (one := self._decode(position, entry)) is not None:
                found.append(one)
        return Page(found, end, floor, epoch)

    async def adopt(self, log: Log) -> None:
        """Take over another log's epoch and floor. As `Portable.adopt`."""
        check_extent(log)
        text = self._names.write(_ADOPT).replace("$epoch$", log.epoch)
        text = text.replace("$floor$", f"{log.floor:d}").replace("$head$", f"{log.head:d}")
        try:
            await self._require().run(text)
        except Said as error:
            raise self._explain(error) from error
        self._epoch = log.epoch

    async def put(self, entries: Iterable[Entry]) -> None:
        """Put in entries under their own positions. As `Portable.put`; their age begins now."""
        many = in_order(entries)
        if not many:
            return
        positions = [entry.position for entry in many]
        heads = ["\n".join(entry.topics) for entry in many]
        texts = [write_entry(Draft(entry.topics, entry.block)) for entry in many]
        [(head,)] = await self._told(self._require(), _PUT, self._epoch, positions, heads, texts)
        if head:
            raise OSError(f"position {positions[0]} does not follow {head}")

    async def complete(self) -> None:
        """End a copy. As `Portable.complete`: `adopt` has noted the head."""

    async def _told(self, link: Link, sql: str, *values: object) -> list[Any]:
        """Run a statement; an error of the server says what can be done."""
        try:
            return await link.rows(self._names.write(sql), *values)
        except Said as error:
            raise self._explain(error) from error

    def _explain(self, error: Said) -> OSError:
        schema = self._names.schema.strip('"')
        if error.code == _NOT_NEW:
            return not_new(schema)
        if error.code == _NO_RIGHT:
            return StoreUnusable(f"the role may not do that in the schema {schema}: {error}")
        if error.code in FULL:
            return StorageFull(f"the server has no room: {error}")
        return error
