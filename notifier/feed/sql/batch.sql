-- The changes of a batch, in the order in which they are published, by id and size; the size of what cannot
-- be a change is null.
--
-- $1, $2  lowest and highest transaction id of each range of the batch
-- $3  bytes of the largest change that there may be
-- $4  how many at most; null is all
--
-- A large one is read through a cursor; narrow, so that a million rows sort in memory. `offset 0` keeps the ranges outside:
-- else the planner may walk the whole outbox by id to save the sort. What a cast forged may be large in any
-- column, and no name has over 255 bytes. To ask for a length reads no value, however large.
select change.id, case when change.bytes <= $3::bigint then change.bytes end as bytes
from unnest($1::text[]::xid8[], $2::text[]::xid8[]) as range (low, high)
cross join lateral (
  select
    id,
    case when greatest(octet_length(schema_name), octet_length(table_name), octet_length(event)) <= 255
      then octet_length(data)::bigint + coalesce(octet_length(old), 0) end as bytes
  from realtime.outbox
  where xid >= range.low and xid <= range.high
  offset 0
) as change
order by change.id
limit $4::bigint
