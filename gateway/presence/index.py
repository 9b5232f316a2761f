"""The topics under which this node's incarnation has presence entries, and the entries' fields, in memory.

The presence writer reports what it is about to send and what Redis carried out. The index returns what to
note in Redis first, what to forget, and which quiet topics to refresh. Never awaits; time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.presence.change import Change
from gateway.presence.timings import DEFAULTS
from realtime.channels import TopicKey

KEPT_AT_ONCE = 500  # topics in one round

Changes = Mapping[TopicKey, Sequence[Change]]


class PresenceIndex:
    """The topics under which an incarnation of this node may have entries."""

    def __init__(self, keep_seconds: float = DEFAULTS.keep_seconds) -> None:
        self._keep_seconds = keep_seconds
        self.incarnation = ""  # whose entries these are
        self._noted: set[TopicKey] = set()  # other nodes know to look there
        self._fields: dict[TopicKey, set[str]] = {}  # that Redis may have; no topic without a field
        self._kept_at: dict[
            TopicKey, float
        ] = {}  # when Redis last heard of a topic with entries, oldest first

    def __repr__(self) -> str:
        return f"<PresenceIndex {len(self._fields)} of {self.incarnation}, {len(self._noted)} noted>"

    def begin(self, incarnation: str) -> None:
        """Begin with an incarnation; this node or others remove the entries of the earlier incarnation."""
        if incarnation != self.incarnation:
            self.incarnation = incarnation
            self._noted.clear()
            self._fields.clear()
            self._kept_at.clear()

    def to_note(self, changes: Changes) -> list[TopicKey]:
        """Return the topics that get an entry and are not noted in Redis yet."""
        return [
            topic_key
            for topic_key in changes
            if topic_key not in self._noted and any(self._set_in(changes, topic_key))
        ]

    def note(self, topic_keys: Iterable[TopicKey]) -> None:
        """Note that other nodes know of these topics now."""
        self._noted.update(topic_keys)

    def expect(self, changes: Changes) -> None:
        """Expect changes that are about to be sent: Redis may have their entries, even if the send fails."""
        for topic_key in changes:
            for field in self._set_in(changes, topic_key):
                self._fields.setdefault(topic_key, set()).add(field)

    def carried_out(self, changes: Changes, now: float) -> list[TopicKey]:
        """Note that Redis has these changes; return the noted topics where nobody is left."""
        for topic_key, of_topic in changes.items():
            for change in of_topic:
                if change.entry is None:
                    self._remove(topic_key, change.field)
                elif change.is_under(self.incarnation):
                    self._fields.setdefault(topic_key, set()).add(change.field)
            if topic_key in self._fields:
                self._keep(topic_key, now)
        return [
            topic_key for topic_key in changes if topic_key in self._noted and topic_key not in self._fields
        ]

    def forget(self, topic_keys: Iterable[TopicKey]) -> list[TopicKey]:
        """Return the topics where nobody is; Redis has to forget them before anything else is noted."""
        empty = [topic_key for topic_key in dict.fromkeys(topic_keys) if topic_key not in self._fields]
        self._noted.difference_update(empty)
        return empty

    def to_keep(self, now: float) -> list[TopicKey]:
        """Return some of the topics that were quiet for long; they count as refreshed from now on."""
        due: list[TopicKey] = []
        for topic_key, kept_at in self._kept_at.items():
            if len(due) == KEPT_AT_ONCE or now - kept_at < self._keep_seconds:
                break
            due.append(topic_key)
        for topic_key in due:
            self._keep(topic_key, now)
        return due

    def _keep(self, topic_key: TopicKey, now: float) -> None:
        self._kept_at.pop(topic_key, None)
        self._kept_at[topic_key] = now

    def _remove(self, topic_key: TopicKey, field: str) -> None:
        if (fields := self._fields.get(topic_key)) is not None:
            fields.discard(field)
            if not fields:
                del self._fields[topic_key]
                self._kept_at.pop(topic_key, None)

    def _set_in(self, changes: Changes, topic_key: TopicKey) -> list[str]:
        return [
            one.field
            for one in changes[topic_key]
            if one.entry is not None and one.is_under(self.incarnation)
        ]
