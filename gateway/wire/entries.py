"""A presence entry as JSON: a node writes it, Redis stores it, and every client gets it unchanged."""

from __future__ import annotations

import msgspec

from gateway.timestamps import rfc3339


def presence_entry(
    connection_id: str, user_id: str | None, state: bytes, joined_at: float, updated_at: float
) -> bytes:
    """Build one entry; `state` is JSON as the client sent it, times are seconds since 1970."""
    return b"".join(
        (
            b'{"connection_id":"%b","user_id":' % connection_id.encode(),
            msgspec.json.encode(user_id),
            b',"state":',
            # A newline would end the line in Redis; in JSON a space means the same. As in a broadcast.
            state.replace(b"\n", b" "),
            b',"joined_at":"%b"' % rfc3339(joined_at).encode(),
            b',"updated_at":"%b"}' % rfc3339(updated_at).encode(),
        )
    )
