-- Functions of the scripts that append to a topic. Those scripts begin with this text; it is never called alone.
--
-- A history entry is a publication as it went out. Its id is LAST_OFFSET-MILLISECONDS, so that both
-- trimming by number and reading from an offset are ranges over ids. Numbers below 2^53 are exact in Lua.

-- Reads the state of a topic. A topic without an epoch gets `new_epoch`.
local function read_topic(meta_key, history_key, channel, new_epoch)
  local meta = redis.call('HMGET', meta_key, 'epoch', 'offset', 'bytes', 'oldest')
  local topic = {
    meta_key = meta_key, history_key = history_key, channel = channel,
    epoch = meta[1], offset = tonumber(meta[2] or 0), bytes = tonumber(meta[3] or 0), oldest = meta[4],
  }
  if not topic.epoch then
    topic.epoch = new_epoch
    redis.call('DEL', history_key)
  end
  return topic
end

-- Numbers `count` messages, one a line, appends them to history and publishes them, as one step.
-- History is bounded by entries, milliseconds and bytes. Updates `topic`.
local function append(topic, count, lines, max_entries, max_age, max_bytes)
  local last = topic.offset + count
  local publication = topic.epoch .. ' ' .. string.format('%.0f', topic.offset + 1) .. '\n' .. lines
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local entry_id = string.format('%.0f-%.0f', last, now)
  local history_key, oldest, bytes = topic.history_key, topic.oldest, topic.bytes

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

  topic.offset, topic.bytes = last, bytes
  redis.call('HSET', topic.meta_key, 'epoch', topic.epoch, 'offset', string.format('%.0f', last),
    'bytes', string.format('%.0f', bytes), 'oldest', oldest)
  redis.call('SPUBLISH', topic.channel, publication)
end
