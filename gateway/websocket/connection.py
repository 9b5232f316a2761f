"""One WebSocket: receive, decode, decide, carry out.

A codec decodes the client's messages into commands, the session decides, and the connection carries out the
session's effects, in order, one message at a time. The connection does not decide what an effect means.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from aiohttp import WebSocketError, WSCloseCode, WSMessage, WSMsgType

from gateway import metrics
from gateway.delivery.replays import NO_REPLAYS, Replays
from gateway.delivery.subscribe import Subscriptions
from gateway.http.request import identify
from gateway.projects.project import Tenant
from gateway.session.effects import Close, Effect, Join, Leave, Publish, Say, SetPresence, Verify
from gateway.session.session import Session, refusal
from gateway.session.timings import DEFAULTS, SessionTimings
from gateway.websocket.closing import Ending
from gateway.websocket.publishing import ClientPublishing, RedisWriters
from gateway.websocket.web_socket import WebSocket, utf8_bytes
from gateway.wire.codec import Codec
from gateway.wire.events import Refused, ServerEvent
from gateway.wire.frames import PING, pong_frame
from gateway.wire.queue_writer import QueueWriter
from gateway.wire.send_queue import SendQueue
from realtime.auth.tokens import Identity
from realtime.errors import (
    CLOSE_CODE,
    CLOSE_HEARTBEAT,
    CLOSE_UNSUPPORTED_DATA,
    NO_CLOSE_CODE,
    ClientError,
    Code,
)
from realtime.logs.setup import get_logger
from realtime.waiting.survival import Part, internal

log = get_logger(__name__)

_part = Part("connection")


@dataclass(frozen=True, slots=True)
class Serving:
    """The parts that serve all clients of a node."""

    subscriptions: Subscriptions
    writers: RedisWriters
    queue_writer: QueueWriter
    codec: Codec
    heartbeat_seconds: float
    session_timings: SessionTimings = DEFAULTS


class Connection:
    """The connection of an admitted client, from its first message to its last."""

    def __init__(
        self,
        web_socket: WebSocket,
        transport: asyncio.Transport,
        tenant: Tenant,
        session: Session,
        serving: Serving,
    ) -> None:
        self.tenant, self.session = tenant, session
        self._web_socket, self._serving = web_socket, serving
        self._heard_at = time.monotonic()  # when the client last sent anything
        self.messages_in = 0
        self._busy = False  # answers a message, or waits until the client reads; nothing is read meanwhile
        # First pings are spread over an interval, so that clients that came together do not stay together.
        self._pinged_at = self._heard_at - random.random() * serving.heartbeat_seconds  # noqa: S311
        queue_writer, codec = serving.queue_writer, serving.codec
        self.send_queue = SendQueue(transport, session.connection_id, tenant.limits, queue_writer, codec)
        self._ending = Ending(web_socket, self.send_queue)
        self.send_queue.on_slow = self._part_from_slow_client
        self.replays = NO_REPLAYS  # until the first one begins

    def __repr__(self) -> str:
        return f"<Connection {self.session!r} {self.send_queue!r}>"

    async def run(self) -> None:
        """Serve the client until either side ends the connection."""
        try:
            self.say(self.session.greeting(self._serving.heartbeat_seconds))
            self._web_socket.open(self._count_frames)
            while await self._take(await self._web_socket.receive()):
                if self._is_behind:
                    await self._wait_until_it_reads()
        except Exception as error:
            self.fail(error)
        finally:
            self._release()
            await self.replays.close()
            await self._ending.wait()

    @property
    def outcome(self) -> tuple[int, str | None]:
        """The close code of the connection, and the reason, if this node had one."""
        return self._ending.outcome or (self._web_socket.close_code or WSCloseCode.ABNORMAL_CLOSURE, None)

    @property
    def is_ending(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._ending.is_near

    @property
    def messages_out(self) -> int:
        """Messages that were sent to the client, without what was replayed by `since`."""
        queue, channels = self.send_queue, self.session.channels.values()
        return queue.messages + self._serving.subscriptions.messages_to(queue, self.tenant, channels)

    @property
    def own_bytes(self) -> int:
        """Bytes that the node holds for this client alone, besides the pieces in its queue."""
        return self.send_queue.transport_bytes + self.replays.held_bytes() + self._web_socket.untaken_bytes

    @property
    def _publishing(self) -> ClientPublishing:
        return ClientPublishing(self.tenant, self.session, self._serving.writers, _part)

    @property
    def _is_behind(self) -> bool:
        """Whether so many bytes wait for the client that it gets no further answer until it reads."""
        return self.send_queue.waiting_bytes > self.tenant.limits.max_queue_bytes

    async def _wait_until_it_reads(self) -> None:
        self._busy = True
        if not self._ending.is_near:
            await self.send_queue.until(self.tenant.limits.max_queue_bytes)
        self._busy, self._heard_at = False, time.monotonic()

    async def _take(self, frame: WSMessage) -> bool:
        """Do what a frame asks for; return False when no further frame will come."""
        self._heard_at = time.monotonic()
        match frame.type:
            case WSMsgType.TEXT:
                self.messages_in += 1
                metrics.messages_received.inc()
                metrics.bytes_received.inc(utf8_bytes(frame.data))
                await self._answer(frame.data)
            case WSMsgType.PING:
                self.send_queue.send([pong_frame(frame.data)])
            case WSMsgType.PONG:
                pass
            case WSMsgType.BINARY:
                self.close(CLOSE_UNSUPPORTED_DATA)
                return False
            case WSMsgType.ERROR if isinstance(frame.data, WebSocketError):
                self._ending.note_violation(frame.data.code)  # the connection is closed already
                return False
            case WSMsgType.CLOSE:
                self._ending.note_close(frame.data or NO_CLOSE_CODE)
                return False
            case _:
                return False
        return not self._ending.is_near

    def _count_frames(self, controls: int, fragments: int) -> None:
        """Count control frames and small fragments as they arrive, before the client's messages are read."""
        self._heard_at = time.monotonic()
        metrics.frames_received.labels("control").inc(controls)
        metrics.frames_received.labels("fragment").inc(fragments)
        for effect in self.session.received_frames(controls, fragments, time.time()):
            match effect:
                case Say():
                    self.say(effect.event)
                case Close():
                    self.close(effect.code, effect.refusal)
                case _:
                    assert_never(effect)

    async def _answer(self, text: str) -> None:
        """Carry out a message; an unforeseen fault is answered `internal`, and the connection goes on."""
        self._busy = True
        try:
            now = time.time()
            effects = self.session.throttled(now)
            if effects is None:
                effects = self.session.received(self._serving.codec.decode(text), now)
            await self._carry_out(effects)
        except Exception as error:
            if _part.count(error):
                log.exception("message_failed")
            self.say(refusal(internal()))
        self._busy, self._heard_at = False, time.monotonic()

    async def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say():
                    self.say(effect.event)
                case Join():
                    await self._join(effect)
                case Leave():
                    self.replays.end(effect.channel.name)
                    self._serving.subscriptions.leave(self.send_queue, self.tenant, effect.channel)
                case Publish():
                    await self._publishing.publish(effect, self._carry_out)
                case SetPresence():
                    await self._publishing.set_presence(effect, self._carry_out)
                case Verify():
                    await self._verify(effect)
                case Close():
                    self.close(effect.code, effect.refusal)
                case _:
                    assert_never(effect)

    def say(self, event: ServerEvent) -> None:
        self.send_queue.say(event)

    async def _join(self, join: Join) -> None:
        self.replays.end(join.channel.name)
        try:
            with _part.raises_internal(join.channel.name):
                answer = partial(self.session.joined, join)
                asked = (self.send_queue, self.tenant, join.channel, join.since, answer)
                replay = await self._serving.subscriptions.join(*asked)
        except ClientError as error:
            await self._carry_out(self.session.join_failed(join, error))
        else:
            if replay is not None:
                if self.replays is NO_REPLAYS:
                    self.replays = Replays(self._serving.subscriptions.carry_out, self.fail)
                    self.send_queue.replay_bytes = self.replays.pending_bytes
                self.replays.start(replay)

    async def _verify(self, verify: Verify) -> None:
        outcome: Identity | ClientError
        try:
            with _part.raises_internal():
                outcome = await identify(self.tenant, verify.token)
        except ClientError as error:
            outcome = error
        await self._carry_out(self.session.verified(verify, outcome, time.time()))

    def tick(self, now: float) -> None:
        """Close for an expired token or a silent client, or send a heartbeat when it is due."""
        if self._ending.is_near:
            return
        for close in self.session.tick(time.time()):
            self.close(close.code, close.refusal)
            return
        if not self._busy and now - self._heard_at > 2 * self._serving.heartbeat_seconds:
            self.close(CLOSE_HEARTBEAT)
        elif now - self._pinged_at >= self._serving.heartbeat_seconds:
            self._pinged_at = now
            self.send_queue.send([PING])

    def fail(self, error: Exception) -> None:
        """Close this connection after an unforeseen fault, which must not spread to others."""
        _part.note(error, self.session.connection_id)
        self.close(CLOSE_CODE[Code.INTERNAL], refusal(internal()))

    def close(self, code: int, reason: Refused | None = None) -> None:
        """Begin to close: tell the client why, and give it a moment to answer."""
        if not self._ending.is_near:
            self.replays.end_all()  # nothing follows a close frame
            self.send_queue.let_go()
            self._ending.begin(code, reason)

    def _release(self) -> None:
        """Remove the connection from every part of the node; a step that fails skips no other."""
        for step in (
            self._leave_all,
            self._publishing.end_presence,
            partial(self._serving.queue_writer.forget, self.send_queue),
        ):
            with _part.survives():
                step()

    def _leave_all(self) -> None:
        self.replays.end_all()
        for channel in self.session.channels.values():
            with _part.survives(channel.name):
                self._serving.subscriptions.leave(self.send_queue, self.tenant, channel)

    def _part_from_slow_client(self) -> None:
        # Leave now, since the transport may take long to close.
        self._leave_all()
        self._publishing.end_presence()
        self.tenant.tally.note_slow(time.monotonic())
        # The queue writer calls this, and it binds no connection's ids to the log.
        log.info(
            "slow_consumer_closed",
            project=self.tenant.project_id,
            connection_id=self.session.connection_id,
            waiting_bytes=self.send_queue.waiting_bytes,
        )
        reason = Refused(Code.SLOW_CONSUMER, "more waited for this client than it took")
        self._ending.part(CLOSE_CODE[reason.code], reason)
