"""Copies of a log in Redis: read it whole, put another log's entries in under their own ids, let the oldest go.

A copy keeps ids, because an id of Redis can be chosen as long as it is greater than the one before. The first entry of
a copy has the number 2, so a process that follows the empty log misses number 1, looks where the log stands, and
reports that the log is another one.

An entry's age is told by its id. So an entry that was copied from another engine is as old as the number that it had
there, and a bound by age lets it go at once.

The module knows scripts and ranges of a stream; it must not know what is followed or published.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fastsse.broadcast.stores import Draft, Entry, Log, Page, StorageFull, StoreState
from fastsse.broadcast.stores._copies import CopiedStore, check_extent, in_order, no_log, not_new
from fastsse.broadcast.stores._entries import write_entry
from fastsse.broadcast.stores.redis.entries import NOTHING, Found, gone_of, id_of, position_of
from fastsse.broadcast.stores.redis.link import Argument, Link, Said
from fastsse.broadcast.stores.redis.scripts import COMMON
from fastsse.broadcast.stores.redis.store import FULL, RedisStore

__all__ = ["PortableRedisStore"]

_NOT_NEW = "NOTNEW"  # the codes of the errors of the scripts
_NOT_AFTER = "NOTAFTER"
_STEP = 1000  # entries that one step of a trim lets go, where their number alone counts
_LOOKED = 100  # entries that it looks at, where their size or their age counts

# KEYS: stream, log. ARGV: the name of the log that is to be copied; the id of its floor.
_ADOPT = f"""
local there = redis.call('EXISTS', KEYS[1]) == 1
local serial = redis.call('HGET', KEYS[2], 'serial')
if there or serial and serial ~= '0' then return redis.error_reply('{_NOT_NEW} is this log') end
redis.call('HSET', KEYS[2], 'epoch', ARGV[1], 'serial', '1', 'bytes', '0', 'mark', '0-0')
if ARGV[2] ~= '0-0' then -- the stream then remembers that all up to there is gone
  redis.call('XADD', KEYS[1], ARGV[2], 'epoch', ARGV[1])
  redis.call('XDEL', KEYS[1], ARGV[2])
end
"""

# KEYS: stream, log. ARGV: the log; then id and entry of each event, whose ids grow.
_PUT = f"""
{COMMON}
local log = redis.call('HMGET', KEYS[2], 'epoch', 'serial', 'bytes')
if log[1] ~= ARGV[1] then return redis.error_reply('{_NOT_NEW} is this log any more') end
if redis.call('EXISTS', KEYS[1]) == 1 then
  local flat = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #flat, 2 do
    if flat[i] == 'last-generated-id' and not less(flat[i + 1], ARGV[2]) then
      return redis.error_reply('{_NOT_AFTER} ' .. flat[i + 1])
    end
  end
end
local serial, bytes = tonumber(log[2]), tonumber(log[3] or '0')
for i = 2, #ARGV, 2 do
  serial = serial + 1
  redis.call('XADD', KEYS[1], ARGV[i], 'n', plain(serial) .. ' ' .. plain(bytes) .. ' copy.' .. plain(serial),
    'e', ARGV[i + 1])
  bytes = bytes + #ARGV[i + 1]
end
redis.call('HSET', KEYS[2], 'serial', plain(serial), 'bytes', plain(bytes))
"""

# KEYS: stream, log. ARGV: the log; the id of its head, after which it goes on.
_COMPLETE = f"""
{COMMON}
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then return redis.error_reply('{_NOT_NEW} is this log any more') end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XADD', KEYS[1], ARGV[2], 'epoch', ARGV[1])
  redis.call('XDEL', KEYS[1], ARGV[2])
end
local flat = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #flat, 2 do
  if flat[i] == 'last-generated-id' and less(flat[i + 1], ARGV[2]) then redis.call('XSETID', KEYS[1], ARGV[2]) end
end
"""

# KEYS: stream, log. ARGV: events, bytes, milliseconds that are kept; entries that go by their number, or are looked at.
# Returns how many entries went.
_STEP_OF = f"""
{COMMON}
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local events, bytes, age = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local length = redis.call('XLEN', KEYS[1])
if events > 0 and length > events then
  return redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', plain(math.max(events, length - tonumber(ARGV[4]))))
end
local total = tonumber(redis.call('HGET', KEYS[2], 'bytes') or '0')
local now = redis.call('TIME')
local limit = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) - age
local rows = (bytes > 0 or age > 0) and redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[5]) or {{}}
local many = 0
for place, row in ipairs(rows) do
  local _, before = stamp(row)
  local ms = parts(row[1])
  local heavy = bytes > 0 and before and total - tonumber(before) > bytes
  if heavy or (age > 0 and ms < limit) then many = place end
end
if many == 0 then return 0 end
return redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', plain(length - many))
"""


class PortableRedisStore(CopiedStore[Link], RedisStore):
    """A log in one stream of Redis that can be copied out and in. Arguments as those of `RedisStore`."""

    _adopted = Log("")

    async def open_to_read(self) -> Log:
        """Read the extent. As `Portable.open_to_read`: processes that follow the log go on."""
        await self.close()
        self._copying = link = await self._place.dial()
        epoch, total = await link.call("HMGET", self._log, "epoch", "bytes")
        if epoch is None:
            raise no_log(self._namespace)
        floor, head, count, before = await self._about(link)
        size = int(total or 0) - before if count else 0
        self._glance = StoreState(self.engine, entries=count, size=size)
        return Log(epoch.decode(), floor, head)

    async def open_to_change(self) -> Log:
        """Make the log ready. As `Portable.open_to_change`."""
        log = await self.open()
        self._copying = await self._place.dial()
        return log

    async def scan(self, after: int, limit: int) -> Page:
        """Read a page of all topics. As `Portable.scan`."""
        link = self._require()
        most = self._count(limit)
        epoch: bytes | None = await link.call("HGET", self._log, "epoch")
        floor, head, *_ = await self._about(link)
        rows: Found = await link.call(
            "XRANGE", self._stream, b"(" + id_of(after), "+", "COUNT", most
        )
        found: list[Entry] = []
        size, end = 0, after
        for id, fields in rows:
            end = position_of(id)
            if (entry := self._read(id, fields)) is not None:
                found.append(entry)
                size += len(entry.block)
            if size >= limit:
                break
        if len(rows) < most and size < limit:
            end = max(end, head)
        return Page(found, end, floor, (epoch or b"").decode())

    async def _about(self, link: Link) -> tuple[int, int, int, int]:
        """Read floor and head, the number of entries, and the bytes of those that came before the first."""
        try:
            about: list[Any] = await link.call("XINFO", "STREAM", self._stream)
        except Said as error:
            if error.code == "WRONGTYPE":
                raise
            return 0, 0, 0, 0  # there is no stream yet
        known: dict[bytes, Any] = dict(zip(about[::2], about[1::2], strict=True))
        floor, first, last = gone_of(about), known[b"first-entry"], known[b"last-entry"]
        if not first:
            return floor, floor, 0, 0
        number = re.match(rb"\d+ (\d+) ", first[1][1])
        before = int(number[1]) if number else 0
        return floor, position_of(last[0]), int(known[b"length"]), before

    async def adopt(self, log: Log) -> None:
        """Take over another log's epoch and floor. As `Portable.adopt`."""
        check_extent(log)
        link = self._require()
        try:
            await link.call("EVAL", _ADOPT, 2, *self._keys, log.epoch, id_of(log.floor))
        except Said as error:
            raise self._explain(error) from error
        self._epoch = log.epoch
        self._adopted = log

    async def put(self, entries: Iterable[Entry]) -> None:
        """Put in entries under their own positions. As `Portable.put`."""
        many = in_order(entries)
        if not many:
            return
        words: list[Argument] = []
        for entry in many:
            text = write_entry(Draft(entry.topics, entry.block))
            words += (id_of(entry.position), text)
        try:
            await self._require().call("EVAL", _PUT, 2, *self._keys, self._epoch, *words)
        except Said as error:
            raise self._explain(error, many[0].position) from error

    async def complete(self) -> None:
        """End a copy. As `Portable.complete`."""
        link, head = self._require(), id_of(self._adopted.head)
        if head == NOTHING:
            return
        try:
            await link.call("EVAL", _COMPLETE, 2, *self._keys, self._epoch, head)
        except Said as error:
            raise self._explain(error) from error

    async def trim(self) -> int:
        """Let go one step of what is over the retention, exactly. As `Portable.trim`."""
        numbers = (*self._keep, _STEP, _LOOKED)
        gone: int = await self._require().call("EVAL", _STEP_OF, 2, *self._keys, *numbers)
        return gone

    @property
    def _keys(self) -> tuple[str, str]:
        return self._stream, self._log

    def _explain(self, error: Said, first: int = 0) -> OSError:
        """Turn an error of a script into one that says what can be done."""
        if error.code == _NOT_NEW:
            return not_new(self._namespace)
        if error.code == _NOT_AFTER:
            last = position_of(str(error).rpartition(" ")[2].encode())
            return OSError(f"position {first} does not follow {last}")
        if error.code in FULL:
            return StorageFull(f"the server has no room: {error}")
        return OSError(f"the server does not take the copy: {error}")
