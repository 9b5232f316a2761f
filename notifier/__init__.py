"""Turns committed changes of Postgres into publications in Redis."""
