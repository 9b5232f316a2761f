-- Admits a connection to a project if the limits allow it, and adds the event to the connection history.
--
-- KEYS[1]  open connections: INCARNATION/CONNECTION → facts
-- KEYS[2]  number of open connections of each user and each address
-- KEYS[3]  connection history
-- KEYS[4]  number of connections of the incarnation: in all, of a user, of an address (the last two if limited)
-- KEYS[5…] the same of the earlier incarnations, then of incarnations that are not known to be alive
-- ARGV[1]  INCARNATION/CONNECTION
-- ARGV[2]  its facts, JSON
-- ARGV[3]  its user, '' for none
-- ARGV[4]  its address
-- ARGV[5], ARGV[6], ARGV[7]  most connections: in all, of a user, of an address; 0 is no limit
-- ARGV[8]  the event as history keeps it
-- ARGV[9], ARGV[10]  history: most entries, most milliseconds
-- ARGV[11] "ask"; or "in" for a connection that was admitted before: limits do not apply
-- ARGV[12] milliseconds for which the counts of an incarnation are kept after its last new connection
-- ARGV[13…] INCARNATION/CONNECTION of the earlier incarnations
--
-- Returns the name of the limit that is reached, or false.
--
-- A node that was away for too long admits its connections again. A connection that no other node has removed
-- meanwhile moves to the new incarnation, without an event. Connections of an incarnation that is not known to
-- be alive do not count, since its clients reconnect elsewhere. They stay stored until the incarnation is dead.

local open, counts, history, mine = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local user, address = 'user:' .. ARGV[3], 'address:' .. ARGV[4]
local lives_before = #ARGV - 12
local of_life = {'all'}
if ARGV[3] ~= '' and tonumber(ARGV[6]) > 0 then of_life[#of_life + 1] = user end
if tonumber(ARGV[7]) > 0 then of_life[#of_life + 1] = address end

local function one_more(key, field)
  if redis.call('HINCRBY', key, field, 1) < 1 then redis.call('HSET', key, field, 1) end
end

local function one_more_of_life()
  for _, field in ipairs(of_life) do one_more(mine, field) end
  redis.call('PEXPIRE', mine, ARGV[12])
end

local function one_less_of_life(life)
  for _, field in ipairs({'all', user, address}) do
    if redis.call('HEXISTS', life, field) == 1 and redis.call('HINCRBY', life, field, -1) <= 0 then
      redis.call('HDEL', life, field)
    end
  end
end

local function reached(count, field, limit)
  count, limit = tonumber(count or 0), tonumber(limit)
  if limit == 0 or count < limit then return false end
  for i = 5 + lives_before, #KEYS do
    count = count - tonumber(redis.call('HGET', KEYS[i], field) or 0)
  end
  return count >= limit
end

if redis.call('HEXISTS', open, ARGV[1]) == 1 then return false end
for i = 1, lives_before do
  if redis.call('HDEL', open, ARGV[12 + i]) == 1 then
    redis.call('HSET', open, ARGV[1], ARGV[2])
    one_less_of_life(KEYS[4 + i])
    one_more_of_life()
    return false
  end
end
if ARGV[11] == 'ask' then
  if reached(redis.call('HLEN', open), 'all', ARGV[5]) then return 'max_connections' end
  if ARGV[3] ~= '' and reached(redis.call('HGET', counts, user), user, ARGV[6]) then
    return 'max_connections_per_user'
  end
  if reached(redis.call('HGET', counts, address), address, ARGV[7]) then return 'max_connections_per_ip' end
end

redis.call('HSET', open, ARGV[1], ARGV[2])
if ARGV[3] ~= '' then one_more(counts, user) end
one_more(counts, address)
one_more_of_life()
redis.call('XADD', history, 'MAXLEN', ARGV[9], '*', 'e', ARGV[8])
redis.call('PEXPIRE', history, ARGV[10])
return false
