-- Begins the feed of this database with what is committed from now on; deletes all changes captured before.
--
-- $1  token of the batch, which is empty
--
-- Run it in a transaction of one snapshot: then it deletes what the new snapshot of the feed sees.
with fresh as (
  update realtime.feed
  set batch = batch + 1, token = $1, s1 = pg_current_snapshot(), s2 = pg_current_snapshot()
), forgotten as (
  delete from realtime.mark
)
delete from realtime.outbox
