-- Makes this session the leader, unless the feed's row has changed since it showed no leader.
--
-- $1, $2  ctid of the row, and the lock of the former leader
-- $3  the lock that this session holds
-- $4  the lock by which notifiers of schema version 3 and before lead: a notifier that took it meanwhile leads
--
-- The update changes the ctid of the row, so a former leader can store no batch, even before it knows of its loss.
update realtime.feed
set
  leader_pid = pg_backend_pid(),
  leader_role = (select oid from pg_roles where rolname = session_user),
  leader_lock = $3
where ctid = $1 and leader_lock is not distinct from $2
  and not exists (
    select from pg_locks as lock join pg_stat_activity as session on session.pid = lock.pid
    where lock.locktype = 'advisory' and lock.objsubid = 1 and lock.granted
      and lock.database = (select oid from pg_database where datname = current_database())
      and (lock.classid::bigint << 32 | lock.objid::bigint) = $4::bigint
      and session.usesysid = (select oid from pg_roles where rolname = session_user)
      and session.application_name ^@ 'realtime notifier'
      and session.pid <> pg_backend_pid()
  )
returning true
