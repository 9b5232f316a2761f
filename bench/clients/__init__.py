"""Processes full of clients, told what to do a line at a time: they cost next to nothing of the machine."""
