-- Last of all: the version that is installed now, and the oldest program that may use it.
insert into realtime.version (version, oldest)
values (current_setting('realtime.schema_version')::integer, current_setting('realtime.oldest_version')::integer)
on conflict (singleton) do update set version = excluded.version, oldest = excluded.oldest;
