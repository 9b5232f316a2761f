"""Measurements on real servers, started and thrown away by themselves: `make bench`."""
