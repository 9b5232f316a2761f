-- Deletes a piece of the oldest changes that wait, up to an id, and returns the tables that they were of.
--
-- $1  snapshot before the current batch: what it sees does not wait
-- $2  the newest that is to go
-- $3  how many at most
--
-- What a cast forged may have a name of hundreds of megabytes: its beginning stands for it.
with shed as (
  delete from realtime.outbox
  where ctid = any (array(
    select ctid from realtime.outbox
    where id <= $2 and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
    order by id
    limit $3
  ))
  returning schema_name, table_name
)
select left(schema_name, 255) as schema_name, left(table_name, 255) as table_name, count(*) as changes
from shed
group by 1, 2
