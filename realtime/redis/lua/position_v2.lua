-- Returns the position of a topic, and gives a topic without publications an epoch.
-- Begins with reign_v1.lua.
--
-- KEYS[1]  meta hash of the topic
-- KEYS[2]  history stream of the topic
-- ARGV[1]  epoch to begin with, if the topic has none
-- ARGV[2]  milliseconds for which an empty topic is kept, at least
-- ARGV[3]  "feed" for a topic of the feed, whose checkpoints show what Redis lost; "reign" for others
--
-- Returns {epoch, offset of the last message}.
--
-- Clients may subscribe to any name, so an empty topic expires soon. Nodes with subscribers of the topic renew
-- it (PEXPIRE with GT, which does not change a key without an end, or with a later one).

local epoch = ARGV[1]
if ARGV[3] == 'reign' then
  local now = reign()
  forget_other_reigns(now, KEYS[1], KEYS[2])
  epoch = epoch .. now
end
redis.call('HSETNX', KEYS[1], 'epoch', epoch)
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset')
if not meta[2] and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {meta[1], tonumber(meta[2] or 0)}
