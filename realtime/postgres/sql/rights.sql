-- The rights in schema realtime: of the role that owns the trigger functions, and of the role of `database_url`, whose
-- name is in the setting realtime.service_role. No other role has a right, and writers need none.

revoke all on all tables in schema realtime from public;
revoke all on all sequences in schema realtime from public;
revoke all on all functions in schema realtime from public;

-- It may not write the columns by which the feed orders and finds changes.
grant usage on schema realtime to realtime_owner;
grant insert (schema_name, table_name, event, data, old, truncated) on realtime.outbox to realtime_owner;
grant select on sequence realtime.silent_until to realtime_owner;
grant execute on all functions in schema realtime to realtime_owner;

-- A role can become the owner of a function only while it may create objects in the schema.
grant create on schema realtime to realtime_owner;
alter function realtime.capture_insert_v1() owner to realtime_owner;
alter function realtime.capture_update_v1() owner to realtime_owner;
alter function realtime.capture_delete_v1() owner to realtime_owner;
alter function realtime.capture_insert_v2() owner to realtime_owner;
alter function realtime.capture_insert_limit_v2() owner to realtime_owner;
alter function realtime.capture_delete_v2() owner to realtime_owner;
alter function realtime.capture_delete_limit_v2() owner to realtime_owner;
alter function realtime.capture_insert_v3() owner to realtime_owner;
alter function realtime.capture_insert_limit_v3() owner to realtime_owner;
alter function realtime.capture_delete_v3() owner to realtime_owner;
alter function realtime.capture_delete_limit_v3() owner to realtime_owner;
revoke create on schema realtime from realtime_owner;

-- The notifier reads and deletes changes and advances the feed. A gateway that enables a table creates triggers on it.
do $$
declare
    service_role text := current_setting('realtime.service_role');
begin
    execute format('grant usage on schema realtime to %I', service_role);
    execute format('grant select, delete on realtime.outbox to %I', service_role);
    execute format('grant select, update on realtime.feed to %I', service_role);
    execute format('grant select, insert, delete on realtime.mark to %I', service_role);
    execute format('grant select, update on sequence realtime.silent_until to %I', service_role);
    execute format('grant select on realtime.version, realtime.armed_v1 to %I', service_role);
    execute format('grant execute on all functions in schema realtime to %I', service_role);
    if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('revoke realtime_owner from %I', current_user);
    end if;
end
$$;
