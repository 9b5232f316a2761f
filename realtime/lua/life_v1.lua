-- Begins or renews a node's life. Begins with reign_v1.lua.
--
-- KEYS[1]  the life's key
-- ARGV[1]  the node's report
-- ARGV[2]  milliseconds that the life lasts
-- ARGV[3]  "begin" or "renew"
-- ARGV[4]  the reign under which the life to be renewed began
--
-- Returns the reign; false where the life has run out, or began under another reign: then Redis may have
-- lost who came and went since, so that the life is left to run out.

local now = reign()
if ARGV[3] == 'begin' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
elseif now ~= ARGV[4] or not redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'XX') then
  return false
end
return now
