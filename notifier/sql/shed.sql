-- Deletes the oldest changes that wait, down to a bound, and returns the tables that they were of.
--
-- $1  snapshot before the current batch: what it sees does not wait
-- $2  most rows that may wait; 0 is no bound
-- $3  most bytes; likewise
with waiting as (
  select
    ctid, schema_name, table_name,
    row_number() over newer as rows,
    sum(octet_length(data) + coalesce(octet_length(old), 0)) over newer as bytes
  from realtime.outbox
  where not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
  window newer as (order by id desc rows unbounded preceding)
), shed as (
  delete from realtime.outbox
  where ctid = any (array(
    select ctid from waiting where ($2::bigint > 0 and rows > $2) or ($3::bigint > 0 and bytes > $3)
  ))
  returning schema_name, table_name
)
select schema_name, table_name, count(*) as changes from shed group by schema_name, table_name
