"""The scripts that run inside Redis, each as one step that nothing interrupts. `redis.py` explains keys and entries.

    JOIN     looks where the log stands, and whether it still has what the caller has seen; begins another log if not
    APPEND   appends a batch once, however often it is sent; remembers keys of publishes; trims
    TRIM     trims a log that nobody writes to

Numbers in Lua are exact up to 2**53. Ids of Redis are compared part by part.
"""

from __future__ import annotations

from fastsse.broadcast.stores.redis.entries import NOT_REACHED

__all__ = ["APPEND", "COMMON", "JOIN", "OTHER_LOG", "REUSED", "TOO_OLD", "TRIM"]

OTHER_LOG = "OTHERLOG"  # the code of the error when another log has taken the place of the caller's
TOO_OLD = "TOOOLD"  # the code of the error when the server does not tell which entries are gone
REUSED = b"!"  # in the answer of APPEND: the key belongs to another event

COMMON = """
local function parts(id)
  local ms, n = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(n)
end
local function less(a, b)
  local a1, a2 = parts(a)
  local b1, b2 = parts(b)
  return a1 < b1 or (a1 == b1 and a2 < b2)
end
local function before(id)
  local ms, n = parts(id)
  if n > 0 then return string.format('%.0f-%.0f', ms, n - 1) end
  return string.format('%.0f-262143', ms - 1)
end
local function plain(number) return string.format('%.0f', number) end
local function stamp(entry)
  if entry and entry[2][1] == 'n' then return string.match(entry[2][2], '^(%d+) (%d+) (%S+)$') end
end
local function mark_of(entry)
  local _, _, writer = stamp(entry)
  return writer or entry[2][1] == 'epoch' and entry[2][2]
end
"""

# KEYS: stream, log. ARGV: events, bytes, milliseconds that are kept; 0: no limit.
_TRIM = """
local function bytes_before() -- those of the entries that are gone; the first entries may be a mark, or not ours
  for _, count in ipairs({1, 16}) do
    for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', count)) do
      local _, before = stamp(entry)
      if before then return before end
    end
  end
end
local function trim(events, bytes, age)
  if events > 0 then redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', plain(events)) end
  if age > 0 then
    local now = redis.call('TIME')
    local limit = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) - age
    if limit > 0 then redis.call('XTRIM', KEYS[1], 'MINID', '~', plain(limit) .. '-0') end
  end
  if bytes > 0 then
    local before = bytes_before()
    local total = redis.call('HGET', KEYS[2], 'bytes')
    if before and total then
      local kept, length = tonumber(total) - tonumber(before), redis.call('XLEN', KEYS[1])
      if kept > bytes then
        redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', plain(math.floor(length * bytes / kept)))
      end
    end
  end
end
"""

# KEYS: stream, log. ARGV: a name for another log; the caller's log, or nothing; id and mark of the newest entry that
# the caller knows, or nothing; the name of the server's run, or nothing; the id up to which the caller has read.
# Returns the log's name, its mark, an id up to which all is gone, the newest id, the number of the entry to come next,
# and an id after which that entry comes.
JOIN = f"""
{COMMON}
local there, info = redis.call('EXISTS', KEYS[1]) == 1, {{}}
if there then
  local flat = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #flat, 2 do info[flat[i]] = flat[i + 1] end
  if not info['entries-added'] then return redis.error_reply('{TOO_OLD} of this server') end
end
local last, gone = info['last-generated-id'] or '0-0', '0-0'
if there and info['entries-added'] > info['length'] then
  gone = info['first-entry'] and before(info['first-entry'][1]) or last
end
local log = redis.call('HMGET', KEYS[2], 'epoch', 'serial', 'mark', 'run')
local epoch, serial, mark, run = log[1], log[2] or '0', log[3] or '0-0', log[4]
local mine, seen = ARGV[2], ARGV[3]
local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local function begin(after)
  epoch = ARGV[1]
  local a = parts(after)
  local b = parts(last)
  mark = redis.call('XADD', KEYS[1], plain(math.max(ms, a + 1, b + 1)) .. '-0', 'epoch', epoch)
  there, last = true, mark
end
if not epoch then
  epoch = ARGV[1]
  if there or seen ~= '' then begin(seen ~= '' and seen or last) end
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'serial', serial, 'bytes', '0', 'mark', mark)
elseif mine == epoch and seen ~= '' then
  local found = there and redis.call('XRANGE', KEYS[1], seen, seen) or {{}}
  local back
  if found[1] then
    back = mark_of(found[1]) ~= ARGV[4]
  else -- trimmed away, or deleted by somebody; otherwise never here
    back = less(gone, seen) and less(info['max-deleted-entry-id'] or '0-0', seen)
  end
  if back then
    begin(seen)
    redis.call('HSET', KEYS[2], 'epoch', epoch, 'mark', mark)
  end
end
if ARGV[5] ~= '' and ARGV[5] ~= run then
  redis.call('HSET', KEYS[2], 'run', ARGV[5])
  if run and there then -- ids that the former run may have given, and lost, are not given again
    local a = parts(last)
    redis.call('XSETID', KEYS[1], plain(math.max(a + 1000, ms + 10000)) .. '-0')
  end
end
local from = mark
if mine == epoch then from = ARGV[6] end
local next, edge, newest = plain(tonumber(serial) + 1), last, gone
if there then
  local first = redis.call('XRANGE', KEYS[1], '(' .. from, '+', 'COUNT', 1)[1]
  if first then next, edge = stamp(first) or '', before(first[1]) end
  local final = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  if final then newest = final[1] end
end
return {{epoch, mark, gone, newest, next, edge}}
"""

# KEYS: stream, log, the writer's last batch, and one for each event with a key. ARGV: the caller's log, the writer, the
# batch's number, how long keys are remembered (s), events, bytes and milliseconds that are kept; then of each event the
# entry, a digest where it has a key, and something where it goes on with the group of the event before it. An event
# without an entry was given up by its publisher.
# Returns ids, or what stands for them, separated by blanks.
APPEND = f"""
{COMMON}{_TRIM}
local log = redis.call('HMGET', KEYS[2], 'epoch', 'serial', 'bytes')
if log[1] ~= ARGV[1] then return redis.error_reply('{OTHER_LOG} is here') end
local done = redis.call('HMGET', KEYS[3], 'first', 'ids')
if done[1] == ARGV[3] then return done[2] end
local serial, bytes, number = tonumber(log[2]), tonumber(log[3] or '0'), tonumber(ARGV[3])
local ids, used, id, failed = {{}}, 3, nil, false
for i = 8, #ARGV, 3 do
  local entry, digest, known = ARGV[i], ARGV[i + 1], false
  failed = failed and ARGV[i + 2] ~= ''
  if digest ~= '' then
    used = used + 1
    known = redis.call('GET', KEYS[used])
  end
  if failed then
    ids[#ids + 1] = '{NOT_REACHED.decode()}'
  elseif known then
    failed = string.sub(known, 1, 32) ~= digest
    ids[#ids + 1] = failed and '{REUSED.decode()}' or string.sub(known, 34)
  elseif entry == '' then
    failed = true
    ids[#ids + 1] = '-'
  else
    serial = serial + 1
    id = redis.call('XADD', KEYS[1], '*', 'n',
      plain(serial) .. ' ' .. plain(bytes) .. ' ' .. ARGV[2] .. '.' .. plain(number), 'e', entry)
    bytes = bytes + #entry
    if digest ~= '' then redis.call('SET', KEYS[used], digest .. ' ' .. id, 'EX', ARGV[4]) end
    ids[#ids + 1] = id
  end
  number = number + 1
end
if id then
  redis.call('HSET', KEYS[2], 'serial', plain(serial), 'bytes', plain(bytes))
  local ms, n = parts(id)
  if n > 260000 then redis.call('XSETID', KEYS[1], plain(ms + 1) .. '-0') end -- see `position` in redis.py
  trim(tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]))
end
local text = table.concat(ids, ' ')
redis.call('HSET', KEYS[3], 'first', ARGV[3], 'ids', text)
redis.call('EXPIRE', KEYS[3], 3600)
return text
"""

# KEYS: stream, log. ARGV: events, bytes, milliseconds that are kept.
TRIM = f"""
{COMMON}{_TRIM}
trim(tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
"""
