-- The sessions that hold locks on relations of schema realtime, except locks of readers, three at most.
select format('role %s (pid %s, %L)', usename, activity.pid, application_name) as session
from pg_stat_activity as activity
where activity.pid <> pg_backend_pid() and exists (
    select from pg_locks as lock join pg_class on pg_class.oid = relation
    where lock.pid = activity.pid and granted and relnamespace = to_regnamespace('realtime')
      and database = (select oid from pg_database where datname = current_database())
      and mode not in ('AccessShareLock', 'RowShareLock')
)
order by activity.pid
limit 3
