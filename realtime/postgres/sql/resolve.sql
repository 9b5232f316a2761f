-- The table that a request names. With a schema: the table of exactly this name in the schema. Without a schema: the
-- table of exactly this name in schema public, else the table that the name means when split at its first dot.
--
-- $1  name
-- $2  schema, or null
with candidates (rank, schema_name, table_name) as (
    select 1, coalesce($2::text, 'public'), $1::text
    union all
    select 2, split_part($1::text, '.', 1), substr($1::text, position('.' in $1::text) + 1)
    where $2::text is null and position('.' in $1::text) > 0
)
select nspname::text as schema_name, relname::text as table_name
from candidates
join pg_namespace n on nspname = candidates.schema_name
join pg_class c on relnamespace = n.oid and relname = candidates.table_name
where relkind in ('r', 'p') and relpersistence <> 't'
  and nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'realtime')
order by rank
limit 1
