"""Logging of every process: an event with its facts on one line of standard error, and never a token.

Every module calls `get_logger`; `docs/operations.md` lists the events. Our code logs no token, and keeps
libraries from quoting requests that contain one (`gateway.http.middlewares`). As a second protection,
`realtime.logs.format` cuts everything that looks like a token from every record, at any level.
"""

from __future__ import annotations

import logging
import sys
from contextvars import Context, copy_context
from enum import StrEnum
from types import TracebackType
from typing import cast

import structlog
from structlog.contextvars import merge_contextvars, unbind_contextvars
from structlog.processors import format_exc_info
from structlog.stdlib import BoundLogger, ProcessorFormatter, filter_by_level

from realtime.logs.format import as_json, as_text

# The ids of one client. `node` is not among them, since it is true of all work of the process.
IDS = ("connection_id", "request_id", "project")


class LogFormat(StrEnum):
    """Format of log records; `auto` is text on a terminal, and JSON elsewhere."""

    TEXT = "text"
    JSON = "json"
    AUTO = "auto"


def get_logger(name: str) -> BoundLogger:
    """Return the logger of a module: `log.info("event_name", fact=…)` also logs the bound context variables.

    Its records go through the standard library's logger of that name, like the records of other packages.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            filter_by_level,
            merge_contextvars,
            format_exc_info,
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return cast(BoundLogger, logger)


def shared_context() -> Context:
    """Return a context without the ids of a client, for a task that one client starts and many use."""
    context = copy_context()
    context.run(unbind_contextvars, *IDS)
    return context


def formatter(log_format: LogFormat) -> logging.Formatter:
    """Return the formatter of all records, ours and those of other packages."""
    if log_format is LogFormat.AUTO:
        log_format = LogFormat.TEXT if sys.stderr.isatty() else LogFormat.JSON
    # Records of other packages get no client ids: a package's pools and timers work for many clients.
    return ProcessorFormatter(
        foreign_pre_chain=[format_exc_info],
        processors=[as_text if log_format is LogFormat.TEXT else as_json],
    )


def configure_logging(level: str = "INFO", log_format: LogFormat = LogFormat.AUTO) -> None:
    """Set up logging of this process; the command line calls it once. ValueError for an unknown level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_crash


log = get_logger(__name__)


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log the exception that ends the process like any other record, without tokens that it may quote."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("process_crashed", exc_info=(kind, error, trace))
