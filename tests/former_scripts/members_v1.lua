-- Tells who is present under one topic, and where in the topic's stream that is so.
-- Begins with reign_v1.lua.
--
-- KEYS[1]  members hash of the topic
-- KEYS[2]  meta hash of the topic
-- ARGV[1]  epoch to begin with, if the topic has none
-- ARGV[2]  milliseconds that an empty topic is remembered
--
-- Returns {epoch, offset, {field, entry, field, entry, ...}}.

local now = reign()
forget_other_reigns(now, KEYS[2])
if redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1] .. now) == 1 then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
local meta = redis.call('HMGET', KEYS[2], 'epoch', 'offset')
return {meta[1], tonumber(meta[2] or 0), redis.call('HGETALL', KEYS[1])}
