-- Stores the next batch, which reaches up to the snapshot of this statement, and returns its changes if they are few
-- and small. One row at least; its first columns are null in all rows but the first.
--
-- $1  ctid of the feed's row
-- $2  token of the batch that was published last
-- $3  token of the next batch
-- $4  the snapshot up to which the last batch reaches
-- $5, $6  topics of which the last batch had changes, and the checkpoint of each
-- $7  most changes to return; -1 returns none, and reads nothing but lengths
-- $8  most bytes to return
-- $9  whether the database tracks commit times
--
-- A batch is stored before it is published: after a crash the same batch is read again, with the same rows in the
-- same order. This is a compare-and-swap on ctid and token: a former leader cannot store a batch, and learns from
-- `found` that another session moved the feed.
--
-- The statement has one snapshot, so what is returned is what the stored snapshot sees, as `batch` and `changes` would
-- read it. A batch that has more changes, or a row that cannot be a change, is stored and not returned: `is_whole` is
-- false, and it is read by `batch` and `changes`. No column is read before its length is known, except from rows that
-- are returned. Each snapshot is parsed once, however many transactions run.
with this as materialized (
  select pg_current_snapshot() as snapshot, $4::text::pg_snapshot as earlier
), range as materialized (
  -- Transactions that ran at the last snapshot and have finished, and all newer ones that do not run now.
  select xid as low, xid as high
  from this, pg_snapshot_xip(earlier) as xid
  where pg_visible_in_snapshot(xid, snapshot)
  union all
  select low::text::xid8, high::text::xid8
  from (
    select
      greatest(
        1 + lag(xid) over (order by xid), (select pg_snapshot_xmax(earlier)::text::bigint from this)
      ) as low,
      xid - 1 as high
    from (
      select xid::text::bigint as xid from this, pg_snapshot_xip(snapshot) as xid
      union all
      select pg_snapshot_xmax(snapshot)::text::bigint from this
    ) as hole_or_end
  ) as gap
  where low <= high
), few as materialized (
  select change.*
  from range
  cross join lateral (
    select
      id, xid, schema_name, table_name, event, data, old, truncated, at,
      case when greatest(octet_length(schema_name), octet_length(table_name), octet_length(event)) <= 255
        then octet_length(data)::bigint + coalesce(octet_length(old), 0) end as bytes
    from realtime.outbox
    where xid >= range.low and xid <= range.high
    offset 0
  ) as change
  limit greatest($7::bigint, 0) + 1
), size as materialized (
  select min(id) as first, count(*) <= $7 and sum(bytes) <= $8::bigint and bool_and(bytes is not null) as is_whole
  from few
), moved as (
  update realtime.feed
  set batch = batch + 1, token = $3, s1 = s2, s2 = (select snapshot from this)
  where ctid = $1 and token = $2 and exists (select from few)
  returning ctid
), noted as (
  insert into realtime.mark (topic, mark)
  select topic, mark from unnest($5::text[], $6::text[]) as move (topic, mark), moved
)
select
  head.*,
  id, schema_name, table_name, event, data, old, truncated,
  to_char(
    coalesce(case when $9 then pg_xact_commit_timestamp(xid::xid) end, at) at time zone 'UTC',
    'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
  ) as committed_at
from size
left join few on is_whole
left join lateral (
  select
    (select ctid from moved) as moved_to,
    (select left(token, 300) from realtime.feed where ctid = $1) as found,
    (select snapshot::text from this) as snapshot,
    coalesce(is_whole, false) as is_whole
) as head on id is null or id = first
order by id
