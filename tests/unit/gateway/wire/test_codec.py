"""Another wire protocol is one more codec: session and connection are the same for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import WSMessage, WSMsgType

from gateway.hub.hub import Delivery, Hub, deliver, presence_deliveries
from gateway.hub.replay_cache import ReplayBudget, ReplayCache
from gateway.hub.subscribers import subscription
from gateway.hub.topic import Topic
from gateway.session.session import Session, SessionRules
from gateway.websocket.connection import Connection, Serving
from gateway.wire.codec import Codec
from gateway.wire.commands import ClientCommand, Malformed, Ping, Subscribe, Unsubscribe
from gateway.wire.events import Refused, ServerEvent
from gateway.wire.frames import LineFrame, text_frame
from gateway.wire.native import NativeCodec
from gateway.wire.queue_writer import QueueWriter
from realtime.auth.tokens import Identity
from realtime.channels import Channel, parse_channel
from realtime.errors import Code
from realtime.publications import Position, Publication
from realtime.settings.config import Limits

ALICE = Identity(user_id="alice", role="authenticated", expires_at=4e9, claims={})


class WordCodec:
    """A protocol of words: `ping REF` is answered by `Pong REF`."""

    def decode(self, text: str) -> ClientCommand:
        match text.split(" "):
            case ["ping", ref]:
                return Ping(ref)
            case ["join", channel]:
                return Subscribe(channel)
            case ["part", channel]:
                return Unsubscribe(channel)
        return Malformed(Refused(Code.UNKNOWN_TYPE, "no such word"))

    def encode(self, event: ServerEvent) -> bytes:
        said = event.code if isinstance(event, Refused) else getattr(event, "ref", None)
        return text_frame(f"{type(event).__name__} {said}".encode())

    def encode_lines(
        self, channel: Channel, publication: Publication, numbers: Iterable[int]
    ) -> Iterator[LineFrame]:
        for number in numbers:
            frame = text_frame(channel.name.encode() + b" " + publication.lines[number])
            yield publication.first + number, len(frame), (frame,)


class Script:
    """A client's WebSocket that says some texts and goes; what it is sent is a list of pieces."""

    close_code = 1000
    untaken_bytes = 0

    def __init__(self, *texts: str) -> None:
        self._texts = list(texts)
        self.written: list[bytes] = []

    def open(self, on_frames: Callable[[int, int], None]) -> None:
        pass

    async def receive(self) -> WSMessage:
        await asyncio.sleep(0)  # for what is queued to be written
        if self._texts:
            return WSMessage(WSMsgType.TEXT, self._texts.pop(0), None)
        return WSMessage(WSMsgType.CLOSED, None, None)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written.append(data)


async def play(codec: Codec, *texts: str) -> bytes:
    """All that a client is sent which says this."""
    script, tenant = Script(*texts), SimpleNamespace(limits=Limits(), project_id="demo")
    session = Session("demo", "c-1", ALICE, SessionRules(tenant.limits), 0)
    subscriptions = SimpleNamespace(carry_out=None, leave=lambda *_: None)
    writers = SimpleNamespace(publisher=None, presence=None)
    serving = Serving(cast(Any, subscriptions), cast(Any, writers), QueueWriter(), codec, 25)
    parts: list[Any] = [script, script, tenant, session, serving]
    await Connection(*parts).run()
    return b"".join(script.written)


async def test_a_client_of_another_protocol_is_served_by_its_own_codec() -> None:
    written = await play(WordCodec(), "ping 7", "what", "join nope", "part room:a")
    said = ["Welcomed None", "Pong 7", "Refused unknown_type", "Refused invalid_channel", "Left None"]
    assert written == b"".join(text_frame(one.encode()) for one in said)


@pytest.mark.parametrize("codec", [NativeCodec(), WordCodec()])
async def test_no_codec_takes_a_message_of_the_other(codec: Codec) -> None:
    foreign = "ping 7" if isinstance(codec, NativeCodec) else '{"type":"ping","ref":7}'
    command = codec.decode(foreign)
    assert isinstance(command, Malformed)
    assert codec.encode(command.refusal) in await play(codec, foreign)


# Two protocols on one topic


class Counting:
    """A codec, and how often it encoded something."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self.decode = codec.decode
        self.encoded = 0

    def encode(self, event: ServerEvent) -> bytes:
        self.encoded += 1
        return self._codec.encode(event)

    def encode_lines(
        self, channel: Channel, publication: Publication, numbers: Iterable[int]
    ) -> Iterator[LineFrame]:
        self.encoded += 1
        return self._codec.encode_lines(channel, publication, numbers)


class Shared:
    """A topic with two subscribers of each protocol."""

    def __init__(self, name: str) -> None:
        self.native, self.words = Counting(NativeCodec()), Counting(WordCodec())
        channel = parse_channel(name)
        codecs: dict[str, Codec] = {
            "ann": self.native,
            "bob": self.native,
            "cy": self.words,
            "di": self.words,
        }
        self.subscriptions = [subscription(who, channel, who, codec) for who, codec in codecs.items()]
        self.topic: Topic[str] = Hub[str]().open(("demo", channel.topic))
        for each in self.subscriptions:
            self.topic.subscribers.add(each)

    def take(self, deliveries: Iterable[Delivery[str]]) -> tuple[bytes, bytes]:
        """What each protocol's clients were sent; everything was encoded once, and both clients had it."""
        inbox = dict.fromkeys(("ann", "bob", "cy", "di"), b"")
        for delivery in deliveries:
            for who in delivery.subscribers:
                inbox[who] += b"".join(delivery.pieces)
        assert inbox["ann"] == inbox["bob"] != inbox["cy"] == inbox["di"]
        assert (self.native.encoded, self.words.encoded) == (1, 1)
        self.native.encoded = self.words.encoded = 0
        return inbox["ann"], inbox["cy"]


PUBLICATION = Publication("e", 1, [b'B"payload":1'])
BOTH = (
    text_frame(b'{"type":"broadcast","channel":"room:a","payload":1,"id":"e-1"}'),
    text_frame(b'room:a B"payload":1'),
)


def test_two_protocols_get_their_own_bytes_live_and_catching_up() -> None:
    play = Shared("room:a")
    play.topic.caught_up(Position("e", 0))
    (live,) = play.topic.received(PUBLICATION)
    assert play.take(deliver(play.topic, live)) == BOTH
    behind = Shared("room:a")
    behind.topic.caught_up(Position("e", 0))
    behind.topic.lose()
    (missed,) = behind.topic.missed([PUBLICATION])
    assert behind.take(deliver(behind.topic, missed)) == BOTH
    (resync,) = behind.topic.caught_up(Position("e", 9), is_lost=True)
    assert behind.take(deliver(behind.topic, resync)) == (
        text_frame(b'{"type":"resync","channel":"room:a","position":"e-9"}'),
        text_frame(b"Resync None"),
    )


def test_two_protocols_get_their_own_bytes_by_replay() -> None:
    play = Shared("room:a")
    cache = ReplayCache(Position("e", 0), 100, ReplayBudget(10**9))
    cache.append(PUBLICATION)
    replayed = [(each.subscriber, cache.slice(each, 0)[0]) for each in play.subscriptions]
    assert play.take(Delivery([who], pieces, 1) for who, pieces in replayed) == BOTH


def test_two_protocols_get_their_own_bytes_of_presence() -> None:
    play = Shared("presence")
    play.topic.roster_read(Position("e", 0), {})
    (joined,) = play.topic.received(Publication("e", 1, [b"Jn-0/ann {}"]))
    assert deliver(play.topic, joined) == []
    assert play.take(presence_deliveries(play.topic)) == (
        text_frame(b'{"type":"presence","channel":"presence","event":"join","presences":[{}]}'),
        text_frame(b"PresenceChanged None"),
    )
