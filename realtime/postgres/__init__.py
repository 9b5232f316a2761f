"""Access to Postgres: connections, the schema `realtime`, and the tables of a project."""
