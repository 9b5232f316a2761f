-- Changes who is present under one topic and publishes the changes, as one step. Begins with reign_v1.lua.
--
-- KEYS[1]  members hash of the topic: INCARNATION/CONNECTION → entry
-- KEYS[2]  meta hash of the topic
-- ARGV[1]  pub/sub channel of the topic
-- ARGV[2]  epoch to begin with, if the topic has none
-- ARGV[3]  milliseconds for which the topic is kept without a call
-- ARGV[4]  milliseconds for which an empty topic is kept
-- ARGV[5…] three for each change: "set" or "remove", the field, the entry ('' to remove); none renews the topic
--
-- A line is its kind (J join, U update, L leave), the field, a space and the entry. Only the caller that removes
-- a field announces the leave: so each leave is announced once, however many nodes clean up after a dead one.
--
-- Clients may be present under any name for a moment, so an empty topic expires soon. The next join begins another
-- epoch at 1, and a subscriber that saw the last leave knows that it missed nothing.

local members, meta, channel = KEYS[1], KEYS[2], ARGV[1]
local lines = {}
for i = 5, #ARGV, 3 do
  local action, field, entry = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if action == 'set' then
    local kind = redis.call('HSET', members, field, entry) == 1 and 'J' or 'U'
    lines[#lines + 1] = kind .. field .. ' ' .. entry
  else
    local last = redis.call('HGET', members, field)
    if last then
      redis.call('HDEL', members, field)
      lines[#lines + 1] = 'L' .. field .. ' ' .. last
    end
  end
end

local is_empty = redis.call('EXISTS', members) == 0
if is_empty and #lines == 0 then return end

local now = reign()
forget_other_reigns(now, meta)
redis.call('HSETNX', meta, 'epoch', ARGV[2] .. now)
if #lines > 0 then
  local stood = redis.call('HMGET', meta, 'epoch', 'offset')
  local first = string.format('%.0f', tonumber(stood[2] or 0) + 1)
  redis.call('HINCRBY', meta, 'offset', #lines)
  redis.call('SPUBLISH', channel, stood[1] .. ' ' .. first .. '\n' .. table.concat(lines, '\n'))
end
redis.call('PEXPIRE', members, ARGV[3])
redis.call('PEXPIRE', meta, is_empty and ARGV[4] or ARGV[3])
