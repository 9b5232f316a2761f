-- The tables that are enabled, by their present names.
select
    nspname::text as schema_name,
    relname::text as table_name,
    array_agg(event) as events,
    min(listed) as columns,
    min(max_bytes) as max_change_bytes
from realtime.armed_v1
join pg_class c on c.oid = relation
join pg_namespace n on n.oid = relnamespace
where role = 'own'
group by 1, 2
order by 1, 2
