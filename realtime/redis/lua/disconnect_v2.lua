-- Removes a connection from a project and adds its end to the connection history, once.
--
-- KEYS[1]  open connections
-- KEYS[2]  number of open connections of each user and each address
-- KEYS[3]  connection history
-- KEYS[4…] number of connections of the incarnation, and of each earlier one; see connect_v2.lua
-- ARGV[1]  its user, '' for none
-- ARGV[2]  its address
-- ARGV[3]  the event as history keeps it
-- ARGV[4], ARGV[5]  history: most entries, most milliseconds
-- ARGV[6…] INCARNATION/CONNECTION, and those of earlier incarnations, where it may still be stored
--
-- Returns 1 if the connection was stored. Only the caller that removes it adds its end to history.

local open, counts, history = KEYS[1], KEYS[2], KEYS[3]
local user, address = 'user:' .. ARGV[1], 'address:' .. ARGV[2]
local function one_less(key, field)
  if redis.call('HEXISTS', key, field) == 1 and redis.call('HINCRBY', key, field, -1) <= 0 then
    redis.call('HDEL', key, field)
  end
end

local was_there = false
for i = 6, #ARGV do
  if redis.call('HDEL', open, ARGV[i]) == 1 then
    was_there = true
    for _, field in ipairs({'all', user, address}) do one_less(KEYS[i - 2], field) end
  end
end
if not was_there then return 0 end

one_less(counts, user)
one_less(counts, address)
-- Without open connections there are no counts; this also corrects wrong counts.
if redis.call('EXISTS', open) == 0 then redis.call('DEL', counts) end
redis.call('XADD', history, 'MAXLEN', ARGV[4], '*', 'e', ARGV[3])
redis.call('PEXPIRE', history, ARGV[5])
return 1
