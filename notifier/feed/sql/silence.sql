-- Silences the bell for a while; nothing happens where another has become leader.
--
-- $1  the leader's lock
-- $2  for so many seconds
select setval('realtime.silent_until', ceil(extract(epoch from clock_timestamp()))::bigint + $2::bigint)
from realtime.feed where leader_lock = $1
