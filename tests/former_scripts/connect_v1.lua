-- Lets a connection into a project, if its limits allow, and writes that into the connection history.
--
-- KEYS[1]  open connections: LIFE/CONNECTION → facts
-- KEYS[2]  how many of them a user and an address have
-- KEYS[3]  connection history
-- ARGV[1]  LIFE/CONNECTION
-- ARGV[2]  its facts, JSON
-- ARGV[3]  its user, '' for none
-- ARGV[4]  its address
-- ARGV[5], ARGV[6], ARGV[7]  most connections: in all, a user, an address; 0 is no limit
-- ARGV[8]  the event as history keeps it
-- ARGV[9], ARGV[10]  history: most entries, most milliseconds
-- ARGV[11…] LIFE/CONNECTION on the lives before
--
-- Returns the name of the limit that is reached, or false.
--
-- A node that was away for too long lets its connections in again; one that nobody has taken out meanwhile
-- moves to the new life, and nothing happened to it.

local open, counts, history = KEYS[1], KEYS[2], KEYS[3]
local user, address = 'user:' .. ARGV[3], 'address:' .. ARGV[4]
local function reached(count, limit)
  return tonumber(limit) > 0 and tonumber(count or 0) >= tonumber(limit)
end

if redis.call('HEXISTS', open, ARGV[1]) == 1 then return false end
if #ARGV > 10 and redis.call('HDEL', open, unpack(ARGV, 11)) > 0 then
  redis.call('HSET', open, ARGV[1], ARGV[2])
  return false
end
if reached(redis.call('HLEN', open), ARGV[5]) then return 'max_connections' end
if ARGV[3] ~= '' and reached(redis.call('HGET', counts, user), ARGV[6]) then
  return 'max_connections_per_user'
end
if reached(redis.call('HGET', counts, address), ARGV[7]) then return 'max_connections_per_ip' end

redis.call('HSET', open, ARGV[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('HINCRBY', counts, user, 1) end
redis.call('HINCRBY', counts, address, 1)
redis.call('XADD', history, 'MAXLEN', ARGV[9], '*', 'e', ARGV[8])
redis.call('PEXPIRE', history, ARGV[10])
return false
