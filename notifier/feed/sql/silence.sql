-- Silences the doorbell for some time; does nothing if another session has become leader.
--
-- $1  the leader's lock
-- $2  seconds
select setval('realtime.silent_until', ceil(extract(epoch from clock_timestamp()))::bigint + $2::bigint)
from realtime.feed where leader_lock = $1
