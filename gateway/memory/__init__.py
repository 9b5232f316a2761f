"""Limits the memory that a node holds for its clients, and closes clients beyond the limit."""
