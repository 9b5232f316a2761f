-- Stores the next batch, if the new snapshot sees any change that the last one did not.
--
-- $1  ctid of the feed's row
-- $2  token of the batch that was published last
-- $3  token of the next batch
-- $4  the snapshot up to which the next batch reaches
-- $5, $6  lowest and highest transaction id of each range between the two snapshots
-- $7, $8  topics of which the last batch had changes, and the checkpoint of each
--
-- A batch is stored before it is published: after a crash the same batch is read again, with the same rows in the
-- same order. This is a compare-and-swap on ctid and token: a former leader cannot store a batch, and learns from
-- `found` that another session moved the feed.
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
