"""Postgres and Valkey from wheels, in one data directory, for `realtime dev` and the tests."""
