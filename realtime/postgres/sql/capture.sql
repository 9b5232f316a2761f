-- The trigger functions. They copy the transition tables of a statement into the outbox, in the user's transaction.
-- What they call is in capture_parts.sql, which says how they write a row as a text.
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
-- Of an insert and of a delete there are several functions, which store the same values. capture_insert_v1 captures any
-- table. capture_insert_v3 is for a table of lean_table_v2, and takes less time of the writer: each expression and each
-- SET of a function costs something in every transaction. It captures a table that has changed meanwhile as v1 does.
-- capture_insert_v3 has the usual max_change_bytes as a constant, and capture_insert_limit_v3 reads its argument.
--
-- What v1 stores is the text of jsonb: keys by their length, a space after each colon and comma. v3 stores the text of
-- json, with the keys in the order of the columns, which takes a writer less time and fewer bytes. Tables that schema
-- version 6 enabled have capture_insert_v2, which is like v3 and stores the text of v1.

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

    -- The statement for an insert or a delete of a lean table. %1 event, %2 the transition table, %3 the text of a row,
    -- %4 max_bytes, %5 to %7 the columns: values that fill up the list of columns, their names, and the conditions.
    --
    -- It inserts nothing if a column got another type, so that the table needs care. The types are compared while the
    -- statement is planned, and again whenever the table has been altered: `case when false` leaves a null of the
    -- column's type, so lean_value_v2 becomes a constant. Only the owner of a table could give a column one of our
    -- names, and hinder the writers of that table.
    of_lean_table constant text := $$
        insert into realtime.outbox (schema_name, table_name, event, data, truncated)
        select TG_TABLE_SCHEMA, TG_TABLE_NAME, '%1$s',
               case when octet_length(data) > %4$s then realtime.lean_key_v2(data, TG_RELID) else data end,
               octet_length(data) > %4$s
        from (
            select %3$s
            from %2$s n cross join lateral (select n.*%5$s) as c (%6$s)
            where true%7$s
            offset 0
        ) as r (data);$$;

    -- The function of a lean table. %1 name, %2 the transition table, %3 the statement of a lean table, %4 that of v1.
    --
    -- What a statement usually costs is one condition and one statement: the table has no more columns than it had, and
    -- nobody needs to ring. A statement that changed a row has its transaction id already, so it does not matter that
    -- the doorbell is looked at first. The settings of the session are restored by hand, since a SET of the function
    -- would cost every statement.
    lean_template constant text := $template$
create or replace function realtime.%1$I() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_variable
begin
    if has_column_privilege(TG_RELID, TG_ARGV[3]::smallint, 'SELECT') is null
       and to_timestamp(pg_sequence_last_value('realtime.silent_until'::regclass)) > clock_timestamp() then%3$s
        if found then return null; end if;
    elsif has_column_privilege(TG_RELID, TG_ARGV[3]::smallint, 'SELECT') is null then%3$s
        if found then
            perform realtime.ring_v2();
            return null;
        end if;
    end if;
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
    if not realtime.silent_v2() then perform realtime.ring_v2(); end if;
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

    most_columns constant integer := 40; -- as in lean_table_v2
    fillers constant text := repeat(', null::cid', most_columns);
    names constant text := (
        select string_agg(format('"realtime %s"', i), ', ') from generate_series(1, most_columns) i);
    conditions constant text := (
        select string_agg(
            format(E'\n          and realtime.lean_value_v2(case when false then c."realtime %s" end)', i), '')
        from generate_series(1, most_columns) i);
    -- The type json has no limit but that of any value, 1 GB, so the text of v3 needs no look at the size of a row.
    jsonb_text constant text := 'case when pg_column_size(n.*) < 100000 then to_jsonb(n.*)::text'
        ' else realtime.lean_careful_v2(row_to_json(n.*), TG_RELID) end';
    json_text constant text := 'row_to_json(n.*)::text';
    suffix text;
    max_bytes text;
    row_text text;
    event text;
    data_rows text;

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
    for suffix, max_bytes, row_text in values
        ('v2', '1048576', jsonb_text), ('limit_v2', 'TG_ARGV[0]::integer', jsonb_text),
        ('v3', '1048576', json_text), ('limit_v3', 'TG_ARGV[0]::integer', json_text)
    loop
        for event, data_rows in values ('INSERT', 'new_rows'), ('DELETE', 'old_rows') loop
            execute format(lean_template, format('capture_%s_%s', lower(event), suffix), data_rows,
                           format(of_lean_table, event, data_rows, row_text, max_bytes, fillers, names, conditions),
                           format(of_one_table, quote_literal(event), data_rows, 'n'));
        end loop;
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
