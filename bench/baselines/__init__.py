"""What the service is compared with, as processes: of each the least code that does the same for its clients.

`naive` and `bare` for the fan-out, `bare_listener` and `bare_gateway` as the bare chain, `bare_recovery` for
clients that come back. They know nothing of tokens, limits or slow clients.
"""
