"""From Redis to the hub."""
