"""A log in Redis 7 or Valkey, which all processes with the same namespace share.

One stream holds the events of all topics, so that one order holds over them. The keys of the namespace ``fastsse``:

    {fastsse}:stream         the log: of each entry n (its number, the bytes before it, its writer) and e, the event
    {fastsse}:log            the log's name, the number of its newest entry, and the mark at which the name began
    {fastsse}:writer:<name>  the last batch of a process and its ids, for an hour: a batch sent again is found here
    {fastsse}:key:<digest>   a publisher's key: the event's digest and id, for an hour, or as the URL says (``keys``)

**Positions.** Redis gives the ids, ``<milliseconds>-<n>``. The position is ``milliseconds << 18 | n``. A script moves
the milliseconds on before ``n`` runs out, so positions grow even while the server's clock stands or steps back.

**Loss** is known exactly. Entries are numbered without a gap. A process that misses a number asks which entry was the
last that the server has let go, and reports `lost` up to there.

**Rollback.** A server may come back with less than it had: a lagging replica took over, the last second of the
append-only file was not on disk, the disk is empty. At each connection a process shows the newest entry that it knows,
and the server must have this very entry, or have trimmed it. Otherwise a script gives the log another name, in one step
for all processes, and writes a mark into the stream. Every process that comes by the mark, or connects again, reports
`renewed`. Ids of the lost entries are not given again: ids after the mark are greater than the newest that was shown,
and a server that runs anew skips ten seconds of ids first.

Nobody can tell a rollback when no process is left that knew the lost entries. Their readers then come back with ids
that the log does not have, and are told of a gap.

**Appends** that wait together are one script, so they are in the log together or not at all. The script that appends an
event also remembers its key, so both are kept or lost together.

**Durability** is the server's. With ``appendonly yes`` an event survives a crash of the server. With ``appendfsync
always`` it is on disk before `append` returns. With ``everysec`` a machine that loses power may lose about a second, of
which all readers are told.

    link.py     connections, and whoever serves the log
    scripts.py  what runs inside the server
    entries.py  ids and fields
    archive.py  pages of the past
    store.py    the store
    portable.py copies
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastsse.broadcast.stores.redis.entries import key_of
from fastsse.broadcast.stores.redis.link import DriverError, Place
from fastsse.broadcast.stores.redis.portable import PortableRedisStore
from fastsse.broadcast.stores.redis.store import KEY_SECONDS, RedisStore

if TYPE_CHECKING:
    from fastsse.broadcast.stores.opening import Address
    from fastsse.broadcast.stores.retention import Retention

__all__ = ["RedisStore", "from_url"]

_NAMESPACE = re.compile(r"[0-9A-Za-z_.-]{1,64}", re.ASCII)


def from_url(address: Address, retention: Retention) -> RedisStore:
    """Make the store that a URL names: `docs/stores.md` has the forms.

    Raises:
        SettingError: the URL or the retention is one that Redis cannot serve.
    """
    options = dict(address.options)
    namespace = options.pop("namespace", "fastsse")
    if _NAMESPACE.fullmatch(namespace) is None:
        raise address.refuse(
            "option namespace: must be 1 to 64 of the characters 0-9 A-Z a-z _ . -"
        )
    if retention.by_topic:
        raise address.refuse(
            "topics have bounds of their own, and one stream of Redis has all topics"
        )
    seconds = address.number("keys", KEY_SECONDS, 1, 30 * 86_400)
    options.pop("keys", None)
    try:
        place = Place(address.parts, options, key_of(namespace, "stream"))
    except DriverError as error:
        raise address.refuse(str(error)) from None
    return PortableRedisStore(place, namespace, retention.log, key_seconds=seconds)
