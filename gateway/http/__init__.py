"""The HTTP side of a gateway: connections, refusals, rates."""
