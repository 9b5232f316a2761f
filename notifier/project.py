"""One project in the notifier: connect, lead, follow its changes, and start again after a fault.

Changes come from the feed and go to the publication store. Each project runs in a task of its own: if its
database is down, no other project waits.
"""

from __future__ import annotations

import asyncio
import time
from enum import Enum
from functools import partial

from structlog.contextvars import bind_contextvars

from notifier import metrics
from notifier.errors import AWAY, KNOWN_FAILURES
from notifier.feed.bounds import DEFAULT_BOUNDS, FeedBounds
from notifier.feed.doorbell import Doorbell, listening
from notifier.feed.feed import Feed
from notifier.feed.feed_settings import FeedSettings
from notifier.feed.follower import Follower
from notifier.feed.publication_store import PublicationStore
from notifier.feed.publisher import Publisher
from notifier.feed.timings import DEFAULTS, FeedTimings
from notifier.leadership.candidacy import Candidacy, HandOver
from notifier.leadership.leader import leading
from notifier.sessions import connect
from realtime import names
from realtime.causes.sentence import why
from realtime.logs.setup import get_logger
from realtime.postgres.connector import connector_for
from realtime.postgres.migrations import TooNew
from realtime.process.run import apart
from realtime.waiting.backoff import Backoff
from realtime.waiting.outage import Outage
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("feed")

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0


class State(Enum):
    """The state of a feed, in the words of `/readyz` and the logs."""

    CONNECTING = "connecting"
    STANDBY = "standby"  # another notifier reads the database
    NO_SCHEMA = "waiting for the schema"  # nothing was enabled yet
    LIVE = "live"
    NO_REDIS = "Redis is away"
    TOO_NEW = "the schema is newer than this program"
    FAILED = names.FEED_FAILED


class Dismissed(Exception):
    """This process no longer serves the project, or serves it with other settings."""


class ProjectFeed:
    """The feed of one project; without a candidacy in an election it knows of no other notifier."""

    def __init__(
        self,
        settings: FeedSettings,
        publications: PublicationStore,
        candidacy: Candidacy | None = None,
        timings: FeedTimings = DEFAULTS,
        bounds: FeedBounds = DEFAULT_BOUNDS,
    ) -> None:
        self.project_id = settings.project_id
        self.project = settings.project
        self._settings = settings
        self._publications = publications
        self._timings = timings
        self._bounds = bounds
        self.candidacy = Candidacy() if candidacy is None else candidacy
        self.state = State.CONNECTING
        self.reason = ""  # why it is in this state, for operators; "" if nothing is wrong
        self._outage = Outage()  # which failures were logged of late
        self._is_dismissed = False  # the feed must end, between two batches

    def __repr__(self) -> str:
        return f"<ProjectFeed {self.project_id}: {self.state.value}>"

    @property
    def leads(self) -> bool:
        """Whether this process is the leader, which reads the project's database."""
        return self.state in (State.NO_SCHEMA, State.LIVE, State.NO_REDIS)

    @property
    def has_lock(self) -> bool:
        """Whether nobody else leads, also while this process still loads the feed, which may take long."""
        return self.candidacy.leads_since is not None

    @property
    def has_resumed(self) -> bool:
        """Whether the feed was loaded, and is known to be the one of this database."""
        return self.state in (State.LIVE, State.NO_REDIS)

    @property
    def why_not_ready(self) -> str | None:
        """None while the feed leads, or stands by for a known leader; else the reason."""
        if self.state not in (State.STANDBY, State.NO_SCHEMA, State.LIVE):
            return f"{self.state.value}: {self.reason}" if self.reason else self.state.value
        return self.candidacy.doubt(time.monotonic(), self.leads)

    async def run(self) -> None:
        """Run until dismissed or cancelled, in a task of its own."""
        bind_contextvars(project=self.project_id)  # for logs of code that knows no project: migrations
        metrics.add_project(self.project_id)
        self._show_state()
        backoff = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
        while True:
            started = time.monotonic()
            try:
                await apart(self._lead_until_failure(), f"lead {self.project_id}")
            except* KNOWN_FAILURES as group:
                reason = why(group, connector_for(self.project.direct_url).server_name)
                state = _state_after(group)
                self._enter(state, "" if state is State.TOO_NEW else reason)
                metrics.faults.labels(self.project_id).inc()
                if self._outage.is_news(reason, time.monotonic()):
                    log.warning("feed_failed", project=self.project_id, error=reason)
                self.candidacy.fail(time.monotonic())
            except* HandOver as group:
                self._enter(State.STANDBY)
                metrics.handovers.labels(self.project_id).inc()
                log.info("leader_handed_over", project=self.project_id, to=_heir(group))
                backoff.reset()
            except* Dismissed:
                pass  # handled below: `except*` allows no `return`
            except* Exception as group:
                self._fail(group)
            if self._is_dismissed:
                return
            if time.monotonic() - started > LAST_RETRY_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    def _fail(self, error: ExceptionGroup[Exception]) -> None:
        """Record an unforeseen fault; it stops this project alone, and the others continue."""
        self._enter(State.FAILED)
        metrics.faults.labels(self.project_id).inc()
        _part.note(error, self.project_id)
        self.candidacy.fail(time.monotonic())

    def dismiss(self) -> None:
        """Ask a feed that leads to end soon; a feed that does not lead may be cancelled at once."""
        self._is_dismissed = True
        self.candidacy.wake()

    async def _lead_until_failure(self) -> None:
        """Lead this project's feed until something fails."""
        url = self.project.direct_url
        async with (
            leading(self.project_id, url, self.candidacy, self._stand_by, self._await_schema) as lead,
            listening(await connect(url, self.project_id), lead.lock, self._timings) as doorbell,
        ):
            lead.session.add_termination_listener(doorbell.startle)
            self.candidacy.wake = doorbell.startle
            doorbell.silence()  # writers need not ring while the feed is loaded
            feed = Feed(lead.session, self._timings, self._bounds)
            publisher = Publisher(
                self._settings, feed, self._publications, self._redis_is_away, self._timings
            )
            await publisher.begin()
            await self._follower(publisher, doorbell).follow()

    def _stand_by(self) -> None:
        self._enter(State.STANDBY)

    def _await_schema(self) -> None:
        self._enter(State.NO_SCHEMA)
        self._check()

    def _follower(self, publisher: Publisher, doorbell: Doorbell) -> Follower:
        between_batches = partial(self._between_batches, publisher)
        return Follower(self._settings, publisher, doorbell, between_batches, self._timings)

    async def _between_batches(self, publisher: Publisher) -> None:
        """Check what must stay true while this process leads."""
        self.candidacy.changes += publisher.published
        publisher.published = 0
        self.candidacy.hear(time.monotonic())
        self._check()
        await publisher.check_if_due()

    def _check(self) -> None:
        """Raise Dismissed or HandOver if this process must stop leading."""
        if self._is_dismissed:
            raise Dismissed
        self.candidacy.check(time.monotonic())

    def _redis_is_away(self, reason: str | None) -> None:
        self._enter(State.LIVE if reason is None else State.NO_REDIS, reason or "")

    def _enter(self, state: State, reason: str = "") -> None:
        self.reason = reason
        if state is not self.state:
            log.info("feed_state_changed", project=self.project_id, state=state.value)
            self.state = state
            self._show_state()
        self.candidacy.state = state.value

    def _show_state(self) -> None:
        states = [each.name.lower() for each in State]
        is_live = self.state in (State.NO_SCHEMA, State.LIVE)
        metrics.show_state(self.project_id, self.state.name.lower(), states, is_live=is_live)
        if not self.leads:
            metrics.forget_backlog(self.project_id)


def _state_after(failures: BaseExceptionGroup[BaseException]) -> State:
    if failures.subgroup(TooNew):
        return State.TOO_NEW
    _, others = failures.split(AWAY)
    return State.CONNECTING if others is None else State.FAILED


def _heir(group: BaseExceptionGroup[HandOver]) -> str:
    return ", ".join(one.to for one in group.exceptions if isinstance(one, HandOver))
