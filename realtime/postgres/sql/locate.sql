-- Facts about a table that are needed before its triggers are changed; no row if there is no such table.
--
-- $1  schema
-- $2  name
select
    c.oid,
    array(
        select attname::text from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped
    ) as columns,
    (
        select array[parent_schema.nspname::text, parent.relname::text]
        from pg_class parent join pg_namespace parent_schema on parent_schema.oid = parent.relnamespace
        where c.relispartition and parent.oid = pg_partition_root(c.oid)
    ) as parent,
    (
        -- pg_partition_tree would lock each partition, and wait for one that somebody else has locked.
        with recursive tree (relid) as (
            select c.oid
            union all
            select inhrelid from pg_inherits join tree on inhparent = relid
        )
        select min(relid::regclass::text) from tree join pg_class p on p.oid = relid
        where p.relispartition and p.relkind = 'f'
    ) as foreign_partition,
    pg_get_userbyid(relowner)::text as owner,
    current_user::text as role
from pg_class c
join pg_namespace n on n.oid = relnamespace
where nspname = $1::text and relname = $2::text and relkind in ('r', 'p') and relpersistence <> 't'
  and nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'realtime')
