-- The columns of all ordinary and partitioned tables with their types, as the table of now has them. A NOT NULL
-- that was never checked against the rows that are there promises nothing.
select
    nspname::text as schema_name,
    relname::text as table_name,
    attname::text as name,
    atttypid::oid as type,
    atttypmod as modifier,
    attndims as dimensions,
    attnotnull and not exists (
        select from pg_constraint
        where conrelid = c.oid and contype = 'n' and conkey = array[attnum] and not convalidated
    ) as not_null
from pg_class c
join pg_namespace n on n.oid = relnamespace
join pg_attribute a on attrelid = c.oid and attnum > 0 and not attisdropped
where relkind in ('r', 'p') and not relispartition and relpersistence <> 't'
  and nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'realtime')
order by 1, 2, attnum
