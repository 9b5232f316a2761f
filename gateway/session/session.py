"""The rules of one connection: a command of the client comes in, effects go out.

An effect is a thing to do, such as `Say`, `Join` or `Publish`. `gateway.websocket.connection` does it, in
order, and reports the outcome. A codec has decoded the command; payloads and states stay JSON text, which
nobody parses. Time comes in as an argument. Never awaits, never touches a socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from gateway.session.effects import Close, Effect, Join, Leave, Publish, Say, SetPresence, Verify
from gateway.session.flood_guard import FRAGMENTS_AS_ONE, FloodGuard, Verdict
from gateway.session.presence import Presence, Presences
from gateway.session.timings import DEFAULTS, SessionTimings
from gateway.timestamps import rfc3339
from gateway.wire.commands import (
    Authenticate,
    Broadcast,
    ClientCommand,
    Malformed,
    Ping,
    Subscribe,
    Unsubscribe,
    UpdatePresence,
)
from gateway.wire.events import (
    Acknowledged,
    Joined,
    Left,
    Pong,
    Reauthenticated,
    Ref,
    Refused,
    Welcomed,
)
from realtime.auth.tokens import LEEWAY_SECONDS, Identity
from realtime.channels import Channel, parse_broadcast_channel, parse_channel, presence_topic
from realtime.errors import ClientError, Code
from realtime.publications import Position, Sender, broadcast_line, parse_position
from realtime.settings.config import Limits


@dataclass(frozen=True, slots=True)
class SessionRules:
    """What bounds the commands of a client."""

    limits: Limits
    timings: SessionTimings = DEFAULTS


class Session:
    """The state of one connection: its user, its channels, and what it is present with."""

    __slots__ = (
        "_guard",
        "channels",
        "connection_id",
        "deadline",
        "identity",
        "limits",
        "presences",
        "project_id",
    )

    def __init__(
        self, project_id: str, connection_id: str, identity: Identity, rules: SessionRules, now: float
    ) -> None:
        self.project_id = project_id
        self.connection_id = connection_id
        self.limits = limits = rules.limits
        self.identity = identity
        self.deadline = _deadline(identity, now)  # when the token expires, in seconds since 1970
        self.channels: dict[str, Channel] = {}  # subscribed, or being subscribed, by name
        self.presences = Presences(project_id, connection_id, identity.user_id, limits)
        self._guard = FloodGuard(limits.messages_per_second, now, rules.timings)

    def __repr__(self) -> str:
        return f"<Session {self.connection_id} in {self.project_id}, {len(self.channels)} channels>"

    def received(self, command: ClientCommand, now: float) -> list[Effect]:
        """Decide what a command means; return its effects."""
        match command:
            case Subscribe():
                return self._subscribe(command)
            case Unsubscribe():
                return self._unsubscribe(command)
            case Broadcast():
                return self._broadcast(command, now)
            case UpdatePresence():
                return self._update_presence(command, now)
            case Ping():
                return [Say(Pong(now, command.ref))]
            case Authenticate():
                return [Verify(command.token, command.ref)]
            case Malformed():
                return [Say(command.refusal)]
            case _:
                assert_never(command)

    def _subscribe(self, command: Subscribe) -> list[Effect]:
        try:
            channel = parse_channel(command.channel)
            if command.filter is not None:
                raise ClientError(Code.INVALID_FILTER, "`filter` is not supported yet")
            since = None if command.since is None else parse_position(command.since)
        except ClientError as error:
            return [Say(refusal(error, command.ref, command.channel))]
        full = len(self.channels) >= self.limits.max_channels_per_connection
        if full and channel.name not in self.channels:
            limit = self.limits.max_channels_per_connection
            too_many = ClientError(Code.TOO_MANY_CHANNELS, f"a connection has {limit} channels at most")
            return [Say(refusal(too_many, command.ref, command.channel))]
        self.channels[channel.name] = channel
        return [Join(channel, since, command.ref)]

    def _unsubscribe(self, command: Unsubscribe) -> list[Effect]:
        try:
            channel = parse_channel(command.channel)
        except ClientError as error:
            return [Say(refusal(error, command.ref, command.channel))]
        effects: list[Effect] = []
        if self.channels.pop(channel.name, None):
            effects.append(Leave(channel))
        effects.append(Say(Left(channel.name, command.ref)))
        return effects

    def _broadcast(self, command: Broadcast, now: float) -> list[Effect]:
        try:
            channel = parse_broadcast_channel(command.channel)
        except ClientError as error:
            return [Say(refusal(error, command.ref, command.channel))]
        sender = Sender(self.connection_id, self.identity.user_id)
        line = broadcast_line(command.payload, sender, rfc3339(now), command.to_self)
        return [Publish(channel, line, command.ref)]

    def _update_presence(self, command: UpdatePresence, now: float) -> list[Effect]:
        try:
            topic = presence_topic(command.channel)
            if command.state is not None:
                self.presences.check(topic, command.state)
        except ClientError as error:
            return [Say(refusal(error, command.ref, command.channel))]
        if command.state is None and self.presences.is_settled_absence(
            topic
        ):  # nothing to remove, here or in Redis
            return self.write_acknowledged(command.ref)
        presence = self.presences.under(topic)
        before = presence.state
        self.presences.update(presence, command.state, now)
        return [SetPresence(presence, before, command.ref)]

    # Outcomes: the connection reports here what became of an effect.

    def joined(self, join: Join, position: Position, recovered: bool, enabled: bool | None) -> Joined:
        """Return the answer to a successful `subscribe`; messages after `position` follow the answer."""
        return Joined(join.channel, position, recovered, enabled, join.ref)

    def join_failed(self, join: Join, error: ClientError) -> list[Effect]:
        """Return the effects of a `subscribe` that failed; the client may retry."""
        self.channels.pop(join.channel.name, None)
        return [Leave(join.channel), Say(refusal(error, join.ref, join.channel.name))]

    def write_acknowledged(self, ref: Ref | None) -> list[Effect]:
        """Return the answer to a write that Redis has acknowledged."""
        return [] if ref is None else [Say(Acknowledged(ref))]

    def write_failed(self, effect: Publish | SetPresence, error: ClientError) -> list[Effect]:
        """Return the answer to a write that failed or may have failed; undo a presence change here."""
        match effect:
            case Publish():
                return [Say(refusal(error, effect.ref, effect.channel.name))]
            case SetPresence():
                self.presences.put(effect.presence, effect.before)
                return [Say(refusal(error, effect.ref))]
            case _:
                assert_never(effect)

    def verified(self, verify: Verify, outcome: Identity | ClientError, now: float) -> list[Effect]:
        """Take a newer token for the same user; if the newer token is refused, the old one stays in force."""
        if isinstance(outcome, ClientError):
            return [Say(refusal(outcome, verify.ref))]
        if outcome.user_id != self.identity.user_id:
            stranger = ClientError(Code.UNAUTHORIZED, "the token is for another `sub`")
            return [Say(refusal(stranger, verify.ref))]
        self.identity = outcome
        self.deadline = _deadline(outcome, now)
        return [Say(Reauthenticated(outcome.expires_at, verify.ref))]

    # The rest of a connection's life.

    def greeting(self, heartbeat_seconds: float) -> Welcomed:
        return Welcomed(
            connection_id=self.connection_id,
            project_id=self.project_id,
            user_id=self.identity.user_id,
            expires_at=self.identity.expires_at,
            heartbeat_seconds=heartbeat_seconds,
        )

    def throttled(self, now: float) -> Sequence[Effect] | None:
        """Count a message before it is decoded; return None to decode it, else effects instead."""
        return self._slow_down(self._guard.judge(now))

    def received_frames(self, controls: int, fragments: int, now: float) -> list[Say | Close]:
        """Count frames that are no messages: pings, pongs, closes and small fragments."""
        count = controls + fragments / FRAGMENTS_AS_ONE
        return self._slow_down(self._guard.judge_frames(count, now)) or []

    def _slow_down(self, verdict: Verdict) -> list[Say | Close] | None:
        match verdict:
            case Verdict.PASS:
                return None
            case Verdict.DROP:
                return []
            case Verdict.WARN:
                return [Say(Refused(Code.RATE_LIMITED, self._rate_message()))]
            case Verdict.CLOSE:
                return [Close(Refused(Code.RATE_LIMITED, self._rate_message()))]
            case _:
                assert_never(verdict)

    def _rate_message(self) -> str:
        rate = f"{self.limits.messages_per_second:g}"
        return f"more than {rate} messages a second, or too many other frames; what came above was dropped"

    @property
    def presence_bytes(self) -> int:
        """Bytes of all presence states of the client, and of its user id in each entry."""
        if self.presences.is_empty:  # as most are: this is asked of all clients again and again
            return 0
        return self.presences.state_bytes + len(self.presences) * len(self.identity.user_id or "")

    def tick(self, now: float) -> list[Close]:
        """Close when the token has expired."""
        if now < self.deadline:
            return []
        return [Close(Refused(Code.TOKEN_EXPIRED, "the token ran out and no newer one came"))]

    def end(self) -> list[Presence]:
        """End the session of a closed connection; return the presences that the client had."""
        return self.presences.clear()


def _deadline(identity: Identity, now: float) -> float:
    """Return when a token expires: at `exp`, or after the leeway if the token was accepted after `exp`."""
    return identity.expires_at if identity.expires_at > now else identity.expires_at + LEEWAY_SECONDS


def refusal(error: ClientError, ref: Ref | None = None, channel: str | None = None) -> Refused:
    """Return the event that tells the client of an error."""
    return Refused(error.code, error.message, ref, channel)
