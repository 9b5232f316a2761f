"""REST as its OpenAPI document describes it: schemathesis sends what fits and what does not, by every token.

It asks real processes, and finds the same things with the same seed. A run prints its summary.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.auth.tokens import SERVICE_ROLE
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import clean_environment
from tests.acceptance.served import served
from tests.gateway_fixture import token_for

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
SEED, EXAMPLES = 10, 15  # of each request, beside those that cover the types
RUN_SECONDS = 120  # for a run; there are three

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
LEFT_OUT = {
    "missing_required_header": "no header is required but the token's, for which there is ignored_auth",
    "use_after_free": "nothing is made by a request that another one could delete",
    "ensure_resource_availability": "likewise",
    "object_level_authorization": "a request names nothing that belongs to one user",
}

# Where a request that fits the document may be refused by 400 all the same: no pattern says which characters
# can be seen, and which columns a table has is known to the database alone.
KNOWN_LATER = ("presence", "broadcast", "enable", "enable/preview")

FREE = (
    "[projects.demo.limits]",
    *(f"requests_per_second_per_{one} = 0" for one in ("ip", "token")),
    "[limits]",
    "requests_per_second_per_ip = 0",
)

TOKENS = {"service_role": token_for(role=SERVICE_ROLE), "an ordinary token": token_for(), "no token": None}


def configuration(token: str | None) -> str:
    lines = ["[parameters]", '"path.project_id" = "demo"', "[checks]"]
    lines += [f"{check}.enabled = {str(check in CHECKS).lower()}" for check in (*CHECKS, *LEFT_OUT)]
    if token is not None:
        lines += ["[auth.openapi.token]", f"bearer = {json.dumps(token)}"]
    for name in KNOWN_LATER:
        lines += ["[[operations]]", f'include-operation-id = "{name}"']
        lines += ["[operations.checks]", "positive_data_acceptance.enabled = false"]
    return "\n".join(lines) + "\n"


def ask(url: str, directory: Path, token: str | None) -> subprocess.CompletedProcess[str]:
    """Run schemathesis to its end."""
    file = directory / "schemathesis.toml"
    file.write_text(configuration(token))
    words = [SCHEMATHESIS, "--config-file", file, "run", f"{url}/openapi.json", "--no-color"]
    words += ["--seed", SEED, "--max-examples", EXAMPLES]
    words += ["--workers", 1, "--generation-database", "none", "--continue-on-failure"]
    return subprocess.run(
        [str(word) for word in words],
        cwd=directory,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )


def test_every_check_is_made_or_left_out_for_a_reason() -> None:
    program = [str(SCHEMATHESIS), "run", "--help"]
    told = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    start = told.index("--checks")
    listed = told[start : told.index("--exclude-checks", start)].partition("[possible values:")[2]
    there = {one.strip() for one in listed.rstrip().rstrip("]").split(",")} - {"all"}
    assert there == {*CHECKS, *LEFT_OUT}


@pytest.mark.timeout(3 * RUN_SECONDS + 60)
async def test_rest_is_what_its_document_says_with_every_token_and_with_none(
    messages: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    messages.write(project=FREE)
    async with served(messages) as parts:
        for who, token in TOKENS.items():
            done = await asyncio.to_thread(ask, parts.url, messages.directory, token)
            with capsys.disabled():
                sys.stdout.write(f"\nschemathesis with {who}: {done.stdout.partition('= SUMMARY =')[2]}")
            assert done.returncode == 0, done.stdout
            assert "Tested: 16" in done.stdout
