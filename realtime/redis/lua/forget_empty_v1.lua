-- Deletes a topic to which nothing was ever published.
--
-- KEYS[1]  meta hash of the topic
--
-- Returns 1 if it was deleted. Subscribers of the topic notice nothing; a client that returns with the position
-- that the topic had is not `recovered`.

if redis.call('HEXISTS', KEYS[1], 'offset') == 1 then return 0 end
return redis.call('DEL', KEYS[1])
