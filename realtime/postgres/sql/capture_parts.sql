-- What the trigger functions of capture.sql call: the text of a row, which care a table needs, the doorbell.
--
-- In these functions a row is a text: its JSON; or '!' and the JSON of its primary key, if jsonb cannot hold the row.

-- Whether jsonb can hold a JSON text: the type json accepts "\u0000" and 1e999999, the type jsonb does not.
-- Postgres before 16 has no function for this check.
do $outer$
begin
    execute format($$
        create or replace function realtime.fits_v1(row_json text) returns boolean
        language sql stable set search_path = pg_catalog, pg_temp
        return %s
    $$, case when to_regprocedure('pg_input_is_valid(text, text)') is null
        then 'true' else 'pg_input_is_valid(row_json, ''jsonb'')' end);
end
$outer$;

-- The primary key of a row that is published without its other columns, by the present definition of the table. The
-- plan is generic, here and below: in a custom plan the row would be a constant, which is folded and copied.
create or replace function realtime.key_v1(row_text text, hidden text[], relation oid) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
    if row_text ^@ '!' then
        return substr(row_text, 2);
    end if;
    return (
        select coalesce(jsonb_object_agg(attname, (row_text::json -> attname::text)::jsonb), '{}')::text
        from pg_index
        join pg_attribute on attrelid = indrelid and attnum = any ((indkey::int2[])[0:indnkeyatts - 1])
        where indrelid = relation and indisprimary and attname <> all (hidden)
    );
end
$$;

-- The text of a row that jsonb may be unable to hold: a string, an array or an object in jsonb has at most 256 MB,
-- while the only limit of json is the 1 GB of any value. A key has no escapes that jsonb refuses.
create or replace function realtime.careful_v1(row_json json, hidden text[], relation oid) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    most constant integer := 200000000;
    row_text text := row_json::text;
begin
    if octet_length(row_text) > most and hidden <> '{}' then
        row_text := (
            select json_object_agg(key, value) from json_each(row_json) where key <> all (hidden)
        )::text;
    end if;
    if octet_length(row_text) <= most then
        if realtime.fits_v1(row_text) then
            return (row_text::jsonb - hidden)::text;
        end if;
        row_text := regexp_replace(row_text, '(\\[^u])|\\u(?:0000|[dD][89a-fA-F]..)', '\1', 'g');
    end if;
    return '!' || realtime.key_v1(row_text, hidden, relation);
end
$$;

-- The columns that must not leave the database, by the present definition of the table.
create or replace function realtime.hidden_v1(relation oid, listed text[]) returns text[]
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select array(
        select attname::text from pg_attribute
        where attrelid = relation and attnum > 0 and not attisdropped and attname <> all (listed)
    )
$$;

-- The attribute number that must not exist while rows need no care: the number after the last one. Each row of a
-- table with a virtual generated column or a json column needs care: for such a table, a number that always exists.
create or replace function realtime.stranger_v1(relation oid) returns smallint
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select case
        when bool_or(not attisdropped and (atttypid in ('json'::regtype, 'json[]'::regtype)
                     or attgenerated = 'v')) then -6
        else coalesce(max(attnum), 0) + 1
    end::smallint
    from pg_attribute where attrelid = relation and attnum > 0
$$;

-- The select list of a table with virtual generated columns, null for any other table: in transition tables these
-- columns are null. Postgres allows no user-defined function or type in the expressions of these columns.
create or replace function realtime.virtual_v1(relation oid) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select string_agg(
        case attgenerated
            when 'v' then format('(%s)::%s as %I', pg_get_expr(adbin, adrelid),
                                 format_type(atttypid, atttypmod), attname)
            else quote_ident(attname)
        end, ', ' order by attnum)
    from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum and attgenerated = 'v'
    where attrelid = relation and attnum > 0 and not attisdropped
    having bool_or(attgenerated = 'v')
$$;

-- Whether a value of this type has the same JSON text under all settings of a session but TimeZone, and runs no code of
-- a user: arrays and domains of some types of Postgres. The type date, for example, is always ISO in JSON.
create or replace function realtime.lean_type_v2(type oid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with recursive below (oid) as (
        select type
        union all
        select case when typtype = 'd' then typbasetype else typelem end
        from below join pg_type t on t.oid = below.oid
        where typtype = 'd' or typsubscript = 'array_subscript_handler'::regproc
    )
    select coalesce(bool_or(oid = any (array[
        'bool', '"char"', 'name', 'int2', 'int4', 'int8', 'numeric', 'oid', 'cid', 'text', 'varchar', 'bpchar', 'uuid',
        'jsonb', 'date', 'time', 'timestamp', 'timestamptz', 'inet', 'cidr', 'macaddr', 'macaddr8', 'bit', 'varbit'
    ]::regtype[])), false) from below
$$;

-- The same, by a value of the type. It is immutable, so that it runs while a statement is planned: see of_lean_table,
-- which has many values of type cid. The first list is of types that are frequent: it saves a session's first statement
-- the other function.
create or replace function realtime.lean_value_v2(value anyelement) returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    return pg_typeof(value) = any ('{cid,bigint,integer,smallint,text,boolean,numeric,timestamptz,uuid,varchar,date,jsonb}'::regtype[])
        or realtime.lean_type_v2(pg_typeof(value));
end
$$;

-- As careful_v1 and key_v1. A row that jsonb cannot hold is longer than any max_change_bytes, so that its length is all
-- that a writer's statement has to look at.
create or replace function realtime.lean_careful_v2(row_json json, relation oid) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    row_text constant text := realtime.careful_v1(row_json, '{}', relation);
begin
    return case when row_text ^@ '!' then row_text || repeat(' ', 16777216) else row_text end;
end
$$;

create or replace function realtime.lean_key_v2(row_text text, relation oid) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return rtrim(realtime.key_v1(row_text, '{}', relation), ' ');
end
$$;

-- Whether the functions of version 2 capture a table; 40 is the number of columns that they look at.
create or replace function realtime.lean_table_v2(relation oid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select count(*) <= 40 and coalesce(bool_and(attgenerated <> 'v' and realtime.lean_type_v2(atttypid)), true)
    from pg_attribute where attrelid = relation and attnum > 0 and not attisdropped
$$;

-- Whether the notifier is awake and has silenced the doorbell, see realtime.silent_until.
create or replace function realtime.silent_v2() returns boolean
language sql volatile set search_path = pg_catalog, pg_temp
as $$
    select coalesce(to_timestamp(pg_sequence_last_value('realtime.silent_until'::regclass)) > clock_timestamp(), false)
$$;

-- Ring the doorbell: the triggers call it unless the notifier is awake and has silenced the doorbell, see
-- realtime.silent_until. A transaction that has notified cannot be PREPAREd, and a transaction that notifies while the
-- queue is full fails at COMMIT: in both cases nobody rings, and the notifier's poll finds the change.
create or replace function realtime.ring_v1() returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$ select pg_notify('realtime', '') where pg_notification_queue_usage() < 0.5 $$;

-- Ring the doorbell unless transactions may be PREPAREd here.
create or replace function realtime.ring_v2() returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
    select pg_notify('realtime', '')
    where current_setting('max_prepared_transactions')::integer = 0 and pg_notification_queue_usage() < 0.5
$$;

-- The table under whose name the changes of a partition are published: its root, if the root is enabled for the event.
create or replace function realtime.root_v1(relation oid, root_trigger text)
returns table (schema_name text, table_name text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select nspname, relname
    from pg_class c join pg_namespace s on s.oid = relnamespace
    join pg_trigger t on tgrelid = c.oid and tgname = root_trigger and tgenabled in ('O', 'A')
        and position('\x006f776e00'::bytea in tgargs) > 0 -- 'own': a sub-tree that was detached has none
    where c.oid = pg_partition_root(relation) and c.oid <> relation
$$;
