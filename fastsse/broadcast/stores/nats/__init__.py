"""A log in JetStream of NATS, which all processes with the same namespace share.

One stream holds the events of all topics, so that one order holds over them. The namespace ``fastsse`` has:

    stream fastsse          the log
      fastsse.one.<topic>   events with one topic; its name is percent-encoded
      fastsse.many          events with several topics
      fastsse.mark          where the log's name has changed
    stream fastsse_epoch    the ledger: one message, the log's name

Topics stand in the message in any case, so a subject is but an index: a page of one topic is read without those of the
others, and with the events that have several topics.

**Positions** are the sequences of the stream. Sequences are given without a gap. So a sequence that a consumer does not
send is gone, and that is reported as `lost`, exactly.

**Consumers** are made anew on each connection, at the next sequence, and their messages are counted. So nothing comes
twice, and nothing is passed over, when a server ends or another one takes over.

**Rollback.** A stream may be deleted and made anew, be restored from a backup, or come back without its last messages
after a loss of power. On each connection a process looks whether the stream was made when its name says, and whether it
still has the newest message that the process knows, or has trimmed that one. Otherwise the process writes another name
into the ledger, which JetStream takes from one process alone, and then a mark into the stream. Every process that comes
by the mark, or connects again, reports `renewed`. A name has a number, so an older ledger is noticed, too.

Nobody can tell a rollback when no process is left that knew the lost events. And a process that did not know them may
append, under the old name, until one that did connects: its readers, too, are told of the new name then.

**Appends.** All that wait together are published together, each with a `Nats-Msg-Id`. JetStream knows the ids of the
last ``keys`` seconds, 120 by default: an append that is sent again, and a publish with a key that is repeated, find the
sequence of the first. A batch is sent again for as long as somebody waits for it, five seconds, which is less.

**Durability** is the server's. An event is in its file when `append` returns, and survives a crash of the server. The
server syncs its disk every two minutes by default, so a machine that loses power may lose as much, of which all readers
are told; with ``sync_interval: always`` (2.10) nothing. In a cluster with ``replicas=3`` two machines have the event.

    link.py    connections and requests
    names.py   subjects, and the log's name
    ledger.py  the streams, and which log this is
    watch.py   what comes
    pages.py   what has been
    store.py   the store
    portable.py    copies
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastsse.broadcast.stores.nats.link import OPTIONS, DriverError, Place
from fastsse.broadcast.stores.nats.portable import PortableNatsStore
from fastsse.broadcast.stores.nats.store import KEY_SECONDS, NatsStore

if TYPE_CHECKING:
    from fastsse.broadcast.stores.opening import Address
    from fastsse.broadcast.stores.retention import Retention

__all__ = ["NatsStore", "from_url"]

_NAMESPACE = re.compile(r"[0-9A-Za-z_-]{1,32}", re.ASCII)


def from_url(address: Address, retention: Retention) -> NatsStore:
    """Make the store that a URL names: `docs/stores.md` has the forms.

    Raises:
        SettingError: the URL or the retention is one that JetStream cannot serve.
    """
    address.check_options(OPTIONS | {"namespace", "keys", "replicas", "storage"})
    namespace = address.options.get("namespace", "fastsse")
    if _NAMESPACE.fullmatch(namespace) is None:
        raise address.refuse("option namespace: must be 1 to 32 of the characters 0-9 A-Z a-z _ -")
    if retention.by_topic:
        raise address.refuse(
            "topics have bounds of their own, and one stream of JetStream has all topics"
        )
    options = {name: value for name, value in address.options.items() if name in OPTIONS}
    try:
        place = Place(address.parts, options)
    except DriverError as error:
        raise address.refuse(str(error)) from None
    return PortableNatsStore(
        place,
        namespace,
        retention.log,
        key_seconds=address.number("keys", KEY_SECONDS, 10, 86_400),
        replicas=address.number("replicas", 1, 1, 5),
        storage=address.choose("storage", ("file", "memory"), "file"),
    )
