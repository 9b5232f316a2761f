"""The Autobahn cases of the WebSocket protocol, run by kosoku against an echo of the gateway's own parts.

All but performance (9.*) and compression (12.*, 13.*), which is off. A case that is not plainly OK stands
here with the reason.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

import pytest
from kosoku import FailureError, run_fuzzingclient

from tests.echo_fixture import echo_server

EXCLUDED = ["9.*", "12.*", "13.*"]
CASES = 247
SECONDS = 120.0  # for all of them, which take 3 on a quiet machine
AT_ONCE = 4

# What came just before the bad frame is not said back any more, since the bad frame closes at once.
CLOSED_BEFORE_THE_ECHO = ["3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"]
# Text is checked when the message is whole, and not with each fragment: at most 64 KiB later.
CHECKED_WHEN_WHOLE = ["6.4.1", "6.4.2", "6.4.3", "6.4.4"]
# A message of 256 KiB is over `max_message_bytes`, which closes with 1009 before the client's close is read.
TOO_BIG = ["7.1.6"]
# Close codes from 5000 on: RFC 6455 says nothing of them, and we refuse them with 1002.
UNDEFINED = ["7.13.1", "7.13.2"]
REASONS = {
    "NON-STRICT": {*CLOSED_BEFORE_THE_ECHO, *CHECKED_WHEN_WHOLE},
    "INFORMATIONAL": {*TOO_BIG, *UNDEFINED},
}


async def test_every_autobahn_case_is_ok_or_has_its_reason_here(capsys: pytest.CaptureFixture[str]) -> None:
    async with echo_server() as port, asyncio.timeout(SECONDS):
        url = f"ws://127.0.0.1:{port}/"
        try:
            results = await run_fuzzingclient(url, exclude_cases=EXCLUDED, concurrency=AT_ONCE)
        except FailureError as failure:
            results = failure.results
    verdicts = {result.case_id: (result.behavior.value, result.behavior_close.value) for result in results}
    summary = Counter(behavior for behavior, _ in verdicts.values())
    with capsys.disabled():
        sys.stdout.write(f"\nAutobahn, {len(results)} cases: {dict(summary)}\n")
    others = {case for case, verdict in verdicts.items() if verdict != ("OK", "OK")}
    unexplained = {case: verdicts[case] for case in others if case not in REASONS.get(verdicts[case][0], ())}
    assert unexplained == {}
    assert len(verdicts) == CASES
