-- Lets a connection into a project, if its limits allow, and writes that into the connection history.
--
-- KEYS[1]  open connections: LIFE/CONNECTION → facts
-- KEYS[2]  how many of them a user and an address have
-- KEYS[3]  connection history
-- ARGV[1]  LIFE/CONNECTION
-- ARGV[2]  the same on the life before
-- ARGV[3]  its facts, JSON
-- ARGV[4]  its user, '' for none
-- ARGV[5]  its address
-- ARGV[6], ARGV[7], ARGV[8]  most connections: in all, a user, an address; 0 is no limit
-- ARGV[9]  the event as history keeps it
-- ARGV[10], ARGV[11]  history: most entries, most milliseconds
--
-- Returns the name of the limit that is reached, or false.
--
-- A node that was away for too long lets its connections in again; one that nobody has taken out meanwhile
-- moves to the new life, and nothing happened to it.

local open, counts, history = KEYS[1], KEYS[2], KEYS[3]
local user, address = 'user:' .. ARGV[4], 'address:' .. ARGV[5]
local function reached(count, limit)
  return tonumber(limit) > 0 and tonumber(count or 0) >= tonumber(limit)
end

if redis.call('HEXISTS', open, ARGV[1]) == 1 then return false end
if redis.call('HDEL', open, ARGV[2]) == 1 then
  redis.call('HSET', open, ARGV[1], ARGV[3])
  return false
end
if reached(redis.call('HLEN', open), ARGV[6]) then return 'max_connections' end
if ARGV[4] ~= '' and reached(redis.call('HGET', counts, user), ARGV[7]) then
  return 'max_connections_per_user'
end
if reached(redis.call('HGET', counts, address), ARGV[8]) then return 'max_connections_per_ip' end

redis.call('HSET', open, ARGV[1], ARGV[3])
if ARGV[4] ~= '' then redis.call('HINCRBY', counts, user, 1) end
redis.call('HINCRBY', counts, address, 1)
redis.call('XADD', history, 'MAXLEN', ARGV[10], '*', 'e', ARGV[9])
redis.call('PEXPIRE', history, ARGV[11])
return false
