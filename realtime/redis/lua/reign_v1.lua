-- Functions of scripts whose topics are stored in Redis alone. Those scripts begin with this text; it is never
-- called alone.
--
-- A server gets another replication id when it restarts or when a replica is promoted. The last publications may
-- be lost then, and their offsets are used again. So the epochs of such topics end with the first characters
-- of the replication id. Under another replication id the topic begins a new epoch, and subscribers learn of it.

-- Returns the first characters of the replication id; '' if Redis does not report it.
local function reign()
  local answer = redis.pcall('INFO', 'replication')
  if type(answer) ~= 'string' then return '' end
  return string.match(answer, 'master_replid:(%x%x%x%x%x%x%x%x)') or ''
end

-- Whether an epoch began under another replication id than `now`.
local function is_of_other_reign(epoch, now)
  return now ~= '' and epoch and string.sub(epoch, 13) ~= now
end

-- Deletes the keys of a topic whose epoch, in the first key, began under another replication id than `now`.
local function forget_other_reigns(now, meta_key, ...)
  if is_of_other_reign(redis.call('HGET', meta_key, 'epoch'), now) then redis.call('DEL', meta_key, ...) end
end
