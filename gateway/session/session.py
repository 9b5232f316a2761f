"""One connection's life, as rules: what a client's message means, what it may do, what is left to do.

The connection decodes and hands messages in; the effects that come out are carried out in order. Time
comes in as an argument. Never awaits, never touches a socket.
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from gateway.session.effects import Close, Effect, Join, Leave, Presence, Publish, Say, SetPresence, Verify
from gateway.session.flood_guard import FRAGMENTS_AS_ONE, FloodGuard, Verdict
from gateway.wire import native
from gateway.wire.native import (
    Ack,
    AnyClientMessage,
    Auth,
    Authenticated,
    BadMessage,
    Broadcast,
    Connected,
    Error,
    Ping,
    Pong,
    Ref,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    encode,
)
from realtime.auth.tokens import LEEWAY_SECONDS, Identity
from realtime.channels import Channel, parse_broadcast_channel, parse_channel, presence_topic
from realtime.errors import ClientError, Code
from realtime.publications import Position, Sender, broadcast_line, parse_position
from realtime.settings.config import Limits
from realtime.timestamps import rfc3339


class Session:
    """What a connection is to us: whose it is, and what it listens to."""

    def __init__(
        self, project_id: str, connection_id: str, identity: Identity, limits: Limits, now: float
    ) -> None:
        self.project_id = project_id
        self.connection_id = connection_id
        self.limits = limits
        self.identity = identity
        self.deadline = _deadline(identity, now)  # seconds since 1970, when the token has run out
        self.channels: dict[str, Channel] = {}  # joined, or on the way in, by name
        self.presences: dict[str, Presence] = {}  # what the client is present with, by topic
        self._doubts: set[str] = set()  # topics where Redis may have something else; it is being put right
        self._guard = FloodGuard(limits.messages_per_second, now)

    def __repr__(self) -> str:
        return f"<Session {self.connection_id} in {self.project_id}, {len(self.channels)} channels>"

    def greeting(self, heartbeat_seconds: float) -> Connected:
        return Connected(
            connection_id=self.connection_id,
            project_id=self.project_id,
            user_id=self.identity.user_id,
            expires_at=rfc3339(self.identity.expires_at),
            heartbeat_seconds=int(heartbeat_seconds) if heartbeat_seconds % 1 == 0 else heartbeat_seconds,
        )

    def refused(self, now: float) -> list[Effect] | None:
        """Count a message before it is read: None if it may be, else what there is to do instead."""
        return self._slow_down(self._guard.judge(now))

    def heard_frames(self, controls: int, fragments: int, now: float) -> list[Effect]:
        """Count frames that are no messages: pings, pongs and closes, and fragments of little size."""
        count = controls + fragments / FRAGMENTS_AS_ONE
        return self._slow_down(self._guard.judge_frames(count, now)) or []

    def _slow_down(self, verdict: Verdict) -> list[Effect] | None:
        match verdict:
            case Verdict.PASS:
                return None
            case Verdict.DROP:
                return []
            case Verdict.WARN:
                return [Say(Error(code=Code.RATE_LIMITED, message=self._pace()))]
            case Verdict.CLOSE:
                return [Close(Error(code=Code.RATE_LIMITED, message=self._pace()))]

    def _pace(self) -> str:
        rate = f"{self.limits.messages_per_second:g}"
        return f"more than {rate} messages a second, or too many other frames; what came above was dropped"

    def received(self, message: AnyClientMessage | BadMessage, now: float) -> list[Effect]:
        """Decide what a message asks for."""
        match message:
            case Subscribe():
                return self._subscribe(message)
            case Unsubscribe():
                return self._unsubscribe(message)
            case Broadcast():
                return self._broadcast(message, now)
            case native.Presence():
                return self._presence(message, now)
            case Ping():
                return [Say(Pong(timestamp=rfc3339(now), ref=_echo(message.ref)))]
            case Auth():
                return [Verify(message.token, message.ref)]
            case BadMessage():
                return [Say(message.error)]

    @property
    def presence_bytes(self) -> int:
        """What the client is present with: each entry has its state, and its name."""
        name = len(self.identity.user_id or "")
        return sum(len(presence.state) + name for presence in self.presences.values())

    def _subscribe(self, message: Subscribe) -> list[Effect]:
        try:
            channel = parse_channel(message.channel)
            if bytes(message.filter) != b"null":
                raise ClientError(Code.INVALID_FILTER, "`filter` is not supported yet")
            since = None if message.since is None else parse_position(message.since)
        except ClientError as error:
            return [Say(refusal(error, message.ref, message.channel))]
        full = len(self.channels) >= self.limits.max_channels_per_connection
        if full and channel.name not in self.channels:
            limit = self.limits.max_channels_per_connection
            too_many = ClientError(Code.TOO_MANY_CHANNELS, f"a connection has {limit} channels at most")
            return [Say(refusal(too_many, message.ref, message.channel))]
        self.channels[channel.name] = channel
        return [Join(channel, since, message.ref)]

    def joined(
        self, join: Join, position: Position, recovered: bool, enabled: bool | UnsetType | None
    ) -> Subscribed:
        """The answer to a `subscribe` that went well; what follows `position` follows it."""
        return Subscribed(
            channel=join.channel.name,
            position=str(position),
            recovered=recovered,
            enabled=enabled,
            ref=_echo(join.ref),
        )

    def not_joined(self, join: Join, error: ClientError) -> list[Effect]:
        """The answer to one that did not; the client may ask again."""
        self.channels.pop(join.channel.name, None)
        return [Leave(join.channel), Say(refusal(error, join.ref, join.channel.name))]

    def _unsubscribe(self, message: Unsubscribe) -> list[Effect]:
        try:
            channel = parse_channel(message.channel)
        except ClientError as error:
            return [Say(refusal(error, message.ref, message.channel))]
        effects: list[Effect] = []
        if self.channels.pop(channel.name, None):
            effects.append(Leave(channel))
        effects.append(Say(Unsubscribed(channel=channel.name, ref=_echo(message.ref))))
        return effects

    def _broadcast(self, message: Broadcast, now: float) -> list[Effect]:
        try:
            channel = parse_broadcast_channel(message.channel)
        except ClientError as error:
            return [Say(refusal(error, message.ref, message.channel))]
        sender = Sender(self.connection_id, self.identity.user_id)
        line = broadcast_line(bytes(message.payload), sender, rfc3339(now), message.to_self is not False)
        return [Publish(channel, line, message.ref)]

    def _presence(self, message: native.Presence, now: float) -> list[Effect]:
        try:
            topic = presence_topic(message.channel)
            self._check_state(topic, bytes(message.state))
        except ClientError as error:
            return [Say(refusal(error, message.ref, message.channel))]
        state, before = bytes(message.state), self.presences.get(topic)
        if state == b"null":
            if before is None and topic not in self._doubts:
                return self.told(message.ref)
            self.presences.pop(topic, None)
            return [SetPresence(topic, None, before, message.ref)]
        presence = Presence(state, before.joined_at if before else now, now)
        self.presences[topic] = presence
        return [SetPresence(topic, self.entry(presence), before, message.ref)]

    def _check_state(self, topic: str, state: bytes) -> None:
        if state[:1] != b"{" and state != b"null":
            raise ClientError(Code.INVALID_MESSAGE, "state: expected an object or null")
        if len(state) > self.limits.max_state_bytes:
            raise ClientError(
                Code.MESSAGE_TOO_BIG, f"a state has {self.limits.max_state_bytes} bytes at most"
            )
        most, places = self.limits.max_channels_per_connection, self.presences.keys() | self._doubts
        if topic not in places and len(places) >= most and state != b"null":
            raise ClientError(Code.TOO_MANY_CHANNELS, f"a connection is present in {most} channels at most")

    def entry(self, presence: Presence) -> bytes:
        """A presence entry as everyone gets it; the state is the JSON that came in."""
        return b"".join(
            (
                b'{"connection_id":"%b","user_id":' % self.connection_id.encode(),
                encode(self.identity.user_id),
                b',"state":',
                # As in a broadcast: a newline of JSON is as good as a space.
                presence.state.replace(b"\n", b" "),
                b',"joined_at":"%b"' % rfc3339(presence.joined_at).encode(),
                b',"updated_at":"%b"}' % rfc3339(presence.updated_at).encode(),
            )
        )

    def present_entry(self, topic: str) -> bytes | None:
        """The client's entry under a topic as it is now; None if it is not present there, or gone."""
        presence = self.presences.get(topic)
        return None if presence is None else self.entry(presence)

    def ended(self) -> list[str]:
        """The connection is gone; returns the topics under which the client was present."""
        topics, self.presences = list(self.presences), {}
        return topics

    def told(self, ref: Ref | None) -> list[Effect]:
        """Redis has what the client said."""
        return [] if ref is None else [Say(Ack(ref=ref))]

    def not_told(self, effect: Publish | SetPresence, error: ClientError) -> list[Effect]:
        """Redis may not have it; what the client is present with is what it was."""
        if isinstance(effect, Publish):
            return [Say(refusal(error, effect.ref, effect.channel.name))]
        self.presences.pop(effect.topic, None)
        if effect.before is not None:
            self.presences[effect.topic] = effect.before
        return [Say(refusal(error, effect.ref))]

    def doubt(self, topic: str) -> bool:
        """Redis may have it nevertheless; returns whether somebody has to put that right from now on."""
        is_new = topic not in self._doubts
        self._doubts.add(topic)
        return is_new

    def be_sure(self, topic: str) -> None:
        """Redis has what the client is present with."""
        self._doubts.discard(topic)

    def verified(self, verify: Verify, outcome: Identity | ClientError, now: float) -> list[Effect]:
        """Take a newer token for the same user; a refused one leaves the old in force."""
        if isinstance(outcome, ClientError):
            return [Say(refusal(outcome, verify.ref))]
        if outcome.user_id != self.identity.user_id:
            stranger = ClientError(Code.UNAUTHORIZED, "the token is for another `sub`")
            return [Say(refusal(stranger, verify.ref))]
        self.identity = outcome
        self.deadline = _deadline(outcome, now)
        return [Say(Authenticated(expires_at=rfc3339(outcome.expires_at), ref=_echo(verify.ref)))]

    def tick(self, now: float) -> list[Effect]:
        """See what time has brought about."""
        if now < self.deadline:
            return []
        return [Close(Error(code=Code.TOKEN_EXPIRED, message="the token ran out and no newer one came"))]


def _deadline(identity: Identity, now: float) -> float:
    """A token lives until `exp`; one that was taken within the leeway has what is left of it."""
    return identity.expires_at if identity.expires_at > now else identity.expires_at + LEEWAY_SECONDS


def refusal(error: ClientError, ref: Ref | None = None, channel: str | None = None) -> Error:
    """An error as the client hears it."""
    return Error(
        code=error.code,
        message=error.message,
        ref=_echo(ref),
        channel=UNSET if channel is None else channel,
    )


def _echo(ref: Ref | None) -> Ref | UnsetType:
    return UNSET if ref is None else ref
