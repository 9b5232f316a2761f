-- The changes of a batch, in the order in which they are published, by id and size.
--
-- $1, $2  lowest and highest transaction id of each range of the batch
-- $3  how many at most; null is all
--
-- A large one is read through a cursor; narrow, so that a million rows sort in memory. `offset 0` keeps the ranges outside:
-- else the planner may walk the whole outbox by id to save the sort.
select change.id, change.bytes
from unnest($1::text[]::xid8[], $2::text[]::xid8[]) as range (low, high)
cross join lateral (
  select id, octet_length(data) + coalesce(octet_length(old), 0) as bytes
  from realtime.outbox
  where xid >= range.low and xid <= range.high
  offset 0
) as change
order by change.id
limit $3::bigint
