-- Signs a notifier in for a while, or out, and tells who is signed in.
--
-- KEYS[1]  notifiers that live: id by when it is taken for dead, in ms of this Redis' clock
-- KEYS[2]  their facts: id → JSON
-- ARGV[1]  id
-- ARGV[2]  its facts, '' to sign it out
-- ARGV[3]  for so many ms
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
  -- Nobody listens: a notifier that may not publish is to find it out before it leads.
  redis.call('SPUBLISH', ids, '')
end
for _, id in ipairs(gone) do
  if id ~= ARGV[1] or ARGV[2] == '' then
    redis.call('ZREM', ids, id)
    redis.call('HDEL', facts, id)
  end
end
-- When all have gone nobody is left to clear up.
redis.call('PEXPIRE', ids, ARGV[3])
redis.call('PEXPIRE', facts, ARGV[3])
return redis.call('HGETALL', facts)
