-- Begins the feed of this database with what is committed from now on; what was captured before goes.
--
-- $1  token of the batch, which is empty
--
-- To be run in a transaction of one snapshot, so that what goes is what the feed says was read.
with fresh as (
  update realtime.feed
  set batch = batch + 1, token = $1, s1 = pg_current_snapshot(), s2 = pg_current_snapshot()
), forgotten as (
  delete from realtime.mark
)
delete from realtime.outbox
