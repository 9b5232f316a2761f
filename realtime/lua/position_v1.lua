-- Tells where a topic stands, and gives one that nothing was ever published to an epoch to stand in.
--
-- KEYS[1]  meta hash of the topic
-- ARGV[1]  epoch to begin with, if the topic has none
-- ARGV[2]  milliseconds for which an empty topic is remembered
--
-- Returns {epoch, offset of the last message}.
--
-- Clients may subscribe to any name, so an empty topic must not stay for ever.

redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1])
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset')
if not meta[2] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return {meta[1], tonumber(meta[2] or 0)}
