"""The statements of a store, with the names of one log.

The module writes SQL, and must not know connections, or what answers mean. Functions that run inside the server are in
`schema.py`.
"""

from __future__ import annotations

from fastsse.broadcast.stores.postgresql.schema import Names

__all__ = ["Statements"]

# The entries after a position, with the log that they are of, as they are at one moment.
_TAKE = """
SELECT m.epoch, m.floor, l.position, l.at, l.entry, l.upto >= $3 AS full FROM :schema:.meta m LEFT JOIN LATERAL (
    SELECT * FROM (
        SELECT n.*, sum(octet_length(n.entry)) OVER (ORDER BY n.position) AS upto FROM (
            SELECT position, at, entry FROM :schema:.log WHERE position > $1 ORDER BY position LIMIT $2) n) o
    WHERE upto - octet_length(entry) < $3) l ON true
ORDER BY l.position
"""
# A page of some topics. An entry's size is that of its block: without version, topic and line ends.
_READ = """
SELECT m.epoch, m.floor, l.position, l.entry, l.upto >= $4 AS full FROM :schema:.meta m LEFT JOIN LATERAL (
    SELECT * FROM (
        SELECT n.*, sum(n.size) OVER (ORDER BY n.position) AS upto FROM (
            SELECT g.position, g.entry, octet_length(g.entry) - octet_length(g.topic) - 4 AS size FROM (
                SELECT f.position FROM unnest($1::text[]) t(topic) CROSS JOIN LATERAL (
                    (SELECT e.position FROM :schema:.log e
                        WHERE e.topic = t.topic AND e.position > $2 AND e.position < $3 ORDER BY e.position LIMIT $5)
                    UNION ALL
                    (SELECT e.position FROM :schema:.further e
                        WHERE e.topic = t.topic AND e.position > $2 AND e.position < $3 ORDER BY e.position LIMIT $5)) f
                GROUP BY f.position ORDER BY f.position LIMIT $5) p
            JOIN :schema:.log g USING (position)) n) o
    WHERE upto - size < $4) l ON true
ORDER BY l.position
"""


class Statements:
    """The statements of one log; ``$1`` and so on stand for values.

    Args:
        names: the names of the log in its database.

    Attributes:
        take: the entries after a position ($1): so many ($2), and so many bytes ($3) and one entry.
        read: a page of topics ($1) after ($2) and before ($3) positions: so many bytes of blocks ($4), entries ($5).
        tail: the position before the newest entries, of which there are so many ($1).
        begin: position before the first entry that is reported: none from before the log had its name, because
            readers may have had them under other ids.
        arrive, append, move, trim: calls of the functions.
    """

    def __init__(self, names: Names) -> None:
        write = names.write
        self.take = write(_TAKE)
        self.read = write(_READ)
        self.tail = write(
            "SELECT position, at FROM :schema:.log ORDER BY position DESC OFFSET $1 LIMIT 1"
        )
        self.begin = write("SELECT greatest(floor, mark) FROM :schema:.meta")
        self.arrive = write("SELECT * FROM :schema:.arrive($1, $2, $3, $4, $5)")
        self.append = write("SELECT * FROM :schema:.append($1, $2, $3, $4, $5, $6)")
        self.move = write("SELECT :schema:.move($1)")
        self.trim = write("SELECT :schema:.trim($1, $2, $3, $4)")
