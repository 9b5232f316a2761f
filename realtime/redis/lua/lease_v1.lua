-- Renews, takes or gives up the lease of one project, and returns its holder after that.
--
-- KEYS[1]  the lease: JSON with its `holder`; expires unless it is renewed
-- ARGV[1]  id of the notifier that calls
-- ARGV[2]  'take': replace any holder; 'renew': keep it, or take a free lease; 'leave': give up its own lease
-- ARGV[3]  the new text of the lease
-- ARGV[4]  milliseconds until it expires
--
-- Returns the holder, '' for a lease without a name, or false for no holder. A text that is no JSON has no holder.

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
