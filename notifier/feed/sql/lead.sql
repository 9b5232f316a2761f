-- Makes this session the leader, unless the feed's row has moved since it was seen that nobody leads.
--
-- $1, $2  where the row was, and the lock of who led before
-- $3  the lock that this session holds
-- $4  the lock by which notifiers of schema version 3 and before lead: one that got it meanwhile leads
--
-- The row moves, so a former leader that does not know yet that it is one can store no batch.
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
