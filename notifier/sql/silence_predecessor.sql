-- Ends the sessions that hold or await lock K ($1) exclusively, in this database. Only the leader may; whoever was
-- it before, and is frozen, would keep the writers from ringing for the next one.
select pg_terminate_backend(pid)
from pg_locks
where locktype = 'advisory' and objsubid = 1 and mode = 'ExclusiveLock'
    and classid = ($1::bigint >> 32)::oid and objid = ($1::bigint & 4294967295)::oid
    and database = (select oid from pg_database where datname = current_database())
    and pid <> pg_backend_pid()
