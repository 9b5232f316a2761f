-- The sessions whose locks block a change of the triggers of a table or of its partitions, three at most.
--
-- $1  oid of the table
with recursive tree (relid) as (
    select $1::oid
    union all
    -- As pg_partition_tree, which would wait for the locks that are looked for.
    select inhrelid
    from tree join pg_inherits on inhparent = relid join pg_class p on p.oid = inhrelid and p.relispartition
)
select distinct pid from pg_locks
where locktype = 'relation' and database = (select oid from pg_database where datname = current_database())
  and relation in (select relid from tree)
  and granted and pid <> pg_backend_pid()
  and mode not in ('AccessShareLock', 'RowShareLock')
order by pid
limit 3
