"""How every process logs: one line a fact on standard error, and never a token.

We do not log tokens, and keep libraries from quoting requests that carry one (`gateway.http_edge`). As a net
below that, what looks like a token is cut from whatever is written, at any level.
"""

from __future__ import annotations

import logging
import re
import sys

_TOKEN = re.compile(r"eyJ[\w.-]+|(?<=token=)[^\s&'\"]+|(?<=Bearer )[^\s'\"]+")


class _WithoutTokens(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _TOKEN.sub("[token]", super().format(record))


def configure_logging(level: str = "INFO") -> None:
    """Set up logging of this process; to be called once, by the command line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WithoutTokens("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
