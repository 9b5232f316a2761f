-- What scripts begin with whose topics have nothing behind them but Redis; never called alone.
--
-- A server's replication id is another one after it restarted and after a replica took its place. What was
-- said last may be lost then, and its numbers are given again. So the epochs of such topics end with the
-- beginning of that id, the reign, and under another one the topic begins anew: subscribers learn it.

-- Returns the reign; '' where Redis does not tell.
local function reign()
  local answer = redis.pcall('INFO', 'replication')
  if type(answer) ~= 'string' then return '' end
  return string.match(answer, 'master_replid:(%x%x%x%x%x%x%x%x)') or ''
end

-- Forgets the keys of a topic whose epoch, in the first of them, began under another reign than `now`.
local function forget_other_reigns(now, meta_key, ...)
  local epoch = redis.call('HGET', meta_key, 'epoch')
  if now ~= '' and epoch and string.sub(epoch, 13) ~= now then redis.call('DEL', meta_key, ...) end
end
