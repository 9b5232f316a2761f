-- Returns who is present under one topic, and the position of the topic. Begins with reign_v1.lua.
-- Writes nothing, since clients may ask for any name: it is called by EVALSHA_RO.
--
-- KEYS[1]  members hash of the topic
-- KEYS[2]  meta hash of the topic
-- ARGV[1]  epoch of a topic that has none, or one of another replication id
--
-- Returns {epoch, offset, {field, entry, field, entry, ...}}.
--
-- The epoch that is returned for a topic without one is not stored. The first change begins another epoch at 1,
-- under the same replication id. Offset 0 of any epoch of that replication id means: nothing was missed.

local now = reign()
local meta = redis.call('HMGET', KEYS[2], 'epoch', 'offset')
local epoch, offset = meta[1], tonumber(meta[2] or 0)
if not epoch or (now ~= '' and string.sub(epoch, 13) ~= now) then
  epoch, offset = ARGV[1] .. now, 0
end
return {epoch, offset, redis.call('HGETALL', KEYS[1])}
