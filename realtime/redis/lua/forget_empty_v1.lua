-- Forgets a topic that nothing was ever published to.
--
-- KEYS[1]  meta hash of the topic
--
-- Returns 1 if it was forgotten. Whoever is subscribed to it notices nothing; who comes back to it with the
-- position that it had is not `recovered`.

if redis.call('HEXISTS', KEYS[1], 'offset') == 1 then return 0 end
return redis.call('DEL', KEYS[1])
