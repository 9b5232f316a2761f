"""The Postgres and Valkey that `realtime dev` and the tests run, from wheels, below one data directory."""
