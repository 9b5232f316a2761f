-- All tables on which the role has any right, with their present columns. A partition is part of its parent.
select
    nspname::text as schema_name,
    relname::text as table_name,
    array(
        select row(attname::text, format_type(atttypid, atttypmod)) from pg_attribute
        where attrelid = c.oid and attnum > 0 and not attisdropped order by attnum
    ) as columns,
    array(
        select attname::text
        from pg_index
        cross join unnest((indkey::int2[])[0:indnkeyatts - 1]) with ordinality as key (attnum, number)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = key.attnum
        where indrelid = c.oid and indisprimary
        order by number
    ) as primary_key
from pg_class c
join pg_namespace n on n.oid = relnamespace
where relkind in ('r', 'p') and not relispartition and relpersistence <> 't'
  and nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'realtime')
  and has_schema_privilege(n.oid, 'USAGE')
  and (has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
       or has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))
order by 1, 2
