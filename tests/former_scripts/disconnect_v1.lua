-- Takes a connection out of a project and writes its end into the connection history, once.
--
-- KEYS[1]  open connections
-- KEYS[2]  how many of them a user and an address have
-- KEYS[3]  connection history
-- ARGV[1]  LIFE/CONNECTION
-- ARGV[2]  its user, '' for none
-- ARGV[3]  its address
-- ARGV[4]  the event as history keeps it
-- ARGV[5], ARGV[6]  history: most entries, most milliseconds
-- ARGV[7…] LIFE/CONNECTION on the lives before, where it may still stand
--
-- Returns 1 if it was there; whoever takes it out writes its end, and nobody else.

local open, counts, history = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HDEL', open, ARGV[1], unpack(ARGV, 7)) == 0 then return 0 end
local function one_less(field)
  if redis.call('HINCRBY', counts, field, -1) <= 0 then redis.call('HDEL', counts, field) end
end
if ARGV[2] ~= '' then one_less('user:' .. ARGV[2]) end
one_less('address:' .. ARGV[3])
redis.call('XADD', history, 'MAXLEN', ARGV[5], '*', 'e', ARGV[4])
redis.call('PEXPIRE', history, ARGV[6])
return 1
