"""Ways to wait, and to go on: what a task does between two tries."""
