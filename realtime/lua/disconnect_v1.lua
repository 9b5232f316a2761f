-- Takes a connection out of a project and writes its end into the connection history, once.
--
-- KEYS[1]  open connections
-- KEYS[2]  how many of them a user and an address have
-- KEYS[3]  connection history
-- ARGV[1]  LIFE/CONNECTION
-- ARGV[2]  the same on the life before, where it may still stand
-- ARGV[3]  its user, '' for none
-- ARGV[4]  its address
-- ARGV[5]  the event as history keeps it
-- ARGV[6], ARGV[7]  history: most entries, most milliseconds
--
-- Returns 1 if it was there; whoever takes it out writes its end, and nobody else.

local open, counts, history = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HDEL', open, ARGV[1], ARGV[2]) == 0 then return 0 end
local function one_less(field)
  if redis.call('HINCRBY', counts, field, -1) <= 0 then redis.call('HDEL', counts, field) end
end
if ARGV[3] ~= '' then one_less('user:' .. ARGV[3]) end
one_less('address:' .. ARGV[4])
redis.call('XADD', history, 'MAXLEN', ARGV[6], '*', 'e', ARGV[5])
redis.call('PEXPIRE', history, ARGV[7])
return 1
