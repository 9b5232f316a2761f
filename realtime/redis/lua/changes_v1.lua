-- Appends changes of the feed to a topic, exactly once. Begins with append_v1.lua.
--
-- KEYS[1]  meta hash of the topic
-- KEYS[2]  history stream of the topic
-- ARGV[1]  pub/sub channel of the topic
-- ARGV[2]  the mark that they continue, TOKEN:ID; '' is the beginning
-- ARGV[3]  token of the batch that they belong to
-- ARGV[4]  their outbox ids, ascending, joined by commas
-- ARGV[5]  the last of them
-- ARGV[6]  how many they are
-- ARGV[7]  the changes, one a line
-- ARGV[8]  epoch to begin with, if the topic has none
-- ARGV[9]  history: most entries
-- ARGV[10] history: most milliseconds
-- ARGV[11] history: most bytes
--
-- Returns {how many were new, ''}; {-1, the mark at which the topic stands} if they do not continue it.
--
-- A topic keeps the mark of what it took last. A notifier that crashed sends its batch again, cut as it
-- likes, and the topic takes only what lies beyond. Anything else means that Redis or the database is not
-- where it was: what lies between is lost, and the notifier has to say so.

local continued, token, count, lines = ARGV[2], ARGV[3], tonumber(ARGV[6]), ARGV[7]
local mark = redis.call('HGET', KEYS[1], 'mark') or ''

local skip = 0
if mark ~= continued then
  local taken_token, taken_id = string.match(mark, '^(.*):(%d+)$')
  local continued_token, continued_id = string.match(continued, '^(.*):(%d+)$')
  if taken_token ~= token then return {-1, mark} end
  if continued_token == token and tonumber(taken_id) < tonumber(continued_id) then return {-1, mark} end
  for id in string.gmatch(ARGV[4], '%d+') do
    if tonumber(id) > tonumber(taken_id) then break end
    skip = skip + 1
  end
end
if skip == count then return {0, ''} end

if skip > 0 then
  local start = 1
  for _ = 1, skip do start = string.find(lines, '\n', start, true) + 1 end
  lines = string.sub(lines, start)
end

local topic = read_topic(KEYS[1], KEYS[2], ARGV[1], ARGV[8])
append(topic, count - skip, lines, tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]))
redis.call('HSET', KEYS[1], 'mark', token .. ':' .. ARGV[5])
redis.call('PERSIST', KEYS[1])
return {count - skip, ''}
