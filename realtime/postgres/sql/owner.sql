-- The role as which the triggers run, first of all. `to_jsonb` calls user-defined casts with the rights of
-- the trigger function's owner, so this role may do nothing but add to the outbox; whoever could do more in
-- its name, or could make it do more, stops the installation. A role belongs to the whole cluster:
-- another database may have made it already.
do $$
begin
    if to_regrole('realtime_owner') is null then
        create role realtime_owner nologin noinherit;
    end if;
    if exists (select from pg_roles where rolname = 'realtime_owner'
               and (rolsuper or rolcreaterole or rolcreatedb or rolcanlogin or rolreplication
                    or rolbypassrls))
       or exists (select from pg_auth_members where member = 'realtime_owner'::regrole) then
        raise exception 'role realtime_owner exists and may do more than nothing';
    end if;
end
$$;

-- To give it the functions one must be a member; rights.sql ends the membership again.
do $$
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('grant realtime_owner to %I', current_user)
            || case when current_setting('server_version_num')::integer >= 160000
               then ' with inherit true, set true' else '' end;
    end if;
end
$$;
