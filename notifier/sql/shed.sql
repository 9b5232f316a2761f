-- Deletes a piece of the oldest changes that wait, up to an id, and returns the tables that they were of.
--
-- $1  snapshot before the current batch: what it sees does not wait
-- $2  the newest that is to go
-- $3  how many at most
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
select schema_name, table_name, count(*) as changes from shed group by schema_name, table_name
