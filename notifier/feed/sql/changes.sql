-- All columns of the changes in these places.
--
-- $1  ctids
-- $2  whether the database tracks commit times
--
-- By ctid, since no index finds an id. The rows are never updated, and the rows of a batch are deleted after it has been
-- published. VACUUM FULL moves rows, so the reader compares the ids.
select
  id, schema_name, table_name, event, data, old, truncated,
  to_char(
    coalesce(case when $2 then pg_xact_commit_timestamp(xid::xid) end, at) at time zone 'UTC',
    'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
  ) as committed_at
from realtime.outbox
where ctid = any ($1::tid[])
order by id
