"""How a process runs."""
