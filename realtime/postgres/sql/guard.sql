-- Runs first: the script of an older program must not run on a newer schema, since it would replace the functions of
-- that schema by older ones. It uses `execute`, since the table may not exist.
do $$
declare
    installed integer;
    mine constant integer := current_setting('realtime.schema_version')::integer;
begin
    if to_regclass('realtime.version') is not null then
        execute 'select max(version) from realtime.version' into installed;
    end if;
    if installed > mine then
        raise exception 'schema realtime has version %, and this script would bring it back to %',
            installed, mine;
    end if;
end
$$;
