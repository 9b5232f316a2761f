-- Deletes a piece of the oldest changes that wait, up to an id, and returns the tables that they were of.
--
-- $1  snapshot before the current batch: what it sees does not wait
-- $2  the newest that is to go
-- $3  how many at most
--
-- $4  whether to tell names as bytes, in the encoding of the database: as text they cannot be read
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
select
  case when not $4::boolean then left(schema_name, 255) end as schema_name,
  case when not $4 then left(table_name, 255) end as table_name,
  case when $4 then convert_to(left(schema_name, 255), getdatabaseencoding()) end as raw_schema,
  case when $4 then convert_to(left(table_name, 255), getdatabaseencoding()) end as raw_table,
  count(*) as changes
from shed
group by 1, 2, 3, 4
