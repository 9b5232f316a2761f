-- The ctid of the feed's row and who leads: {ctid, former_lock, pid, name}; `pid` is null if no session leads.
--
-- $1  the lock by which notifiers of schema version 3 and before lead
--
-- The session that the row names leads as long as it holds the lock that the row names. An older notifier leads by
-- the old lock, which counts only if a session of our own role holds it, since any role may take it.
select feed.ctid, feed.leader_lock as former_lock, leader.pid, leader.name
from realtime.feed
left join lateral (
  select session.pid, session.application_name as name
  from pg_locks as lock join pg_stat_activity as session on session.pid = lock.pid
  where lock.locktype = 'advisory' and lock.objsubid = 1 and lock.granted and lock.mode = 'ExclusiveLock'
    and lock.database = (select oid from pg_database where datname = current_database())
    and (
      (session.pid, session.usesysid, lock.classid::bigint << 32 | lock.objid::bigint)
        = (feed.leader_pid, feed.leader_role, feed.leader_lock)
      or (session.usesysid, lock.classid::bigint << 32 | lock.objid::bigint)
        = ((select oid from pg_roles where rolname = session_user), $1::bigint)
        and session.application_name ^@ 'realtime notifier' and session.pid <> pg_backend_pid()
    )
  limit 1
) as leader on true
