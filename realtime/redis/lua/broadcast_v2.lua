-- Appends messages of clients to a topic. Begins with reign_v1.lua and append_v2.lua.
--
-- KEYS[1]  meta hash of the topic
-- KEYS[2]  history stream of the topic
-- ARGV[1]  pub/sub channel of the topic
-- ARGV[2]  number of messages
-- ARGV[3]  the messages, one a line
-- ARGV[4]  epoch to begin with, if the topic has none
-- ARGV[5]  history: most entries
-- ARGV[6]  history: most milliseconds
-- ARGV[7]  history: most bytes
-- ARGV[8]  milliseconds for which epoch and offset are kept after the last message
--
-- Returns {offset of the last message, bytes of the history now}.

local now = reign()
local topic = read_topic()
if is_of_other_reign(topic.epoch, now) then
  redis.call('DEL', KEYS[1], KEYS[2])
  topic = {}
end
local last, bytes = append(topic, ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] .. now,
  tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]))
redis.call('PEXPIRE', KEYS[1], ARGV[8])
return {last, bytes}
