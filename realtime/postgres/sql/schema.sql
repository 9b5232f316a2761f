-- The tables of the service in a project's database: the outbox, the row of the feed, checkpoints, the version of the
-- schema. `realtime migrate` runs all scripts in one transaction, any number of times. Rights are in rights.sql.

create schema if not exists realtime;
revoke all on schema realtime from public;

-- One row for each change: inserted by the transaction of the change, read by the difference of two snapshots, deleted
-- in bulk. `data` and `old` are JSON texts that Postgres wrote, and no process decodes them before they reach a client.
-- Rows exist for seconds: vacuum starts after a number of rows, since a share of the table's size would mean nothing.
--
-- One index, since a writer pays for each. The feed reads by transaction id, never by id: a transaction that commits late
-- may have low ids. The id makes the key unique, so that logical replication can publish the table.
create table if not exists realtime.outbox (
    id bigint generated always as identity (cache 1),
    xid xid8 not null default pg_current_xact_id(),
    schema_name text not null,
    table_name text not null,
    event text not null,
    data text not null,
    old text,
    truncated boolean not null default false,
    at timestamptz not null default statement_timestamp(),
    constraint outbox_xid primary key (xid, id)
) with (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 200000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 200000
);

-- For an outbox that a version before 7 installed, see outbox_key.sql. The script reads the catalogue first, since even
-- CREATE INDEX IF NOT EXISTS takes a lock that blocks writers.
do $$
begin
    if to_regclass('realtime.outbox_xid') is null then
        create index outbox_xid on realtime.outbox (xid);
    end if;
end
$$;

-- The position of the feed: the current batch is the changes that s2 sees and s1 does not. Before the first batch
-- both see nothing, so the feed begins with the first captured change. `token` is a name that no other batch
-- ever had, in this database or in the database from which this one was restored; system_identifier and database_oid
-- show that the database was restored.
--
-- One row, and no index: each batch updates it, and while a long transaction keeps the old versions, a search
-- in an index would read all of them. The notifier knows the ctid of the row.
create table if not exists realtime.feed (
    singleton boolean not null default true check (singleton),
    batch bigint not null default 0,
    s1 pg_snapshot not null,
    s2 pg_snapshot not null,
    system_identifier text,
    database_oid oid,
    token text not null default ''
);
alter table realtime.feed add column if not exists token text not null default '';
alter table realtime.feed drop constraint if exists feed_pkey;

-- The leader: the session with this pid and this role, as long as it holds the advisory lock with this number, which
-- it chose at random. Any role may take an advisory lock, but no session can hold a lock in the name of another one.
-- The lead is free when the session ends, and only a role that may update this row can take the lead.
alter table realtime.feed
    add column if not exists leader_pid integer,
    add column if not exists leader_role oid,
    add column if not exists leader_lock bigint;

-- Where all tables are published for replication, Postgres refuses to change a row that nothing identifies.
alter table realtime.feed replica identity full;

-- The load of a dump must not add a second feed.
create or replace function realtime.one_feed_v1() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from realtime.feed) then
        raise exception 'schema realtime has its feed already';
    end if;
    return new;
end
$$;
create or replace trigger one_feed before insert on realtime.feed
for each row execute function realtime.one_feed_v1();

insert into realtime.feed (s1, s2) select '1:1:', '1:1:' where not exists (select from realtime.feed);

-- The second since 1970 up to which no writer rings the doorbell, since the notifier is awake. It is a sequence: every
-- reader sees its present value, whatever the reader's snapshot, and only a role with rights on the sequence can set
-- the value or block that it is set. A value that a killed notifier has set expires.
create sequence if not exists realtime.silent_until as bigint;

-- The checkpoint that each topic must have in Redis before the batch: TOKEN:ID of the last change that it accepted.
-- The last row of a topic counts. Rows are only added, for the reason above; old rows are deleted from time to time.
create table if not exists realtime.mark (
    id bigint generated always as identity,
    topic text not null,
    mark text not null
) with (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000
);
alter table realtime.mark replica identity full; -- as the feed

-- The version of the schema; `realtime.migrations` compares it. A program whose own version is lower than `oldest`
-- does not use the schema: a migration that removes or redefines something that older programs use raises `oldest`.
create table if not exists realtime.version (
    singleton boolean primary key default true check (singleton),
    version integer not null
);
alter table realtime.version add column if not exists oldest integer not null default 0;
