"""The HTTP side of a gateway: connections, REST endpoints, refusals and rates."""
