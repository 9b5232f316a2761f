-- Appends changes of the feed to a topic, exactly once. Begins with append_v2.lua.
--
-- KEYS[1]  meta hash of the topic
-- KEYS[2]  history stream of the topic
-- ARGV[1]  pub/sub channel of the topic
-- ARGV[2]  the checkpoint that the changes continue, TOKEN:ID; '' for a topic without one
-- ARGV[3]  token of their batch
-- ARGV[4]  their outbox ids, ascending, joined by commas
-- ARGV[5]  the last id
-- ARGV[6]  number of changes
-- ARGV[7]  the changes, one a line
-- ARGV[8]  epoch to begin with, if the topic has none
-- ARGV[9]  history: most entries
-- ARGV[10] history: most milliseconds
-- ARGV[11] history: most bytes
--
-- Returns how many were new; the topic's checkpoint, a text, if the changes do not continue it.
--
-- The checkpoint of a topic names the last change that it accepted. After a crash, the notifier sends the batch
-- again, perhaps in other pieces, and the topic accepts only changes after its checkpoint. Any other difference
-- means that Redis or the database went back in time: changes are lost, and the notifier must reset the topic.

local continued, token, count, lines = ARGV[2], ARGV[3], tonumber(ARGV[6]), ARGV[7]
local topic = read_topic()
local mark = topic.mark or ''

local skip = 0
if mark ~= continued then
  local taken_token, taken_id = string.match(mark, '^(.*):(%d+)$')
  local continued_token, continued_id = string.match(continued, '^(.*):(%d+)$')
  if taken_token ~= token then return mark end
  if continued_token == token and tonumber(taken_id) < tonumber(continued_id) then return mark end
  for id in string.gmatch(ARGV[4], '%d+') do
    if tonumber(id) > tonumber(taken_id) then break end
    skip = skip + 1
  end
end
if skip == count then return 0 end

if skip > 0 then
  local start = 1
  for _ = 1, skip do start = string.find(lines, '\n', start, true) + 1 end
  lines = string.sub(lines, start)
end

append(topic, ARGV[1], count - skip, lines, ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]),
  'mark', token .. ':' .. ARGV[5])
-- Only a topic without publications may expire.
if not topic.offset then redis.call('PERSIST', KEYS[1]) end
return count - skip
