-- Moves the feed one batch on, if the new snapshot sees any change that the last one did not.
--
-- $1  number of the batch that was published last
-- $2  the snapshot up to which the next one reaches
-- $3, $4  lowest and highest transaction id of each range between the two
--
-- Stored before it is published: after a crash the same batch is read again, with the same rows in the same
-- order. Compare-and-swap on the number, so that a notifier which lost its place cannot move it; it learns so
-- from the number that it finds.
with moved as (
  update realtime.feed
  set batch = batch + 1, s1 = s2, s2 = $2::text::pg_snapshot
  where batch = $1
    and exists (
      select
      from unnest($3::text[]::xid8[], $4::text[]::xid8[]) as range (low, high)
      cross join lateral (
        select from realtime.outbox where xid >= range.low and xid <= range.high limit 1
      ) as change
    )
  returning batch
)
select exists (select from moved) as moved, (select batch from realtime.feed) as found
