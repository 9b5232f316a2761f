-- Begins a new epoch of a table's topic, after changes were lost between Postgres and Redis.
--
-- KEYS[1]  meta hash of the topic
-- KEYS[2]  history stream of the topic
-- ARGV[1]  pub/sub channel of the topic
-- ARGV[2]  the checkpoint that was found, '' for none; if the topic has another one now, nothing happens
-- ARGV[3]  the new checkpoint
-- ARGV[4]  the new epoch
--
-- Returns 1 if the topic was reset.
--
-- It publishes a publication without a message: its epoch shows gateways that they missed something.

if (redis.call('HGET', KEYS[1], 'mark') or '') ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'epoch', ARGV[4], 'offset', '0')
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'mark', ARGV[3]) end
redis.call('SPUBLISH', ARGV[1], ARGV[4] .. ' 1')
return 1
