"""How every process logs: an event with its facts, one line each on standard error, and never a token.

Every module asks `get_logger`; `docs/operations.md` lists the events. We do not log tokens, and keep
libraries from quoting requests that carry one (`gateway.http.middlewares`). As a net below that, what looks
like a token is cut from whatever is written, at any level: see `realtime.logs.format`.
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

# What tells one client from another; `node` stays, since it is true of all that a process does.
IDS = ("connection_id", "request_id", "project")


class LogFormat(StrEnum):
    """How records are written; `auto` is text on a terminal, and JSON for whoever collects."""

    TEXT = "text"
    JSON = "json"
    AUTO = "auto"


def get_logger(name: str) -> BoundLogger:
    """Return the logger of a module: `log.info("event_name", fact=…)`, and what is bound around it.

    Its records go through the standard library's logger of that name, as those of other packages do.
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
    """Return a context without the ids of a client, for a task that one client begins and many profit of."""
    context = copy_context()
    context.run(unbind_contextvars, *IDS)
    return context


def formatter(log_format: LogFormat) -> logging.Formatter:
    """Return what makes lines of records, of ours and of other packages alike."""
    if log_format is LogFormat.AUTO:
        log_format = LogFormat.TEXT if sys.stderr.isatty() else LogFormat.JSON
    # Without the ids of whoever happened to be served: a package's pools and timers work for many.
    return ProcessorFormatter(
        foreign_pre_chain=[format_exc_info],
        processors=[as_text if log_format is LogFormat.TEXT else as_json],
    )


def configure_logging(level: str = "INFO", log_format: LogFormat = LogFormat.AUTO) -> None:
    """Set up logging of this process; to be called once, by the command line. ValueError: no such level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_crash


log = get_logger(__name__)


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell what ends the process in the form of everything else, without the tokens that it may quote."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("process_crashed", exc_info=(kind, error, trace))
