-- What decides how to_jsonb writes the values of some types. $1 their oids.
select
    t.oid as type,
    nspname = 'pg_catalog' as is_builtin,
    typname::text as name,
    typtype::text as kind,
    nullif(typbasetype, 0) as base,
    typtypmod as modifier,
    typndims as dimensions,
    typnotnull as not_null,
    case when typcategory = 'A' and typlen = -1 then nullif(typelem, 0) end as element,
    array(select enumlabel::text from pg_enum where enumtypid = t.oid order by enumsortorder) as labels,
    array(
        select row(attname::text, atttypid, atttypmod, attndims) from pg_attribute
        where typtype = 'c' and attrelid = typrelid and attnum > 0 and not attisdropped order by attnum
    ) as attributes,
    -- to_jsonb uses such a cast, but not for types of Postgres itself.
    t.oid >= 16384 and exists (
        select from pg_cast where castsource = t.oid and casttarget = 'json'::regtype and castmethod = 'f'
    ) as is_cast_to_json
from pg_type t
join pg_namespace n on n.oid = typnamespace
where t.oid = any ($1::oid[])
