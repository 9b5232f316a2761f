-- Signs a notifier in for some time, or out, and returns all notifiers that are signed in.
--
-- KEYS[1]  notifiers: id by the time at which it counts as dead, in ms of the clock of this Redis
-- KEYS[2]  their facts: id → JSON
-- ARGV[1]  id
-- ARGV[2]  its facts, '' to sign it out
-- ARGV[3]  milliseconds until it counts as dead
--
-- Returns id, facts, id, facts, …

local ids, facts = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local gone = redis.call('ZRANGEBYSCORE', ids, '-inf', now)
if ARGV[2] == '' then
  gone[#gone + 1] = ARGV[1]
else
  redis.call('ZADD', ids, now + ARGV[3], ARGV[1])
  redis.call('HSET', facts, ARGV[1], ARGV[2])
  -- No client subscribes to this: a notifier without the right to publish must fail before it leads.
  redis.call('SPUBLISH', ids, '')
end
for _, id in ipairs(gone) do
  if id ~= ARGV[1] or ARGV[2] == '' then
    redis.call('ZREM', ids, id)
    redis.call('HDEL', facts, id)
  end
end
-- The keys expire once no notifier is left to clean up.
redis.call('PEXPIRE', ids, ARGV[3])
redis.call('PEXPIRE', facts, ARGV[3])
return redis.call('HGETALL', facts)
