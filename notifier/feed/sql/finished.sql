-- Deletes a piece of what was published before the current batch.
--
-- $1, $2  lowest and highest transaction id of each range that may have rows
-- $3  how many rows at most
--
-- By ctid, which saves looking each row up again: nobody updates these rows, and our snapshot keeps them in place.
delete from realtime.outbox
where ctid = any (array(
  select change.ctid
  from unnest($1::text[]::xid8[], $2::text[]::xid8[]) as range (low, high)
  cross join lateral (
    select ctid from realtime.outbox where xid >= range.low and xid <= range.high limit $3
  ) as change
  limit $3
))
