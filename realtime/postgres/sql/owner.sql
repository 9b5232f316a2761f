-- The role that owns the trigger functions, so that they run with its rights. `to_jsonb` calls user-defined casts with
-- these rights too, so the role may only insert into the outbox. If a role of this name exists and may do more, or is a
-- member of another role, then the installation fails. All databases of a cluster share the role: a migration of
-- another database may have created it.
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

-- Only a member of the role can make it the owner of functions; rights.sql revokes the membership.
do $$
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('grant realtime_owner to %I', current_user)
            || case when current_setting('server_version_num')::integer >= 160000
               then ' with inherit true, set true' else '' end;
    end if;
end
$$;
