"""How Postgres is reached."""
