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
        -- pg_partition_tree would lock each partition, and wait for one that somebody else has locked. A table that
        -- inherits from others and is no partition may have many parents, and be found by very many ways.
        with recursive tree (relid, relkind) as (
            select c.oid, c.relkind
            union all
            select p.oid, p.relkind
            from tree join pg_inherits on inhparent = relid join pg_class p on p.oid = inhrelid and p.relispartition
        )
        select min(relid::regclass::text) from tree where relkind = 'f'
    ) as foreign_partition,
    pg_get_userbyid(relowner)::text as owner,
    current_user::text as role
from pg_class c
join pg_namespace n on n.oid = relnamespace
where nspname = $1::text and relname = $2::text and relkind in ('r', 'p') and relpersistence <> 't'
  and nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'realtime')
