-- The row of the feed, and whether it was stored in another database.
--
-- A database that was restored from a dump, or copied, has the feed of another database, whose snapshots mean
-- nothing here. In a database that went back in time as a whole, the snapshots are valid.
-- Of each text, no more is read than this program may have written: the owner of the schema may store any text.
select
  feed.ctid, batch, left(token, 300) as token,
  left(s1::text, 4194304) as s1, left(s2::text, 4194304) as s2,
  feed.system_identifier is not null
    and ((feed.system_identifier, feed.database_oid) is distinct from (here.system_identifier, here.database_oid)
         or pg_snapshot_xmax(s2) > pg_snapshot_xmax(pg_current_snapshot())) as elsewhere,
  current_setting('track_commit_timestamp')::bool as commit_times,
  getdatabaseencoding() <> 'SQL_ASCII' as is_text
from realtime.feed, (
  select
    (select system_identifier::text from pg_control_system()) as system_identifier,
    (select oid from pg_database where datname = current_database()) as database_oid
) as here
