-- The backlog of the outbox: the number of changes that are not known to be published, and the age of the oldest.
--
-- $1  most changes to count
--
-- Ranges of transaction ids between those that are running now: a scan must not meet the rows of a long
-- transaction, nor the dead rows of the time since it began.
with published as (
  select s1, pg_current_snapshot() as now from realtime.feed
), edge as (
  select pg_snapshot_xmax(s1) as xid, true as counts, pg_snapshot_xmax(now) as last from published
  union all
  select running, false, pg_snapshot_xmax(now)
  from published, pg_snapshot_xip(now) as running where running >= pg_snapshot_xmax(s1)
), range as (
  select xid as low, lead(xid, 1, last) over (order by xid, counts desc) as high, counts from edge
), waiting as (
  select change.at
  from range cross join lateral (
    select at from realtime.outbox where range.counts and xid >= range.low and xid < range.high
    union all
    select at from realtime.outbox where not range.counts and xid > range.low and xid < range.high
  ) as change
  union all
  select outbox.at
  from published, pg_snapshot_xip(s1) as late, realtime.outbox
  where pg_visible_in_snapshot(late, now) and outbox.xid = late
)
select count(*) as pending, coalesce(extract(epoch from clock_timestamp() - min(at)), 0)::float8 as lag_seconds
from (select at from waiting limit $1) as counted
