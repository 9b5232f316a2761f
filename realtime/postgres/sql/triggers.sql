-- Functions that enable and disable the triggers of a table. They run with the rights of the caller:
-- `realtime.postgres.catalogue` calls them in a transaction with a short lock_timeout. Only pg_trigger records which
-- tables are enabled and for which events: a rename or a restore cannot make a second record wrong.

-- All enabled triggers of this schema, with their arguments.
create or replace view realtime.armed_v1 as
select tgrelid as relation, upper(substr(tgname, 18)) as event,
       args[1]::integer as max_bytes, nullif(args[2], '')::text[] as listed, args[3] as role,
       args[4]::integer as stranger, proname ^@ 'capture_' and right(proname, 3) in ('_v2', '_v3') as lean
from pg_trigger
join pg_proc p on p.oid = tgfoid and pronamespace = 'realtime'::regnamespace
cross join lateral (
    -- tgargs is one bytea in the encoding of the database, with a zero byte after each argument.
    select array_agg(convert_from(decode(arg, 'escape'), getdatabaseencoding()) order by number)
    from string_to_table(encode(tgargs, 'escape'), '\000') with ordinality as a (arg, number)
) as a (args)
where tgname in ('realtime_capture_insert', 'realtime_capture_update', 'realtime_capture_delete')
  and tgenabled in ('O', 'A');

-- The name of the function that captures an event of a table. A partition, and a table of which some columns are listed,
-- needs the function that captures any table.
create or replace function realtime.capture_v2(
    relation oid, event text, listed text[], max_bytes integer, role text
) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select format('capture_%s_%s', lower(event), case
        when event = 'UPDATE' or listed is not null or role <> 'own' or not realtime.lean_table_v2(relation) then 'v1'
        when max_bytes = 1048576 then 'v3'
        else 'limit_v3' end)
$$;

-- Create and enable the triggers of one table for these events, and disable its triggers for other events.
-- The role is 'own' for a table that was enabled, and 'partition' for a table below one.
create or replace function realtime.arm_v1(
    relation regclass, events text[], listed text[], max_bytes integer, role text
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    event text;
begin
    foreach event in array '{INSERT,UPDATE,DELETE}'::text[] loop
        if event = any (events) then
            execute format(
                'create or replace trigger %I after %s on %s referencing %s for each statement'
                ' execute function realtime.%I(%L, %L, %L, %L)',
                'realtime_capture_' || lower(event), event, relation,
                case event when 'INSERT' then 'new table as new_rows'
                           when 'DELETE' then 'old table as old_rows'
                           else 'old table as old_rows new table as new_rows' end,
                realtime.capture_v2(relation, event, listed, max_bytes, role),
                max_bytes, coalesce(listed::text, ''), role, realtime.stranger_v1(relation));
            execute format('alter table only %s enable trigger %I',
                           relation, 'realtime_capture_' || lower(event));
        end if;
    end loop;
    perform realtime.disarm_v1(relation, events);
end
$$;

-- Disable the triggers of one table, except those for some events. Never drops a trigger: DROP TRIGGER takes a lock
-- that blocks readers too.
create or replace function realtime.disarm_v1(relation regclass, except_events text[] default '{}')
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    trigger_name text;
begin
    for trigger_name in
        select tgname from pg_trigger
        where tgrelid = relation and tgenabled <> 'D'
          and tgname in ('realtime_capture_insert', 'realtime_capture_update', 'realtime_capture_delete')
          and upper(substr(tgname, 18)) <> all (except_events)
    loop
        execute format('alter table only %s disable trigger %I', relation, trigger_name);
    end loop;
end
$$;

-- Enable a table and all tables below it, the parent first.
create or replace function realtime.enable_v1(
    relation regclass, events text[], listed text[], max_bytes integer
) returns void
language sql set search_path = pg_catalog, pg_temp
as $$
    select realtime.arm_v1(relation, events, listed, max_bytes, 'own');
    select realtime.arm_v1(relid, events, listed, max_bytes, 'partition')
    from pg_partition_tree(relation) where level > 0 order by level, relid;
$$;

-- Disable a table and all tables below it.
create or replace function realtime.disable_v1(relation regclass) returns void
language sql set search_path = pg_catalog, pg_temp
as $$
    select realtime.disarm_v1(relation);
    select realtime.disarm_v1(relid) from pg_partition_tree(relation) where level > 0 order by level, relid;
$$;

-- Tables whose triggers are wrong: a partition was attached or detached after its parent was enabled, or columns of the
-- table began or ceased to need care. `root` is the enabled table to which the table belongs, possibly itself, or null
-- if it belongs to none any more.
create or replace function realtime.astray_v1() returns table (relation oid, root oid)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with wanted as (
        select a.relation as root, a.relation, 'own' as role, a.event, a.max_bytes, a.listed
        from realtime.armed_v1 a where a.role = 'own'
        union all
        select a.relation, t.relid, 'partition', a.event, a.max_bytes, a.listed
        from realtime.armed_v1 a, pg_partition_tree(a.relation) t where a.role = 'own' and t.level > 0
    ), differing as (
        select w.relation, w.root from wanted w
        left join realtime.armed_v1 a on a.relation = w.relation and a.event = w.event and a.role = w.role
            and a.max_bytes = w.max_bytes and a.listed is not distinct from w.listed
            and a.stranger = realtime.stranger_v1(w.relation)
            and (not a.lean or realtime.lean_table_v2(w.relation))
        where a.relation is null
        union
        select a.relation, w.root from realtime.armed_v1 a
        left join (select distinct relation, root from wanted) w on w.relation = a.relation
        where a.role = 'partition'
          and not exists (select from wanted x where x.relation = a.relation and x.event = a.event
                          and x.role = 'partition')
    )
    select distinct differing.relation, differing.root from differing
$$;

-- Correct the triggers of a table that astray_v1 found. Returns false for a table that was dropped, and for a foreign
-- table, which has no transition tables.
create or replace function realtime.mend_v1(relation oid, root oid) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    armed record;
begin
    if not exists (select from pg_class where oid = relation and relkind in ('r', 'p')) then
        return false;
    end if;
    select array_agg(a.event) as events, min(a.max_bytes) as max_bytes, min(a.listed) as listed into armed
    from realtime.armed_v1 a where a.relation = root and a.role = 'own';
    if armed.events is null then
        perform realtime.disarm_v1(relation);
    else
        perform realtime.arm_v1(relation, armed.events, armed.listed, armed.max_bytes,
                                case when relation = root then 'own' else 'partition' end);
    end if;
    return true;
end
$$;
