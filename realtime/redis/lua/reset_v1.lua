-- Begins a table's topic anew, after changes were lost between Postgres and Redis.
--
-- KEYS[1]  meta hash of the topic
-- KEYS[2]  history stream of the topic
-- ARGV[1]  pub/sub channel of the topic
-- ARGV[2]  the mark at which it was found, '' for none; elsewhere by now, nothing happens
-- ARGV[3]  the mark at which it stands from here on
-- ARGV[4]  the new epoch
--
-- Returns 1 if it was done.
--
-- What is published is a publication without a message: by its epoch gateways know that they missed something.

if (redis.call('HGET', KEYS[1], 'mark') or '') ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'epoch', ARGV[4], 'offset', '0')
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'mark', ARGV[3]) end
redis.call('SPUBLISH', ARGV[1], ARGV[4] .. ' 1')
return 1
