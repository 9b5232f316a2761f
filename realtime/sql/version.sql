-- Last of all: the version that is installed now, from the setting realtime.schema_version.
insert into realtime.version (version) values (current_setting('realtime.schema_version')::integer)
on conflict (singleton) do update set version = excluded.version;
