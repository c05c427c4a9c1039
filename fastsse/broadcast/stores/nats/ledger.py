"""The identity of a log: its stream as it should be, and the name of its numbering that all processes agree on.

A small stream, the ledger, holds one message: the log's `Name`. JetStream replaces it only for a writer that has seen
the present one. So of several processes that want another name one succeeds, and the others take that name.

The module knows streams and names; it must not know followers or events.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastsse.broadcast.stores import StorageFull, StoreUnusable
from fastsse.broadcast.stores.nats.link import Link, Said
from fastsse.broadcast.stores.nats.names import ID, Name, Names

__all__ = ["NO_ROOM", "Extent", "Found", "Known", "Ledger", "message"]

NO_STREAM = 10059
NO_MESSAGE = 10037
NO_ROOM = frozenset((10023, 10047, 10077, 10028, 10016))  # of the server, the account or the stream
_NAME_IN_USE = 10058
_WRONG_LAST = frozenset((10071, 10070, 10164))
_ATTEMPTS = 20


class Known(NamedTuple):
    """The newest message of the log that a process knows.

    Attributes:
        position: its sequence; 0: it knows none.
        id: its identity; None: not known.
    """

    position: int = 0
    id: str | None = None


class Extent(NamedTuple):
    """The extent of the stream of events at one moment.

    Attributes:
        created: when the stream was made.
        floor: the last sequence that is gone.
        head: the newest sequence.
        entries: how many messages there are.
        size: the bytes that they take.
    """

    created: str
    floor: int
    head: int
    entries: int
    size: int


class Ledger:
    """The streams of one log.

    Args:
        names: what they are called.
        wanted: the configuration of the stream of events: what it keeps, and how.

    Attributes:
        wanted: as given.
        bounding: give a stream that is there already the wanted bounds. Otherwise it goes on by its own.
    """

    def __init__(self, names: Names, wanted: Mapping[str, Any]) -> None:
        self.wanted = wanted
        self.bounding = True
        self._names = names
        self._wanted = {**wanted, "name": names.stream, "subjects": names.subjects}

    async def find(self, link: Link, mine: Name | None, known: Known) -> tuple[Name, Extent]:
        """Return the present name of the log, and its extent; give it another name where it is not the log that it was.

        Args:
            mine: the name that this process goes by; None at the start.
            known: the newest message of that log.

        Raises:
            OSError: the log cannot be reached.
        """
        for _ in range(_ATTEMPTS):
            extent = await self._prepare(link)
            version, name = await self._present(link)
            if name is None:
                start = extent.head
            elif name.created != extent.created:
                start = 0
            elif mine is not None and await self._is_back(link, extent, name, mine, known):
                start = extent.head
            else:
                return name, extent
            generation = max(one.generation if one else 0 for one in (mine, name))
            other = Name.after(generation, extent.created, start)
            if await self._replace(link, version, other):
                return other, extent
        raise ConnectionError("too many processes name the log at once")

    async def extent(self, link: Link) -> Extent:
        """Ask for the extent of the stream of events.

        Raises:
            OSError: the stream cannot be reached, or is not there.
        """
        return _extent(await link.ask(f"STREAM.INFO.{self._names.stream}"))

    async def look(self, link: Link) -> tuple[Name, Extent] | None:
        """Read the present name of the log and its extent, and make nothing; None where there is no log.

        Raises:
            OSError: the log cannot be reached.
        """
        try:
            extent = await self.extent(link)
            info = await link.ask(f"STREAM.INFO.{self._names.ledger}")
        except Said as error:
            if error.code == NO_STREAM:
                return None
            raise
        name = None
        if info["state"]["messages"]:
            _, name = await self._present(link)
        return None if name is None else (name, extent)

    async def rename(self, link: Link, epoch: str, start: int) -> Name | None:
        """Give the log a name that is chosen, as the one that follows; None when another process was quicker.

        Raises:
            OSError: the log cannot be reached.
        """
        extent = await self.extent(link)
        version, name = await self._present(link)
        generation = name.generation if name else 0
        other = Name(epoch, generation + 1, extent.created, start)
        return other if await self._replace(link, version, other) else None

    async def _prepare(self, link: Link) -> Extent:
        """Make the stream of events as it should be, and return its extent.

        Raises:
            StoreUnusable: the stream is somebody else's, or cannot be made so.
            OSError: the stream cannot be reached.
        """
        try:
            info = await link.ask(f"STREAM.INFO.{self._names.stream}")
        except Said as error:
            if error.code != NO_STREAM:
                raise
            await self._make(link, self._wanted)
            # Of two makers one has made it.
            info = await link.ask(f"STREAM.INFO.{self._names.stream}")
        config = info["config"]
        if sorted(config.get("subjects") or ()) != sorted(self._names.subjects):
            raise StoreUnusable(
                f"the stream {self._names.stream} is not one of fastsse: take another namespace"
            )
        bounds = {key: self._wanted[key] for key in _BOUNDS}
        if self.bounding and any(config.get(key) != value for key, value in bounds.items()):
            try:
                info = await link.ask(f"STREAM.UPDATE.{self._names.stream}", {**config, **bounds})
            except Said as error:
                raise _refused(error) from error
        return _extent(info)

    async def _make(self, link: Link, config: Mapping[str, Any]) -> dict[str, Any]:
        """Make a stream. Another process may make the same stream at the same time."""
        try:
            return await link.ask(f"STREAM.CREATE.{config['name']}", config)
        except Said as error:
            if error.code == _NAME_IN_USE:
                return await link.ask(f"STREAM.INFO.{config['name']}")
            raise _refused(error) from error

    async def _present(self, link: Link) -> tuple[int, Name | None]:
        """Read the ledger: the sequence of its message, and the name; 0 and None where there is none.

        A server 2.9 that is asked for a message of a stream which is being made crashes. So it is asked only when there
        is a message.
        """
        ledger = self._names.ledger
        try:
            info = await link.ask(f"STREAM.INFO.{ledger}")
        except Said as error:
            if error.code != NO_STREAM:
                raise
            wanted = {key: self._wanted[key] for key in ("retention", "num_replicas", "discard")}
            about = {"name": ledger, "subjects": [self._names.page], "storage": "file"}
            info = await self._make(link, {**wanted, **about, "max_msgs": 1, "max_bytes": 2**16})
        found = None
        if info["state"]["messages"]:
            found = await message(link, ledger, {"last_by_subj": self._names.page})
        if found is None:
            return 0, None
        try:
            return found.position, Name.read(found.data)
        except ValueError:
            return found.position, None

    async def _is_back(
        self, link: Link, extent: Extent, name: Name, mine: Name, known: Known
    ) -> bool:
        """Return True when the log has less than this process has seen of it, or another message in that place."""
        if name.epoch != mine.epoch:
            return name.generation <= mine.generation
        if extent.head < known.position:
            return True
        if known.position <= extent.floor or known.id is None:
            return False
        found = await message(link, self._names.stream, {"seq": known.position})
        return found is not None and found.id != known.id

    async def _replace(self, link: Link, version: int, name: Name) -> bool:
        """Write another name; False when another process was quicker."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(version)}
        [answer] = await link.publish([(self._names.page, name.write(), headers)])
        if isinstance(answer, Said) and answer.code in _WRONG_LAST:
            return False
        if isinstance(answer, OSError):
            raise answer
        return True

    async def mark(self, link: Link, name: Name) -> None:
        """Write the mark into the stream of events at which all processes take a name; once, whoever calls.

        Raises:
            OSError: it cannot be written.
        """
        found = await message(link, self._names.stream, {"last_by_subj": self._names.mark})
        if found is not None and found.data == name.write():
            return
        headers = {ID: f"mark.{name.epoch}"}
        [answer] = await link.publish([(self._names.mark, name.write(), headers)])
        if isinstance(answer, OSError):
            raise answer


_BOUNDS = ("max_msgs", "max_bytes", "max_age", "duplicate_window", "discard")


class Found(NamedTuple):
    """A message of a stream."""

    position: int
    id: str
    data: bytes


async def message(link: Link, stream: str, which: Mapping[str, Any]) -> Found | None:
    """Ask for one message of a stream; None when there is no such message.

    Raises:
        OSError: the stream cannot be reached, or is not there.
    """
    try:
        answer = await link.ask(f"STREAM.MSG.GET.{stream}", which)
    except Said as error:
        if error.code == NO_MESSAGE:
            return None
        raise
    found = answer["message"]
    headers = base64.b64decode(found.get("hdrs", "")).split(b"\r\n")
    prefix = f"{ID}:".encode()
    ids = [line.removeprefix(prefix).strip() for line in headers if line.startswith(prefix)]
    id = ids[0].decode("utf-8", "replace") if ids else ""
    return Found(found["seq"], id, base64.b64decode(found.get("data", "")))


def _extent(info: Mapping[str, Any]) -> Extent:
    state = info["state"]
    floor = max(0, state["first_seq"] - 1)
    return Extent(info["created"], floor, state["last_seq"], state["messages"], state["bytes"])


def _refused(error: Said) -> OSError:
    """Turn JetStream's refusal to make a stream into an error that says what can be done."""
    if error.code in NO_ROOM:
        return StorageFull(f"{error}: let the log keep less, or the server more")
    if 400 <= error.status < 500:
        return StoreUnusable(f"JetStream refuses the stream: {error}")
    return error
