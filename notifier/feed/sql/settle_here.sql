-- Notes in the row of the feed that it is stored in this database.
update realtime.feed
set
  system_identifier = (select system_identifier::text from pg_control_system()),
  database_oid = (select oid from pg_database where datname = current_database())
where (system_identifier, database_oid) is distinct from (
  (select system_identifier::text from pg_control_system()),
  (select oid from pg_database where datname = current_database())
)
