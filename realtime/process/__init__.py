"""How a process runs: signals, settings, health and children, for both the gateway and the notifier."""
