"""Sends commands, one at a time, over a connection that redis-py has opened, and reads each answer.

redis-py reads through a stream, with many calls for each answer. This protocol takes the place of the stream,
and an answer costs one call. `kept_connection` uses it; redis-py still opens and closes connections.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hiredis import PushNotification, Reader
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

NEVER = float("inf")

_INCOMPLETE = object()  # what hiredis returns until it has a whole answer


class CommandProtocol(asyncio.Protocol):
    """Takes an open connection over, on which nothing is awaited, until the connection is closed."""

    def __init__(self, connection: Any) -> None:  # redis-py has no types for most of it
        self.connection = connection
        self._loop = asyncio.get_running_loop()
        self._transport = connection._writer.transport
        self._stream = self._transport.get_protocol()  # redis-py waits for its end when it closes
        self._answers = Reader(
            protocolError=InvalidResponse,
            replyError=connection._parser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        self._is_over = False  # the connection is lost, or closing
        self._waiter: asyncio.Future[Any] | None = None  # for the answer of the command that was sent
        self._deadline = 0.0  # for that answer, by the clock of the loop
        # Outlives commands: most end long before their deadline.
        self._timer: asyncio.TimerHandle | None = None
        self._transport.set_protocol(self)

    def __repr__(self) -> str:
        return f"<CommandProtocol of {self.connection!r}>"

    @property
    def is_ready(self) -> bool:
        """Whether the connection is open, to a server that is still wanted, and awaits no answer."""
        return self._waiter is None and not self._is_over and not self.connection.should_reconnect()

    @property
    def is_busy(self) -> bool:
        """Whether the connection is open, and awaits an answer that somebody waits for."""
        return self._waiter is not None and not self._waiter.done() and not self._is_over

    def ask(self, packed: bytes, seconds: float | None = None) -> asyncio.Future[Any]:
        """Send a command; the future has its answer, or its error, within so many seconds.

        Raises a ConnectionError of redis-py if the connection is closed. After any other error than one that
        the server has sent, and after a cancellation, the protocol is never ready again: an answer may come
        late.
        """
        waiter = self._loop.create_future()
        try:
            self._transport.write(packed)
        except RuntimeError as error:  # of uvloop, for a transport that was reset
            self._is_over = True
            raise RedisConnectionError("the connection is closed") from error
        self._waiter = waiter
        self._deadline = NEVER if seconds is None else self._loop.time() + seconds
        if seconds is not None and self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)
        return waiter

    def end(self) -> None:
        """Give a connection that is ready back to redis-py."""
        self._cancel_timer()
        self._transport.set_protocol(self._stream)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_deadline(self) -> None:
        self._timer = None
        if self._waiter is None or self._deadline == NEVER:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)
        else:
            self._fail(TimeoutError())

    def data_received(self, data: bytes) -> None:
        try:
            self._answers.feed(data)
            while (answer := self._answers.gets()) is not _INCOMPLETE:
                if not isinstance(answer, PushNotification):
                    self._take(answer)
        except InvalidResponse as error:
            self._fail(error)

    def _take(self, answer: object) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            self._fail(InvalidResponse("an answer to no command"))
        elif waiter.done():  # its caller was cancelled
            pass
        elif isinstance(answer, RedisConnectionError):  # such as LOADING: redis-py connects anew after it
            self._waiter = waiter
            self._fail(answer)
        elif isinstance(answer, Exception):
            waiter.set_exception(answer)
        else:
            waiter.set_result(answer)

    def _fail(self, error: Exception) -> None:
        """Close the connection; whoever waits for an answer gets the error."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self._is_over = True
        self._transport.abort()

    def pause_writing(self) -> None:
        """Ignore that the buffer is full: it has one command at most."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        self._is_over = True
        self._cancel_timer()
        lost = RedisConnectionError("Connection closed by server.")
        lost.__cause__ = error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(lost)
        self._stream.connection_lost(error)
