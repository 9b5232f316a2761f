-- Tells who is present under one topic, and where in the topic's stream that is so. Begins with reign_v1.lua.
-- Writes nothing, since anybody may ask for any name: it is called by EVALSHA_RO.
--
-- KEYS[1]  members hash of the topic
-- KEYS[2]  meta hash of the topic
-- ARGV[1]  epoch in which a topic stands that has none, or one of another reign
--
-- Returns {epoch, offset, {field, entry, field, entry, ...}}.
--
-- The epoch of a topic without one is kept nowhere. The first change begins another one at 1, under the same
-- reign, and whoever stands at the offset 0 of any epoch of that reign knows that nothing lies between.

local now = reign()
local meta = redis.call('HMGET', KEYS[2], 'epoch', 'offset')
local epoch, offset = meta[1], tonumber(meta[2] or 0)
if not epoch or (now ~= '' and string.sub(epoch, 13) ~= now) then
  epoch, offset = ARGV[1] .. now, 0
end
return {epoch, offset, redis.call('HGETALL', KEYS[1])}
