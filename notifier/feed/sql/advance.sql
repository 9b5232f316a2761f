-- Moves the feed one batch on, if the new snapshot sees any change that the last one did not.
--
-- $1  where the feed's row is
-- $2  token of the batch that was published last
-- $3  token of the next one
-- $4  the snapshot up to which it reaches
-- $5, $6  lowest and highest transaction id of each range between the two
-- $7, $8  topics that the last batch moved, and the mark of each
--
-- Stored before it is published: after a crash the same batch is read again, with the same rows in the same
-- order. Compare-and-swap on place and token, so that a notifier which lost its place cannot move it; it
-- learns so from what it finds there.
with moved as (
  update realtime.feed
  set batch = batch + 1, token = $3, s1 = s2, s2 = $4::text::pg_snapshot
  where ctid = $1 and token = $2
    and exists (
      select
      from unnest($5::text[]::xid8[], $6::text[]::xid8[]) as range (low, high)
      cross join lateral (
        select from realtime.outbox where xid >= range.low and xid <= range.high limit 1
      ) as change
    )
  returning ctid
), noted as (
  insert into realtime.mark (topic, mark)
  select topic, mark from unnest($7::text[], $8::text[]) as move (topic, mark), moved
)
select
  (select ctid from moved) as moved_to,
  (select left(token, 300) from realtime.feed where ctid = $1) as found
