"""The waits of the clients of Redis fit into one another, so that an error names its cause."""

from __future__ import annotations

from realtime.redis.pool import GUIDE_TLS_ANSWER_SECONDS
from realtime.redis.timings import DEFAULTS
from realtime.redis.topology import ASK_SECONDS


def test_a_tls_handshake_without_an_answer_ends_before_what_waits_for_it() -> None:
    assert DEFAULTS.tls_answer_seconds < DEFAULTS.call_seconds
    assert GUIDE_TLS_ANSWER_SECONDS < ASK_SECONDS
