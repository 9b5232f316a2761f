-- Appends messages of clients to a topic. Begins with reign_v1.lua and
-- append_v1.lua.
--
-- KEYS[1]  meta hash of the topic
-- KEYS[2]  history stream of the topic
-- KEYS[3]  pub/sub channel of the topic
-- ARGV[1]  how many they are
-- ARGV[2]  the messages, one a line
-- ARGV[3]  epoch to begin with, if the topic has none
-- ARGV[4]  history: most entries
-- ARGV[5]  history: most milliseconds
-- ARGV[6]  history: most bytes
-- ARGV[7]  milliseconds that epoch and offset outlive the last message
--
-- Returns the offset of the last message.

local now = reign()
forget_other_reigns(now, KEYS[1], KEYS[2])
local topic = read_topic(KEYS[1], KEYS[2], KEYS[3], ARGV[3] .. now)
append(topic, tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return topic.offset
