"""The tables that a store creates in the database, and the functions that run there as one step.

    meta      one row: versions, the log's name, the mark at which the name began, what is gone
    position  the number of the newest entry
    log       the entries; `serial` counts them, `bytes` adds them up
    further   the second topic of an entry, and all after it
    keys      keys of publishes and of batches, for a while
    outbox    events of applications' own transactions, on their way to the log

A process calls `append`, `move`, `arrive` and `trim`; an application's transaction calls `publish`. The functions `put`
and `take_outbox` are parts of these.

Positions are given under one advisory lock, which a transaction keeps until its end is visible to everybody. A sequence
holds the newest position, because a row that changes with every event would leave a dead version each time, and a long
transaction anywhere keeps all of those.

The module writes SQL, and must not know connections, or what answers mean.
"""

from __future__ import annotations

from hashlib import blake2b

__all__ = ["FUNCTIONS", "LAST", "OTHER_LOG", "REUSED", "VERSION", "Names", "functions", "tables"]

VERSION = 1  # of the tables; a release refuses those of a later one
FUNCTIONS = 3  # of the functions; a release replaces those of an earlier one
OTHER_LOG = "FS001"  # SQLSTATE: another log has taken the place of the caller's
REUSED = "FS002"  # SQLSTATE: the key belongs to another event


class Names:
    """The names of one log in its database.

    Args:
        namespace: the schema: letters, digits and ``_``, which need no quotes but for letter case.

    Attributes:
        schema: quoted, for SQL.
        bell, outbox_bell: the channels of ``NOTIFY``.
        lock: the number of the advisory lock under which positions are given.
        chore: the number of the one under which entries are let go.
    """

    def __init__(self, namespace: str) -> None:
        self.schema = f'"{namespace}"'
        self.bell = f"{namespace}_log"
        self.outbox_bell = f"{namespace}_outbox"
        digest = blake2b(b"fastsse " + namespace.encode(), digest_size=8).digest()
        self.lock = int.from_bytes(digest, "big", signed=True) & ~1
        self.chore = self.lock | 1

    def write(self, sql: str) -> str:
        """Put the names into SQL, in place of ``:schema:``, ``:bell:``, ``:outbox_bell:``, ``:lock:``, ``:chore:``."""
        for name, value in vars(self).items():
            sql = sql.replace(f":{name}:", str(value))
        return sql


def tables(names: Names) -> str:
    """Write the statements that create what a log needs; ``$epoch$`` stands for its name."""
    return names.write(_TABLES)


def functions(names: Names) -> str:
    """Write the statements that create or replace the functions, and note their version."""
    return names.write(_PUT + _APPEND + _OUTBOX + _ARRIVE + _TRIM + _NOTE)


_TABLES = f"""
CREATE TABLE :schema:.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL, functions integer NOT NULL,
    epoch text NOT NULL, generation integer NOT NULL, mark bigint NOT NULL, run text NOT NULL,
    floor bigint NOT NULL, serial bigint NOT NULL, bytes bigint NOT NULL);
CREATE SEQUENCE :schema:.position;
CREATE TABLE :schema:.log (
    position bigint PRIMARY KEY, at timestamptz NOT NULL, serial bigint NOT NULL, bytes bigint NOT NULL,
    topic text COLLATE "C" NOT NULL, entry bytea NOT NULL);
CREATE INDEX ON :schema:.log (topic, position);
CREATE TABLE :schema:.further (
    topic text COLLATE "C" NOT NULL, position bigint NOT NULL, PRIMARY KEY (topic, position));
CREATE INDEX ON :schema:.further (position);
CREATE TABLE :schema:.keys (
    key bytea PRIMARY KEY, until timestamptz NOT NULL, digest bytea NOT NULL, positions bigint[] NOT NULL
    ) WITH (toast_tuple_target = 8160);
CREATE INDEX ON :schema:.keys (until);
CREATE TABLE :schema:.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, head text NOT NULL, entry bytea NOT NULL, key bytea UNIQUE);
INSERT INTO :schema:.meta VALUES (true, {VERSION}, 0, '$epoch$', 1, 0, '', 0, 0, 0);
"""

_NOTE = f"""
UPDATE :schema:.meta SET functions = {FUNCTIONS};
"""

LAST = """\
    SELECT l.serial, l.bytes INTO last FROM :schema:.log l ORDER BY l.position DESC LIMIT 1;
    IF NOT FOUND THEN
        SELECT m.serial, m.bytes INTO last FROM :schema:.meta m;
    END IF;
"""
"""Sets `last` to the serial and the bytes of the newest entry; of a log without entries, to those of what is gone."""

# put: append events under the lock, and return their positions: -1 where a key is another event's, 0 where the entry is
# null because nobody waits for it any more, -2 where an event of the same group before it has failed. A head is the
# topics of an event, one in a line. A key begins with k, or with f where the event follows another one of its group.
_PUT = f"""
CREATE OR REPLACE FUNCTION :schema:.put(heads text[], entries bytea[], keys bytea[], seconds float8, stamp timestamptz)
RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    base bigint; last record; known record;
    fresh_heads text[] := '{{}}'; fresh bytea[] := '{{}}'; result bigint[] := '{{}}';
    count integer := 0; digest bytea; name bytea; failed boolean := false;
BEGIN
    SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END INTO base FROM :schema:.position;
    IF keys IS NULL THEN
        fresh_heads := heads; fresh := entries; count := cardinality(entries);
        SELECT array_agg(n) INTO result FROM generate_series(base, base + count - 1) n;
    ELSE
        FOR i IN 1 .. cardinality(entries) LOOP
            name := keys[i];
            failed := failed AND coalesce(get_byte(name, 0) = 102, false);
            IF failed THEN
                result := result || -2::bigint;
                CONTINUE;
            END IF;
            IF name IS NOT NULL THEN
                name := 'k'::bytea || substr(name, 2);
                digest := sha256(coalesce(entries[i], ''));
                SELECT k.digest, k.positions[1] AS position INTO known FROM :schema:.keys k WHERE k.key = name;
                IF FOUND THEN
                    failed := entries[i] IS NULL OR known.digest <> digest;
                    result := result || CASE
                        WHEN entries[i] IS NULL THEN 0 WHEN failed THEN -1 ELSE known.position END;
                    CONTINUE;
                END IF;
            END IF;
            IF entries[i] IS NULL THEN
                failed := true;
                result := result || 0::bigint;
                CONTINUE;
            END IF;
            IF name IS NOT NULL THEN
                INSERT INTO :schema:.keys VALUES
                    (name, stamp + seconds * interval '1 second', digest, ARRAY[base + count]);
            END IF;
            result := result || base + count;
            count := count + 1;
            fresh_heads := array_append(fresh_heads, heads[i]);
            fresh := array_append(fresh, entries[i]);
        END LOOP;
    END IF;
    IF count = 0 THEN
        RETURN result;
    END IF;
{LAST}    INSERT INTO :schema:.log (position, at, serial, bytes, topic, entry)
        SELECT base + n.place - 1, stamp, last.serial + n.place,
            last.bytes + sum(octet_length(n.entry)) OVER (ORDER BY n.place ROWS UNBOUNDED PRECEDING),
            split_part(n.head, E'\\n', 1), n.entry
        FROM unnest(fresh_heads, fresh) WITH ORDINALITY n(head, entry, place);
    IF strpos(array_to_string(fresh_heads, ''), E'\\n') > 0 THEN
        INSERT INTO :schema:.further (topic, position)
            SELECT t.topic, base + n.place - 1
            FROM unnest(fresh_heads) WITH ORDINALITY n(head, place)
            CROSS JOIN LATERAL unnest((string_to_array(n.head, E'\\n'))[2:]) t(topic);
    END IF;
    PERFORM setval(':schema:.position', base + count - 1);
    PERFORM pg_notify(':bell:', '');
    RETURN result;
END $$;
"""

# append: append a batch once, however often it is sent. Events of the outbox go first, so one that was committed before
# an append began has the smaller position.
_APPEND = f"""
CREATE OR REPLACE FUNCTION :schema:.append(
    log text, batch bytea, heads text[], entries bytea[], keys bytea[], seconds float8,
    OUT positions bigint[], OUT stamp timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(:lock:);
    IF NOT EXISTS (SELECT FROM :schema:.meta m WHERE m.epoch = log) THEN
        RAISE EXCEPTION 'the log is another one now' USING ERRCODE = '{OTHER_LOG}';
    END IF;
    SELECT k.positions INTO positions FROM :schema:.keys k WHERE k.key = batch;
    IF FOUND THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM :schema:.outbox) THEN
        PERFORM :schema:.take_outbox(seconds);
    END IF;
    stamp := clock_timestamp();
    positions := :schema:.put(heads, entries, keys, seconds, stamp);
    INSERT INTO :schema:.keys VALUES (batch, stamp + interval '5 minutes', '', positions);
END $$;
"""

# publish: put an event into the outbox, within the transaction of the caller, who needs no right but that to call it.
# take_outbox, move: give positions to what has been committed there.
_OUTBOX = f"""
CREATE OR REPLACE FUNCTION :schema:.publish(head text, entry bytea, key bytea DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE known bytea; number bigint; name bytea := 'k'::bytea || key;
BEGIN
    SELECT k.digest INTO known FROM :schema:.keys k WHERE k.key = name;
    IF known IS NULL THEN
        INSERT INTO :schema:.outbox (head, entry, key) VALUES (publish.head, publish.entry, name)
            ON CONFLICT DO NOTHING RETURNING id INTO number;
        IF number IS NULL THEN
            SELECT sha256(o.entry) INTO known FROM :schema:.outbox o WHERE o.key = name;
        END IF;
        IF known IS NULL THEN -- an event with this key may have been moved just now
            SELECT k.digest INTO known FROM :schema:.keys k WHERE k.key = name;
        END IF;
        IF known IS NULL AND number IS NOT NULL THEN
            PERFORM pg_notify(':outbox_bell:', '');
            RETURN true;
        END IF;
        DELETE FROM :schema:.outbox o WHERE o.id = number;
    END IF;
    IF known <> sha256(entry) THEN
        RAISE EXCEPTION 'the key of this event was used for another event' USING ERRCODE = '{REUSED}';
    END IF;
    RETURN false;
END $$;

CREATE OR REPLACE FUNCTION :schema:.take_outbox(seconds float8) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE heads text[]; entries bytea[]; keys bytea[];
BEGIN
    WITH gone AS (
        DELETE FROM :schema:.outbox WHERE id IN (
            SELECT o.id FROM (
                SELECT f.id, sum(octet_length(f.entry)) OVER (ORDER BY f.id) - octet_length(f.entry) AS before
                FROM (SELECT * FROM :schema:.outbox ORDER BY id LIMIT 500) f) o
            WHERE o.before < 4194304)
        RETURNING *)
    SELECT array_agg(g.head ORDER BY g.id), array_agg(g.entry ORDER BY g.id), array_agg(g.key ORDER BY g.id)
        INTO heads, entries, keys FROM gone g;
    IF heads IS NULL THEN
        RETURN 0;
    END IF;
    IF cardinality(array_remove(keys, NULL)) = 0 THEN
        keys := NULL;
    END IF;
    PERFORM :schema:.put(heads, entries, keys, seconds, clock_timestamp());
    RETURN cardinality(heads);
END $$;

CREATE OR REPLACE FUNCTION :schema:.move(seconds float8) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM :schema:.outbox) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(:lock:);
    RETURN :schema:.take_outbox(seconds);
END $$;
"""

# arrive: tell where the log stands. When the server was started anew, or the table was, positions go on at the present
# microsecond: none is given again that was lost. When the newest entry that the caller knows is neither there nor
# trimmed, or the caller knows a later log, then this one is from a past, and gets another name.
_ARRIVE = """
CREATE OR REPLACE FUNCTION :schema:.arrive(
    log text, nth integer, seen bigint, stamp timestamptz, other text,
    OUT epoch text, OUT generation integer, OUT mark bigint, OUT floor bigint, OUT head bigint) LANGUAGE plpgsql AS $$
DECLARE
    present text := concat(pg_postmaster_start_time(), ' ', pg_relation_filenode(':schema:.log'));
    now_us bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    known text; last record;
BEGIN
    PERFORM pg_advisory_xact_lock(:lock:);
    SELECT m.epoch, m.generation, m.mark, m.floor, m.run INTO epoch, generation, mark, floor, known
        FROM :schema:.meta m;
    SELECT coalesce(max(l.position), floor) INTO head FROM :schema:.log l;
    SELECT last_value, is_called INTO last FROM :schema:.position;
    IF known <> present THEN
        IF last.is_called THEN
            PERFORM setval(':schema:.position', greatest(last.last_value + 1000000, now_us));
        END IF;
        UPDATE :schema:.meta SET run = present;
    END IF;
    IF nth > generation OR log = epoch AND seen > floor AND NOT EXISTS (
        SELECT FROM :schema:.log l WHERE l.position = seen AND (stamp IS NULL OR l.at = stamp)) THEN
        PERFORM setval(':schema:.position', greatest(last.last_value + 1000000, seen, now_us));
        epoch := other; generation := greatest(nth, generation) + 1; mark := head;
        UPDATE :schema:.meta m SET epoch = other, generation = arrive.generation, mark = head;
        PERFORM pg_notify(':bell:', '');
    END IF;
END $$;
"""

# trim: let the oldest entries go, at most so many; forget keys. Returns how many entries went.
_TRIM = """
CREATE OR REPLACE FUNCTION :schema:.trim(events bigint, size bigint, seconds float8, most integer)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    present timestamptz := clock_timestamp();
    newest record; before bigint; gone record; count integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(:chore:) THEN
        RETURN 0;
    END IF;
    DELETE FROM :schema:.keys WHERE key IN (
        SELECT k.key FROM :schema:.keys k WHERE k.until < present ORDER BY k.until LIMIT most);
    SELECT m.floor INTO before FROM :schema:.meta m;
    SELECT l.serial, l.bytes INTO newest FROM :schema:.log l ORDER BY l.position DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT o.position, o.serial, o.bytes INTO gone FROM (
        SELECT * FROM :schema:.log l WHERE l.position > before ORDER BY l.position LIMIT most) o
    WHERE (events > 0 AND o.serial <= newest.serial - events)
        OR (size > 0 AND newest.bytes - o.bytes + octet_length(o.entry) > size)
        OR (seconds > 0 AND o.at < present - seconds * interval '1 second')
    ORDER BY o.position DESC LIMIT 1;
    IF FOUND THEN
        UPDATE :schema:.meta SET floor = gone.position, serial = gone.serial, bytes = gone.bytes;
        DELETE FROM :schema:.further WHERE position <= gone.position;
        DELETE FROM :schema:.log WHERE position <= gone.position;
        GET DIAGNOSTICS count = ROW_COUNT;
    END IF;
    RETURN count;
END $$;
"""
