"""The vocabulary that the notifier and the gateway share, and the few doors to the outside."""

__version__ = "0.1.0"
