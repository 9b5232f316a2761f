-- Tries the leader lock ($1), and tells who has it: {got, holder, name}; `holder` is null where nobody has it.
with attempt as materialized (select pg_try_advisory_lock($1::bigint) as got)
select attempt.got, lock.pid as holder, activity.application_name as name
from attempt
left join pg_locks lock
    on lock.locktype = 'advisory' and lock.granted and lock.objsubid = 1
    and lock.classid = ($1::bigint >> 32)::oid and lock.objid = ($1::bigint & 4294967295)::oid
    and lock.database = (select oid from pg_database where datname = current_database())
left join pg_stat_activity activity on activity.pid = lock.pid
limit 1
