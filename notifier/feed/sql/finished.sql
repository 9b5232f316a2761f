-- Deletes some of the rows that were published before the current batch.
--
-- $1, $2  lowest and highest transaction id of each range that may have rows
-- $3  most rows
--
-- Deletes by ctid, which saves another look-up of each row: these rows are never updated, and our snapshot keeps
-- their ctids valid.
delete from realtime.outbox
where ctid = any (array(
  select change.ctid
  from unnest($1::text[]::xid8[], $2::text[]::xid8[]) as range (low, high)
  cross join lateral (
    select ctid from realtime.outbox where xid >= range.low and xid <= range.high limit $3
  ) as change
  limit $3
))
