-- Reads a page of a topic's history: publications as they went out, in order.
--
-- KEYS[1]  history stream of the topic
-- ARGV[1]  the offset with which the page begins, or which its first publication contains
-- ARGV[2]  the last offset that is wanted; the publication that contains it is the last one
-- ARGV[3]  bytes after which the page is full; the publication that fills it is the last one
--
-- Returns a list of publications, empty if history has nothing in this range.
--
-- XRANGE limits entries, not bytes, and an entry has from a hundred bytes to some megabytes. So few entries are
-- read at a time, by the average size of those read before.

local MOST_AT_ONCE = 16

local page, bytes, full, last = {}, 0, tonumber(ARGV[3]), tonumber(ARGV[2])
local start, count = ARGV[1] .. '-0', 1
while true do
  local entries = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', count)
  for _, entry in ipairs(entries) do
    local publication = entry[2][2]
    page[#page + 1] = publication
    bytes = bytes + #publication
    if bytes >= full or tonumber(string.match(entry[1], '%d+')) >= last then return page end
  end
  if #entries < count then return page end
  start = '(' .. entries[#entries][1]
  count = math.min(MOST_AT_ONCE, math.max(1, math.floor((full - bytes) / bytes * #page)))
end
