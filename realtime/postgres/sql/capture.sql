-- The trigger functions. They copy the transition tables of a statement into the outbox, in the user's transaction.
--
-- Arguments of a trigger:
--   0  max_change_bytes
--   1  listed columns; '' is all columns
--   2  'own' for a table that was enabled, 'partition' for a table below one
--   3  an attribute number. If an attribute with this number exists, then the table got more columns after the
--      trigger was created, or has columns that need care: see realtime.stranger_v1
--
-- No function has an EXCEPTION block: an error fails the write of the user. Expected cases are no errors, for
-- example a row beyond the limits of jsonb, or a listed column that was dropped.
--
-- A user's table may have columns of any name: variables take precedence over columns, and `n.*` is the whole row
-- even if the table has a column n.
--
-- In these functions a row is a text: its JSON; or '!' and the JSON of its primary key, if jsonb cannot hold the row.
--
-- Of an insert and of a delete there are several functions, which store the same. capture_insert_v1 captures any table.
-- capture_insert_v2 is for a table of lean_table_v2, and takes less time of the writer: each expression and each SET
-- of a function costs something in every transaction. It captures a table that has changed meanwhile as v1 does.
-- capture_insert_v2 has the usual max_change_bytes as a constant, and capture_insert_limit_v2 reads its argument.

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

-- The same, by a value of the type. It is immutable, so that it runs while a statement is planned: see lean_template,
-- which has many values of type cid.
create or replace function realtime.lean_value_v2(value anyelement) returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$ begin return pg_typeof(value) = 'cid'::regtype or realtime.lean_type_v2(pg_typeof(value)); end $$;

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

-- The trigger functions capture_insert_v1, capture_update_v1 and capture_delete_v1, from one template: each runs
-- once after a statement. Postgres keeps the text that three functions written out would have.
--
-- virtual_capture_v1 returns the same statements for a table with virtual generated columns, with parameters in place
-- of variables: the columns are known only when the trigger runs, so the statement is executed as text.
do $make$
declare
    -- The statement for an insert or a delete. %1 event, %2 the transition table, %3 the name of a row.
    of_one_table constant text := $$
        insert into realtime.outbox (schema_name, table_name, event, data, truncated)
        select into_schema, into_table, %1$s,
               case when big then realtime.key_v1(data, hidden, TG_RELID) else data end, big
        from (select data, data ^@ '!' or octet_length(data) > max_bytes from (
            select case when plain and pg_column_size(%3$s.*) < 100000
                then (to_jsonb(%3$s.*) - hidden)::text
                else realtime.careful_v1(row_to_json(%3$s.*), hidden, TG_RELID) end
            from %2$s %3$s offset 0
        ) as r (data)) as r (data, big);$$;

    -- The statement for an update. An old and a new row form a pair by their positions in the transition tables,
    -- never by key. The join is FULL for its plan only: a full join is never planned as a nested loop. %1 event,
    -- %2 the new rows, %3 the old rows.
    of_two_tables constant text := $$
        insert into realtime.outbox (schema_name, table_name, event, data, old, truncated)
        select into_schema, into_table, %1$s,
               case when big then realtime.key_v1(data, hidden, TG_RELID) else data end,
               case when not big then was end, big
        from (
            select i, data, was,
                   data ^@ '!' or was ^@ '!' or octet_length(data) + octet_length(was) > max_bytes
            from (%2$s) n full join (%3$s) o using (i)
            where data is distinct from was or data ^@ '!'
        ) as r (i, data, was, big)
        order by i;$$;

    -- The rows of one side of an update. %1 the transition table, %2 the name of a row, %3 the name of its text.
    numbered constant text := $$
                select row_number() over () as i, case
                    when plain and pg_column_size(%2$s.*) < 100000
                    then (to_jsonb(%2$s.*) - hidden)::text
                    else realtime.careful_v1(row_to_json(%2$s.*), hidden, TG_RELID) end as %3$s
                from %1$s %2$s
            $$;

    -- %1 name, %2 the transition table of `data`, %3 the transition table of `old` as a literal, %4 the statement.
    template constant text := $template$
create or replace function realtime.%1$I() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_variable
declare
    into_schema text := TG_TABLE_SCHEMA;
    into_table text := TG_TABLE_NAME;
    max_bytes integer := TG_ARGV[0];
    hidden text[] := '{}';
    plain boolean := has_column_privilege(TG_RELID, TG_ARGV[3]::smallint, 'SELECT') is null;
    columns text;
begin
    if TG_ARGV[2] = 'partition' then
        select * into into_schema, into_table from realtime.root_v1(TG_RELID, TG_NAME);
        if not found then return null; end if;
    end if;
    if TG_ARGV[1] <> '' then hidden := realtime.hidden_v1(TG_RELID, TG_ARGV[1]::text[]); end if;
    if not plain then columns := realtime.virtual_v1(TG_RELID); end if;
    if columns is not null then
        execute realtime.virtual_capture_v1(columns, '%2$s', %3$s)
            using into_schema, into_table, TG_OP, max_bytes, hidden, TG_RELID;
        get diagnostics max_bytes = row_count;
        if max_bytes = 0 then return null; end if;
    else%4$s
        if not found then return null; end if;
    end if;
    if current_setting('max_prepared_transactions')::integer = 0
       and (to_timestamp(pg_sequence_last_value('realtime.silent_until'::regclass)) > clock_timestamp())
           is not true then
        perform realtime.ring_v1();
    end if;
    return null;
end
$$
$template$;

    -- The function of a lean table. %1 name, %2 the transition table, %3 event, %4 the statement of v1, %5 max_bytes,
    -- %6 to %8 the columns: values that fill up the list of columns, their names, and the conditions.
    --
    -- The first statement inserts nothing if the table has changed so that it needs care: it got more columns, or a
    -- column of another type. The types are compared while the statement is planned, and again whenever the table has
    -- been altered: `case when false` leaves a null of the column's type, so lean_value_v2 becomes a constant. Only
    -- the owner of a table could give a column one of our names, and hinder the writers of that table.
    -- The settings of the session are restored by hand, since a SET of the function would cost every statement.
    lean_template constant text := $template$
create or replace function realtime.%1$I() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_variable
begin
    insert into realtime.outbox (schema_name, table_name, event, data, truncated)
    select TG_TABLE_SCHEMA, TG_TABLE_NAME, '%3$s',
           case when octet_length(data) > %5$s then realtime.lean_key_v2(data, TG_RELID) else data end,
           octet_length(data) > %5$s
    from (
        select case when pg_column_size(n.*) < 100000
            then to_jsonb(n.*)::text
            else realtime.lean_careful_v2(row_to_json(n.*), TG_RELID) end
        from %2$s n cross join lateral (select n.*%6$s) as c (%7$s)
        where has_column_privilege(TG_RELID, TG_ARGV[3]::smallint, 'SELECT') is null%8$s
        offset 0
    ) as r (data);
    if not found or
       (to_timestamp(pg_sequence_last_value('realtime.silent_until'::regclass)) > clock_timestamp())
           is not true then
        if not found then
            if not exists (select from %2$s) then return null; end if;
            declare
                into_schema text := TG_TABLE_SCHEMA;
                into_table text := TG_TABLE_NAME;
                max_bytes integer := TG_ARGV[0];
                hidden text[] := '{}';
                plain boolean := false;
                columns text := realtime.virtual_v1(TG_RELID);
                names constant text[] := '{DateStyle,IntervalStyle,bytea_output,extra_float_digits}';
                theirs constant text[] := array(select current_setting(name) from unnest(names) as name);
            begin
                perform set_config(name, ours, true)
                from unnest(names, '{ISO,postgres,hex,1}'::text[]) as setting (name, ours);
                if columns is not null then
                    execute realtime.virtual_capture_v1(columns, '%2$s', null)
                        using into_schema, into_table, TG_OP, max_bytes, hidden, TG_RELID;
                else%4$s
                end if;
                perform set_config(name, former, true) from unnest(names, theirs) as setting (name, former);
            end;
            if realtime.silent_v2() then return null; end if;
        end if;
        perform realtime.ring_v2();
    end if;
    return null;
end
$$
$template$;

    -- %1 the statement for an insert or a delete, %2 the statement for an update, each a format string itself.
    virtual_template constant text := $template$
create or replace function realtime.virtual_capture_v1(columns text, data_rows text, old_rows text)
returns text language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select case when old_rows is null
        then format($one_table$%1$s$one_table$, columns, data_rows)
        else format($two_tables$%2$s$two_tables$, columns, data_rows, old_rows) end
$$
$template$;

    -- A transition table with its virtual columns computed, in these format strings.
    computed_data constant text := '(select %1$s from %2$I)';
    computed_old constant text := '(select %1$s from %3$I)';

    fillers constant text := repeat(', null::cid', 40);
    names constant text := (select string_agg(format('"realtime %s"', i), ', ') from generate_series(1, 40) i);
    conditions constant text := (
        select string_agg(
            format(E'\n          and realtime.lean_value_v2(case when false then c."realtime %s" end)', i), '')
        from generate_series(1, 40) i);
    suffix text;
    max_bytes text;

    virtual_function text;
    variable text;
    parameter text;
begin
    execute format(template, 'capture_insert_v1', 'new_rows', 'null',
                   format(of_one_table, '''INSERT''', 'new_rows', 'n'));
    execute format(template, 'capture_update_v1', 'new_rows', '''old_rows''',
                   format(of_two_tables, '''UPDATE''', format(numbered, 'new_rows', 'n', 'data'),
                          format(numbered, 'old_rows', 'o', 'was')));
    execute format(template, 'capture_delete_v1', 'old_rows', 'null',
                   format(of_one_table, '''DELETE''', 'old_rows', 'o'));
    for suffix, max_bytes in
        values ('v2', '1048576'), ('limit_v2', 'TG_ARGV[0]::integer')
    loop
        execute format(lean_template, 'capture_insert_' || suffix, 'new_rows', 'INSERT',
                       format(of_one_table, '''INSERT''', 'new_rows', 'n'), max_bytes, fillers, names, conditions);
        execute format(lean_template, 'capture_delete_' || suffix, 'old_rows', 'DELETE',
                       format(of_one_table, '''DELETE''', 'old_rows', 'o'), max_bytes, fillers, names, conditions);
    end loop;

    -- The template executes the statements with these parameters, and only while `plain` is false.
    virtual_function := format(virtual_template,
                               format(of_one_table, '$3', computed_data, 'n'),
                               format(of_two_tables, '$3', format(numbered, computed_data, 'n', 'data'),
                                      format(numbered, computed_old, 'o', 'was')));
    for variable, parameter in
        values ('into_schema', '$1'), ('into_table', '$2'), ('max_bytes', '$4'), ('hidden', '$5'),
               ('TG_RELID', '$6'), ('plain', 'false')
    loop
        virtual_function := replace(virtual_function, variable, parameter);
    end loop;
    execute virtual_function;
end
$make$;
