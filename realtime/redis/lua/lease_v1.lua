-- Renews, takes or gives up the lease of one project, and tells whose it is then.
--
-- KEYS[1]  the lease: JSON with its `holder`; disappears when it is not renewed
-- ARGV[1]  who asks
-- ARGV[2]  'take' it from whoever has it, 'renew' it or take it from nobody, 'leave' it, and give it up
-- ARGV[3]  its new text
-- ARGV[4]  for so many ms
--
-- Returns the holder, '' for one that does not tell its name, or false for nobody. What is no JSON is nobody's.

local text = redis.call('GET', KEYS[1])
local is_json, lease = pcall(cjson.decode, text or '')
local holder = false
if is_json and type(lease) == 'table' then
  holder = type(lease.holder) == 'string' and lease.holder or ''
end

if ARGV[2] == 'leave' then
  if holder == ARGV[1] then
    redis.call('DEL', KEYS[1])
    return false
  end
elseif ARGV[2] == 'take' or not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
  return ARGV[1]
end
return holder
