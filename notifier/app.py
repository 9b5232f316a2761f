"""The notifier's composition root: every part in start order, stopped in reverse.

settings → publication store → election → projects: for each project its feed, its maintenance
        → internal port
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import AsyncExitStack
from functools import partial

from structlog.contextvars import bound_contextvars

from notifier.feed.publication_store import PublicationStore
from notifier.leadership.election import Election
from notifier.projects import Projects
from notifier.timings import DEFAULTS, Timings
from realtime import __version__
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.process.health import internal_http
from realtime.process.readiness import watch_readiness
from realtime.process.reload import Reloads
from realtime.redis.client import connect
from realtime.settings.config import Settings
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("notifier")


async def run(
    settings: Settings,
    internal_host: str,
    internal_port: int | None,
    reloads: Reloads | None = None,
    timings: Timings = DEFAULTS,
) -> None:
    """Serve every project until cancelled."""
    node = _id()
    with bound_contextvars(node=node):
        await _serve(settings, node, internal_host, internal_port, reloads, timings)


async def _serve(
    settings: Settings,
    node: str,
    internal_host: str,
    internal_port: int | None,
    reloads: Reloads | None,
    timings: Timings,
) -> None:
    async with connect(settings.redis_url) as store:
        publications = PublicationStore(store)
        election = Election(store, node, timings.leadership)
        await _warn_of_eviction(publications)
        async with AsyncExitStack() as stack:
            tasks = asyncio.TaskGroup()
            projects = Projects(settings, publications, election, tasks, timings)
            await stack.enter_async_context(
                internal_http(internal_host, internal_port, projects.why_not_ready)
            )
            await stack.enter_async_context(tasks)
            projects.begin()
            log.info(
                "process_started",
                version=__version__,
                pid=os.getpid(),
                internal_port=internal_port,
                projects=sorted(settings.projects),
            )
            tasks.create_task(watch_readiness(projects.why_not_ready), name="readiness")
            tasks.create_task(_part.keep_running(election.run), name="election")
            if reloads is not None:
                following = _part.keep_running(partial(reloads.follow, settings, projects.take))
                tasks.create_task(following, name="reloads")


def _id() -> str:
    """Return an id that no other notifier has, and that names the host."""
    return f"{socket.gethostname()}-{secrets.token_hex(3)}"


async def _warn_of_eviction(publications: PublicationStore) -> None:
    """Warn if Redis may evict keys: epochs and history are lost then, and clients receive `resync`."""
    try:
        policies = await publications.eviction_policies()
    except Unavailable:
        return
    for policy in policies - {"noeviction"}:
        log.warning("redis_may_evict", policy=policy)
