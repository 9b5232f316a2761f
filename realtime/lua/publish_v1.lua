-- Appends messages to a topic: numbers them, keeps them in its history and publishes them, as one.
--
-- KEYS[1]  meta hash of the topic
-- KEYS[2]  history stream of the topic
-- KEYS[3]  pub/sub channel of the topic
-- ARGV[1]  batch that the messages belong to; '' for those of clients, which are always new
-- ARGV[2]  their outbox ids, ascending, joined by commas; '' likewise
-- ARGV[3]  the last of them
-- ARGV[4]  how many they are
-- ARGV[5]  the messages, one a line
-- ARGV[6]  epoch to begin with, if the topic has none
-- ARGV[7]  history: most entries
-- ARGV[8]  history: most milliseconds
-- ARGV[9]  history: most bytes
-- ARGV[10] milliseconds that epoch and offset outlive the last message; 0 is for ever
--
-- Returns {epoch, offset of the last message, how many were new}.
--
-- A topic remembers the batch and the outbox id that it took last and takes only what lies beyond: a
-- notifier that crashed sends the same batch again, cut as it likes. Numbers below 2^53 are exact in Lua.
-- A history entry is a publication as it went out. Its id is LAST_OFFSET-MILLISECONDS, so that both
-- trimming by number and reading from an offset are ranges over ids.

local meta_key, history_key, channel = KEYS[1], KEYS[2], KEYS[3]
local batch, ids, count, lines = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[4]), ARGV[5]
local max_entries, max_age, max_bytes = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])

local meta = redis.call('HMGET', meta_key, 'epoch', 'offset', 'batch', 'id', 'bytes', 'oldest')
local epoch, offset = meta[1], tonumber(meta[2] or 0)
local taken_batch, taken_id = tonumber(meta[3] or -1), tonumber(meta[4] or 0)
local bytes, oldest = tonumber(meta[5] or 0), meta[6]
if not epoch then
  epoch = ARGV[6]
  redis.call('DEL', history_key)
end

-- Only a batch that comes again is looked at id by id.
local skip = 0
if batch and batch < taken_batch then
  skip = count
elseif batch and batch == taken_batch then
  for id in string.gmatch(ids, '%d+') do
    if tonumber(id) > taken_id then break end
    skip = skip + 1
  end
end
if skip == count then return {epoch, offset, 0} end

if skip > 0 then
  local start = 1
  for _ = 1, skip do start = string.find(lines, '\n', start, true) + 1 end
  lines = string.sub(lines, start)
end

local first, last = offset + 1, offset + count - skip
local publication = epoch .. ' ' .. string.format('%.0f', first) .. '\n' .. lines
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entry_id = string.format('%.0f-%.0f', last, now)

if not oldest or redis.call('EXISTS', history_key) == 0 then
  oldest, bytes = entry_id, 0
end
redis.call('XADD', history_key, entry_id, 'p', publication)
redis.call('PEXPIRE', history_key, max_age)
bytes = bytes + #publication

while oldest ~= entry_id do
  local oldest_offset, oldest_time = string.match(oldest, '(%d+)-(%d+)')
  local kept = tonumber(oldest_offset) > last - max_entries and tonumber(oldest_time) >= now - max_age
  if kept and bytes <= max_bytes then break end
  local head = redis.call('XRANGE', history_key, '-', '+', 'COUNT', 2)
  bytes = bytes - #head[1][2][2]
  redis.call('XDEL', history_key, head[1][1])
  oldest = head[2][1]
end

redis.call('HSET', meta_key, 'epoch', epoch, 'offset', string.format('%.0f', last), 'batch', ARGV[1],
  'id', ARGV[3], 'bytes', string.format('%.0f', bytes), 'oldest', oldest)
if ARGV[10] == '0' then redis.call('PERSIST', meta_key) else redis.call('PEXPIRE', meta_key, ARGV[10]) end
redis.call('PUBLISH', channel, publication)
return {epoch, last, count - skip}
