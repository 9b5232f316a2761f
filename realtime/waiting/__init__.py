"""Ways to wait, retry and survive failures: what a task does between two tries."""
