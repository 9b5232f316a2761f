-- Sends a probe the way of every message, and tells the reign. Begins with reign_v1.lua.
--
-- KEYS[1]  pub/sub channel of the probe, and the name of a key that never is
--
-- Returns the reign.
--
-- A replica takes a PUBLISH and keeps it to itself; the write is refused by one.

redis.call('DEL', KEYS[1])
redis.call('PUBLISH', KEYS[1], '')
return reign()
