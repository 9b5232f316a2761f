-- Deletes some of the oldest unpublished changes, up to an id, and returns their tables.
--
-- $1  snapshot before the current batch: what it sees is published
-- $2  id of the newest change to delete
-- $3  most rows
-- $4  whether to return names as bytes, in the encoding of the database, for names that cannot be read as text
--
-- A row that was forged with a cast may have a name of hundreds of megabytes: only its beginning is read.
with shed as (
  delete from realtime.outbox
  where ctid = any (array(
    select ctid from realtime.outbox
    where id <= $2
      and xid >= pg_snapshot_xmin($1::text::pg_snapshot) and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
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
