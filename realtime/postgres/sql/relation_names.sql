-- The names of some relations. $1 their oids.
select nspname::text as schema_name, relname::text as table_name
from pg_class c join pg_namespace n on n.oid = relnamespace
where c.oid = any($1::oid[])
