"""What the notifier and the gateway share: vocabulary, settings, and access to Redis and Postgres."""

__version__ = "0.1.0"
