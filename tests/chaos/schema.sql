-- What the chaos suite writes to, and by which the referee knows what was committed.
--
-- An update is always `version = version + 1`, which the row's lock puts in order: so the committed history of
-- a row is exactly versions 1 to V, and perhaps a DELETE of version V. Whoever deletes a row digs its grave in
-- the same transaction, so that a row that lived between two looks is known too. Ids are never used twice,
-- unless an earlier dump is restored.

create table chaos_a (
    id bigserial primary key,
    version int not null default 1,
    note text not null
);

create table chaos_b (like chaos_a including all);
create sequence chaos_b_id;
alter table chaos_b alter column id set default nextval('chaos_b_id');

create table chaos_c (like chaos_a including all);
create sequence chaos_c_id;
alter table chaos_c alter column id set default nextval('chaos_c_id');

create table graves (
    name text not null,
    id bigint not null,
    version int not null,
    primary key (name, id)
);
