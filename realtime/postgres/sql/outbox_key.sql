-- Gives an outbox of schema version 6 or before the one index that it needs now, see schema.sql. It had a primary key on
-- id, and an index on xid.
--
-- Runs last, since it locks out the writers of all enabled tables until the migration ends. It waits for no lock, and
-- does nothing to an outbox that is in use or large: any program works with the former indexes, too, and
-- docs/upgrades.md says how to replace them later.
do $$
begin
    if exists (
        select from pg_constraint
        where conrelid = 'realtime.outbox'::regclass and contype = 'p' and conname = 'outbox_pkey'
    ) and pg_relation_size('realtime.outbox') < 8388608 then
        lock table realtime.outbox in access exclusive mode nowait;
        drop index if exists realtime.outbox_xid;
        alter table realtime.outbox
            drop constraint outbox_pkey, add constraint outbox_xid primary key (xid, id);
    end if;
exception
    when lock_not_available then null;
end
$$;
