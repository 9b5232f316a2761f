-- Where the feed stands, in which database, and whether that is the one in which it was stored.
--
-- A database that was restored from a dump, or was copied, has the feed of another; what its snapshots
-- say means nothing here. Of one that went back as a whole they are right.
-- Of a text no more is read than this program may have written: whoever owns the schema may put anything there.
select
  feed.ctid as place, batch, left(token, 300) as token,
  left(s1::text, 4194304) as s1, left(s2::text, 4194304) as s2,
  feed.system_identifier is not null
    and ((feed.system_identifier, feed.database_oid) is distinct from (here.system_identifier, here.database_oid)
         or pg_snapshot_xmax(s2) > pg_snapshot_xmax(pg_current_snapshot())) as elsewhere,
  current_setting('track_commit_timestamp')::bool as commit_times
from realtime.feed, (
  select
    (select system_identifier::text from pg_control_system()) as system_identifier,
    (select oid from pg_database where datname = current_database()) as database_oid
) as here
