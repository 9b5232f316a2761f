"""The keys of one project, wherever they come from: a `KeyRing` that checks the project's tokens.

Each tenant makes a key ring and closes it. The keys of a `jwks_url` are fetched on first use and kept;
`realtime.auth.tokens` alone decides what a token must look like.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

from realtime.auth.tokens import Identity, UnknownKey, VerificationKeys, verify
from realtime.causes.sentence import why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.settings.config import Project
from realtime.settings.jwt_keys import KeySet, keys_of_jwks
from realtime.waiting.outage import Outage
from realtime.waiting.single_flight import SingleFlight
from realtime.waiting.survival import Part

FETCH_SECONDS = 5.0  # for the keys at a `jwks_url` to arrive
MAX_JWKS_BYTES = 1_048_576  # a larger response is not a JWKS, and is not read to its end
MAX_AGE_SECONDS = 600  # older keys are fetched again in the background, so that a withdrawn key ends
REFRESH_SECONDS = 60  # strangers can make up key ids: they cause at most one fetch in this time
RETRY_SECONDS = 1  # instead of REFRESH_SECONDS, for a project that has no keys yet and cannot serve clients

log = get_logger(__name__)

_part = Part("jwks")


class KeyRing:
    """Checks the tokens of one project."""

    def __init__(self, project_id: str, keys: VerificationKeys, remote: RemoteKeys | None = None) -> None:
        self._project_id = project_id
        self._keys = keys
        self._remote = remote

    @classmethod
    def of(
        cls,
        project_id: str,
        project: Project,
        session: aiohttp.ClientSession,
        clock: Callable[[], float] = time.monotonic,
        fetch_seconds: float = FETCH_SECONDS,
    ) -> KeyRing:
        """Return the key ring that the settings of a project ask for; nothing is fetched yet."""
        remote = None
        if project.jwks_url is not None:
            document = RemoteDocument(project.jwks_url, session, fetch_seconds)
            remote = RemoteKeys(project_id, document, clock)
        return cls(project_id, VerificationKeys.of(project), remote)

    def __repr__(self) -> str:
        return f"<KeyRing {self._project_id} {'/'.join(self._keys.algorithms)}, {self._remote or 'own key'}>"

    async def verify(self, token: str, now: float) -> Identity:
        """Return the identity in `token`; `now` is in seconds since 1970.

        Raises ClientError as `tokens.verify` does, and Unavailable until the project's JWKS was fetched once.
        """
        if self._remote is None:
            return verify(token, self._project_id, self._keys, now)
        known = self._remote.current()
        try:
            return self._verify_with(known, token, now)
        except UnknownKey:
            newer = await self._remote.newer_than(known)
        return self._verify_with(newer, token, now)

    async def retire(self) -> None:
        """Close after the fetch that is under way, which ends within its timeout."""
        try:
            if self._remote is not None:
                await self._remote.settle()
        finally:
            await self.close()

    async def close(self) -> None:
        """Cancel a fetch that is under way."""
        if self._remote is not None:
            await self._remote.close()

    def _verify_with(self, keys: KeySet, token: str, now: float) -> Identity:
        return verify(token, self._project_id, dataclasses.replace(self._keys, keys=keys), now)


class RemoteKeys:
    """The keys at a `jwks_url`: one fetch at a time; old keys stay in force until newer keys were fetched."""

    def __init__(self, project_id: str, document: RemoteDocument, clock: Callable[[], float]) -> None:
        self._project_id = project_id
        self._document = document
        self._clock = clock
        self._keys: KeySet = {}
        self._outage = Outage()  # which causes of failed fetches are news
        self._loaded = False  # whether `_keys` ever came from the URL
        self._flight: SingleFlight[None] = SingleFlight(name=f"jwks of {project_id}")
        self._next_on_demand = -math.inf  # by the clock: when an unknown key may cause a fetch again
        self._next_by_age = math.inf  # by the clock: when the keys are to be fetched again unasked

    def __repr__(self) -> str:
        return f"{len(self._keys)} fetched keys" if self._loaded else "no keys yet"

    def current(self) -> KeySet:
        """Return the keys in force, none before the first fetch; start a fetch if the keys are old."""
        now = self._clock()
        if now >= self._next_by_age:
            self._next_by_age = now + REFRESH_SECONDS
            self._flight.start(self._fetch)
        return self._keys

    async def newer_than(self, known: KeySet) -> KeySet:
        """Return newer keys than `known` if there are any; Unavailable if no keys were ever fetched."""
        if self._keys is known:
            if not self._flight.is_under_way and self._clock() >= self._next_on_demand:
                self._next_on_demand = self._clock() + (REFRESH_SECONDS if self._loaded else RETRY_SECONDS)
                self._flight.start(self._fetch)
            if self._flight.is_under_way:
                await self._flight.get(self._fetch)
        if not self._loaded:
            raise Unavailable("the keys that tokens are checked with cannot be had now")
        return self._keys

    async def settle(self) -> None:
        """Wait for the end of a fetch that is under way."""
        await self._flight.settle()

    async def close(self) -> None:
        """Cancel a fetch that is under way, and everybody who waits for the fetch."""
        await self._flight.close()

    async def _fetch(self) -> None:
        try:
            await self._replace_keys()
        except Exception as error:
            if _part.count(error):
                log.error("jwks_fetch_crashed", project=self._project_id, exc_info=error)
            raise

    async def _replace_keys(self) -> None:
        try:
            keys = keys_of_jwks(await self._document.download())
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            self._log_failure(error)
            return
        if not keys:
            log.warning("jwks_empty", project=self._project_id)
        if not self._loaded:
            self._next_on_demand = -math.inf  # the first fetch is not yet a refresh
        self._keys, self._loaded = keys, True
        self._next_by_age = self._clock() + MAX_AGE_SECONDS

    def _log_failure(self, error: Exception) -> None:
        """Log why a fetch failed: each cause once, however many fetches strangers cause."""
        address = urlsplit(self._document.url).netloc.rpartition("@")[2]
        is_ours = type(error) is ValueError  # raised by this service for a wrong response
        reason = f"{address}: {error}" if is_ours else why(error, address)
        if self._outage.is_news(reason, self._clock()):
            log.warning(
                "jwks_fetch_failed", project=self._project_id, error=reason, keys_count=len(self._keys)
            )


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteDocument:
    """A document at a URL, and how long a download may take."""

    url: str
    session: aiohttp.ClientSession
    timeout_seconds: float

    async def download(self) -> bytes:
        """Return the document; ValueError for a wrong response."""
        body = bytearray()
        timeout = aiohttp.ClientTimeout(total=self.timeout_seconds)
        async with self.session.get(self.url, timeout=timeout, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"answered {response.status} instead of 200")
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_JWKS_BYTES:
                    raise ValueError(f"answered more than {MAX_JWKS_BYTES} bytes")
        return bytes(body)
