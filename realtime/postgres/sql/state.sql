-- Whether the schema is installed, and what the role may do with it. Reads the catalogue only: every role may run it.
select
    version.oid is not null as installed,
    coalesce(
        has_schema_privilege(schema.oid, 'USAGE')
        and has_table_privilege(outbox.oid, 'SELECT') and has_table_privilege(outbox.oid, 'DELETE')
        and has_table_privilege(feed.oid, 'SELECT') and has_table_privilege(feed.oid, 'UPDATE')
        and has_table_privilege(version.oid, 'SELECT')
        -- Exists since version 2.
        and (mark.oid is null or has_table_privilege(mark.oid, 'SELECT')
             and has_table_privilege(mark.oid, 'INSERT') and has_table_privilege(mark.oid, 'DELETE')), false
    ) as usable,
    -- Only a notifier needs it. Exists since version 4.
    silence.oid is null or has_sequence_privilege(silence.oid, 'UPDATE') as may_silence,
    current_user::text as role,
    array_remove(array[
        case
            when schema.oid is null and not has_database_privilege(current_database(), 'CREATE')
            then format('CREATE on database %I to create schema realtime', current_database())
            when schema.oid is not null and not pg_has_role(nspowner, 'USAGE')
            then format('membership in %I, which owns schema realtime', pg_get_userbyid(nspowner))
        end,
        case
            when me.rolsuper then null
            when owner.oid is null and not me.rolcreaterole then 'CREATEROLE to create realtime_owner'
            when owner.oid is not null and not pg_has_role(owner.oid, 'USAGE WITH ADMIN OPTION')
                 and not (me.rolcreaterole and current_setting('server_version_num')::integer < 160000)
            then 'ADMIN OPTION on role realtime_owner'
        end
    ], null) as missing
from pg_roles me
left join pg_namespace schema on nspname = 'realtime'
left join pg_class version on version.relnamespace = schema.oid and version.relname = 'version'
left join pg_class outbox on outbox.relnamespace = schema.oid and outbox.relname = 'outbox'
left join pg_class feed on feed.relnamespace = schema.oid and feed.relname = 'feed'
left join pg_class mark on mark.relnamespace = schema.oid and mark.relname = 'mark'
left join pg_class silence on silence.relnamespace = schema.oid and silence.relname = 'silent_until'
left join pg_roles owner on owner.rolname = 'realtime_owner'
where me.rolname = current_user
