-- Runs last: records the version of the installed schema, and the oldest version that a program must know to use it.
insert into realtime.version (version, oldest)
values (current_setting('realtime.schema_version')::integer, current_setting('realtime.oldest_version')::integer)
on conflict (singleton) do update set version = excluded.version, oldest = excluded.oldest;
