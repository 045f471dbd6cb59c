"""What the users of one load share: the ledger, the memory, and where things are happening."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from loadtest.addresses import Addresses
from loadtest.freshness import Memory
from loadtest.invent import dice
from loadtest.ledger import Ledger, marks
from loadtest.live import Live
from loadtest.pace import Pace

# Topics from before the load that users post to. Few and not long, for the check reads all of each.
OLD_TOPICS, OLD_TOPIC_MESSAGES = 30, 1000


class Posted(NamedTuple):
    """A message of the load. Several users may share an account, so that it tells the account."""

    topic: int
    message: int
    author: int


@dataclass
class Scene:
    addresses: Addresses
    ledger: Ledger
    memory: Memory
    live: Live
    pace: Pace
    seed_password: str | None = None
    # Whether other processes load the same forum: what they delete is nobody's fault here.
    others: bool = False
    over: bool = False
    """Looked at, not waited for: gevent's Event, waited for with timeouts by many, forgot one of them now and then."""
    topics: deque[int] = field(default_factory=lambda: deque(maxlen=300))
    newest: deque[tuple[int, datetime]] = field(default_factory=lambda: deque(maxlen=200))
    messages: deque[Posted] = field(default_factory=lambda: deque(maxlen=500))
    users: deque[int] = field(default_factory=lambda: deque(maxlen=200))
    deleted_topics: deque[int] = field(default_factory=lambda: deque(maxlen=50))
    old_topics: list[int] = field(default_factory=list)
    cohort: tuple[str, ...] = ()
    cohort_share: float = 0.0  # percent
    visitors: int = 0
    members: int = 0

    def admit(self) -> tuple[int, dict[str, str]]:
        """A new visitor's number, and the headers by which they belong to the cohort, if they do."""
        self.visitors += 1
        if not self.cohort or self.members + 1 > self.visitors * self.cohort_share / 100:
            return self.visitors, {}
        self.members += 1
        name, _, value = self.cohort[self.members % len(self.cohort)].partition(":")
        return self.visitors, {name.strip(): value.strip()}

    def noticed(self, topics: list[dict[str, Any]]) -> None:
        """Remember some topics that were here before the load."""
        for topic in topics:
            if len(self.old_topics) >= OLD_TOPICS:
                return
            small = topic["message_count"] <= OLD_TOPIC_MESSAGES and not topic["locked"]
            if small and not marks(topic["title"]) and topic["id"] not in self.old_topics:
                self.old_topics.append(topic["id"])

    def some_topic(self) -> int | None:
        """Where to post: mostly among the load's own, and what is new is visited most."""
        own = [topic for topic in self.topics if self.memory.alive("topic", topic)]
        if self.old_topics and (not own or dice.random() < 0.3):
            return dice.choice(self.old_topics)
        if not own:
            return None
        return own[max(0, len(own) - 1 - int(dice.expovariate(1 / 15)))]

    def some_message(self) -> Posted | None:
        alive = [posted for posted in self.messages if self.memory.alive("message", posted.message)]
        return dice.choice(alive) if alive else None
