-- All columns of the changes with these ids.
--
-- $1  ids, ascending
-- $2  whether the database tracks commit times
select
  id, schema_name, table_name, event, data, old, truncated,
  to_char(
    coalesce(case when $2 then pg_xact_commit_timestamp(xid::xid) end, at) at time zone 'UTC',
    'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
  ) as committed_at
from realtime.outbox
where id = any ($1::bigint[])
order by id
