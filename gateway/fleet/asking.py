"""Asks other nodes about one project, and collects their answers for a bounded time.

A question goes to the inbox of each node that is asked, by pub/sub: nothing is stored in Redis, and a node
that nobody asks does nothing. Redis returns how many listen to it, so nobody waits for a node that is gone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from gateway import metrics
from gateway.delivery.inbox import Inbox
from gateway.fleet.messages import ANSWER_OF, Answer, Answered, Asked, Question, written
from realtime import names
from realtime.errors import Unavailable
from realtime.redis.client import Command, Store


@dataclass(slots=True)
class _Open:
    """A question that waits for answers."""

    kinds: dict[str, type]  # of the answers that are still awaited, by node
    answers: dict[str, Answer]
    done: asyncio.Event


class Asking:
    """The questions of this node that are not answered yet."""

    def __init__(self, store: Store, inbox: Inbox) -> None:
        self._store = store
        self._inbox = inbox
        self._open: dict[str, _Open] = {}  # by question id

    def __repr__(self) -> str:
        return f"<Asking {len(self._open)} questions>"

    async def ask(self, project: str, questions: Mapping[str, Question], seconds: float) -> dict[str, Answer]:
        """Ask each node its question; return the answers that come within so many seconds, by node."""
        if not questions or not self._inbox.is_heard:
            return {}
        question_id = secrets.token_hex(8)
        kinds = {node: ANSWER_OF[type(question)] for node, question in questions.items()}
        one = self._open[question_id] = _Open(kinds, {}, asyncio.Event())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._send(question_id, project, questions, one)
                    await one.done.wait()
            return one.answers
        finally:
            del self._open[question_id]

    async def _send(
        self, question_id: str, project: str, questions: Mapping[str, Question], one: _Open
    ) -> None:
        commands = [
            publish(
                node, written(Asked(id=question_id, node=self._inbox.node_id, project=project, question=q))
            )
            for node, q in questions.items()
        ]
        try:
            heard = await self._store.send(commands)
        except Unavailable:
            heard = [0] * len(commands)  # some may have been heard, but their answers would not arrive
        for node, listeners in zip(questions, heard, strict=True):
            if isinstance(listeners, Exception) or not listeners:
                one.kinds.pop(node, None)
        self._settle(one)

    def take(self, message: Answered) -> None:
        """Take an answer; ignore one that was not asked for, or came too late."""
        one = self._open.get(message.id)
        kind = None if one is None else one.kinds.get(message.node)
        if one is None or kind is None or type(message.answer) is not kind:
            metrics.fleet_messages_ignored.inc()
            return
        del one.kinds[message.node]
        one.answers[message.node] = message.answer
        self._settle(one)

    def _settle(self, one: _Open) -> None:
        if not one.kinds:
            one.done.set()


def publish(node: str, message: bytes) -> Command:
    """Return the command that puts a message into a node's inbox."""
    inbox = names.node_inbox(node)
    return Command(inbox, ("SPUBLISH", inbox, message))
