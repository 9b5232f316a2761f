-- Functions of the scripts that append to a topic. Those scripts begin with this text; it is never called alone.
--
-- KEYS[1]  meta hash of the topic
-- KEYS[2]  history stream of the topic
--
-- A history entry is a publication as it went out. Its id is LAST_OFFSET-MILLISECONDS, so that both
-- trimming by number and reading from an offset are ranges over ids. Numbers below 2^53 are exact in Lua.
--
-- Most publications come alone, and each command costs about as much as all of this code. So one command reads
-- the topic, one writes it, and history is read only when it has to give up an entry.

-- Reads the topic. A topic that nobody has used yet has no `epoch`, and one without publications no `offset`.
local function read_topic()
  local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'bytes', 'oldest', 'mark')
  return {epoch = meta[1], offset = meta[2], bytes = meta[3], oldest = meta[4], mark = meta[5]}
end

-- Numbers `count` messages, one a line, appends them to history and publishes them, as one step.
-- History is bounded by entries, milliseconds and bytes. A topic without an epoch gets `new_epoch`.
-- More fields of the topic and their values may follow, which are stored in the same step.
-- Returns the offset of the last message, and the bytes of the history now.
local function append(topic, channel, count, lines, new_epoch, max_entries, max_age, max_bytes, ...)
  local meta_key, history_key = KEYS[1], KEYS[2]
  if not topic.epoch then
    redis.call('DEL', history_key)
    redis.call('HSET', meta_key, 'epoch', new_epoch)
  end
  local before = tonumber(topic.offset or 0)
  local last = before + count
  local publication = string.format('%s %.0f\n', topic.epoch or new_epoch, before + 1) .. lines
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local entry_id = string.format('%.0f-%.0f', last, now)

  -- Find the oldest entry to keep. `oldest` is nil if none is kept, or if history has expired.
  local oldest, bytes = topic.oldest, tonumber(topic.bytes or 0) + #publication
  local start = '-'
  while oldest do
    local oldest_offset, oldest_time = string.match(oldest, '(%d+)-(%d+)')
    local is_kept = tonumber(oldest_offset) > last - max_entries and tonumber(oldest_time) >= now - max_age
    if is_kept and bytes <= max_bytes then break end
    local head = redis.call('XRANGE', history_key, start, '+', 'COUNT', 2)
    oldest = head[2] and head[2][1]
    if oldest then start, bytes = oldest, bytes - #head[1][2][2] end
  end
  if oldest and start == '-' then
    -- Nothing to trim. Without NOMKSTREAM, history that has expired would begin with wrong sums.
    if not redis.call('XADD', history_key, 'NOMKSTREAM', entry_id, 'p', publication) then oldest = nil end
  elseif oldest then
    redis.call('XADD', history_key, 'MINID', '=', oldest, entry_id, 'p', publication)
  end
  if not oldest then
    oldest, bytes = entry_id, #publication
    redis.call('XADD', history_key, 'MINID', '=', entry_id, entry_id, 'p', publication)
  end

  redis.call('PEXPIRE', history_key, max_age)
  redis.call('HSET', meta_key, 'offset', last, 'bytes', bytes, 'oldest', oldest, ...)
  redis.call('SPUBLISH', channel, publication)
  return last, bytes
end
