-- Before anything else: an older program's script must not go over a newer schema, whose functions it would
-- put back. By `execute`, since the table may not be there.
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
