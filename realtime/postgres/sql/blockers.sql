-- The sessions whose locks block a change of the triggers of a table or of its partitions, three at most.
--
-- $1  oid of the table
select distinct pid from pg_locks
where locktype = 'relation' and database = (select oid from pg_database where datname = current_database())
  and (relation = $1::oid or relation in (select relid from pg_partition_tree($1::oid)))
  and granted and pid <> pg_backend_pid()
  and mode not in ('AccessShareLock', 'RowShareLock')
order by pid
limit 3
