"""How a process runs: what both the gateway and the notifier do with the outside as processes."""
