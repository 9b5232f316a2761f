-- Ids, sizes and ctids of the changes of a batch, in the order in which they are published. A row that cannot be a
-- change has no size.
--
-- $1, $2  lowest and highest transaction id of each range of the batch
-- $3  bytes of the largest change that is allowed
-- $4  most rows; null is all
--
-- A large batch is read through a cursor; the rows are narrow, so that a million of them sort in memory. `offset 0`
-- keeps the ranges outside: otherwise the planner may scan the whole outbox by id to save the sort. A row that was
-- forged with a cast may be large in any column; no name has over 255 bytes. A length is read without its value.
select change.id, case when change.bytes <= $3::bigint then change.bytes end as bytes, change.ctid
from unnest($1::text[]::xid8[], $2::text[]::xid8[]) as range (low, high)
cross join lateral (
  select
    id, ctid,
    case when greatest(octet_length(schema_name), octet_length(table_name), octet_length(event)) <= 255
      then octet_length(data)::bigint + coalesce(octet_length(old), 0) end as bytes
  from realtime.outbox
  where xid >= range.low and xid <= range.high
  offset 0
) as change
order by change.id
limit $4::bigint
