"""Receives messages from Redis, and delivers them through the hub."""
