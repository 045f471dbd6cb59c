"""What a read may show: the memory that all users of one load share, and the judgement of every read against it.

Each resource that the load made has its versions in the order in which its owner wrote them (one after another, never
two at once). A *floor* is the newest version that anyone had been told of, by an acknowledgement or by reading it, at a
time. A read that was sent after that time must not show less: read-your-writes, monotonic reads, and I5 ("a client that
has seen an acknowledged write never reads an older state"), across users too, for one user's acknowledgement is handed
to the others through this memory before they send.

What other modules embed (author names, message counts) may lag, and is not judged.
"""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loadtest.ledger import Kind, Ledger, marks

GONE = "gone"
ABSENT = "not there"
# Resources beyond this many are forgotten, oldest first, and no longer judged live; the ledger still has them.
REMEMBERED = 50_000

Key = tuple[Kind, int]


def content_of(kind: Kind, item: dict[str, Any]) -> dict[str, Any]:
    """Of what the API answers, that which one write decides: as it was sent, so it must be read."""
    if kind == "user":
        return {"display_name": item.get("display_name"), "bio": item.get("bio")}
    if kind == "topic":
        return {"title": item.get("title")}
    return {"body": item.get("body")}


def write_in(kind: Kind, item: dict[str, Any]) -> str | None:
    """The id of the write that this content says it is from."""
    text = item.get({"user": "bio", "topic": "title", "message": "body"}[kind])
    found = marks(text) if isinstance(text, str) else []
    return found[-1] if found else None


@dataclass(slots=True)
class Version:
    write: str
    content: int | str  # a hash, or GONE
    refused: bool = False


@dataclass(slots=True)
class Resource:
    versions: list[Version]
    floors: list[tuple[float, int]]
    topic: int | None = None
    # An outcome that stayed unknown: it is left alone from then on.
    frozen: bool = False

    def floor_at(self, when: float) -> int | None:
        """The index of the oldest version that a read sent at `when` may show."""
        return next((index for since, index in reversed(self.floors) if since <= when), None)

    def raise_floor(self, index: int, now: float) -> None:
        if not self.floors or index > self.floors[-1][1]:
            self.floors.append((now, index))

    @property
    def leaving(self) -> bool:
        """Whether a deletion was begun (and not refused)."""
        return any(version.content == GONE and not version.refused for version in self.versions)


def _digest(content: dict[str, Any]) -> int:
    return hash(tuple(sorted(content.items())))


@dataclass(frozen=True, slots=True)
class Sight:
    """Who looked, when, and who answered: what a violation must tell to be believed."""

    sent: float  # time.monotonic(), before the request left
    operation: str
    served_by: str | None
    address: str
    user: int | None


@dataclass
class Memory:
    ledger: Ledger
    resources: OrderedDict[Key, Resource] = field(default_factory=OrderedDict)
    in_topic: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    # Contents that were answered with a refusal and so must never be seen.
    refused: set[str] = field(default_factory=set)
    # For whoever watches: what was acknowledged and, when last looked for, was not there or not as written; and the
    # writes that stand under two ids. The check decides later.
    missing: set[Key] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    _homes: dict[str, Key] = field(default_factory=dict)

    # --- what the writers tell ---

    def created(self, kind: Kind, id: int, write: str, content: dict[str, Any], topic: int | None = None) -> None:
        if (kind, id) in self.resources:
            self.doubled.add(write)  # the id was another's answer
        self._homes[write] = kind, id
        self.resources[kind, id] = Resource([Version(write, _digest(content))], [(time.monotonic(), 0)], topic)
        if topic is not None:
            self.in_topic[topic].add(id)
        if len(self.resources) > REMEMBERED:
            (old_kind, old_id), old = self.resources.popitem(last=False)
            self._homes.pop(old.versions[0].write, None)
            if old.topic is not None:
                self.in_topic[old.topic].discard(old_id)
            elif old_kind == "topic" and not self.in_topic[old_id]:
                del self.in_topic[old_id]

    def changing(self, kind: Kind, id: int, write: str, content: dict[str, Any] | None) -> None:
        """A change was sent (None: a deletion): from now on either may be seen."""
        if resource := self.resources.get((kind, id)):
            resource.versions.append(Version(write, GONE if content is None else _digest(content)))

    def changed(self, kind: Kind, id: int, write: str) -> None:
        if resource := self.resources.get((kind, id)):
            index = next(n for n, version in enumerate(resource.versions) if version.write == write)
            resource.raise_floor(index, time.monotonic())

    def unchanged(self, kind: Kind, id: int, write: str) -> None:
        """The change was refused."""
        self.refused.add(write)
        if resource := self.resources.get((kind, id)):
            for version in resource.versions:
                version.refused = version.refused or version.write == write

    def unsure(self, kind: Kind, id: int) -> None:
        if resource := self.resources.get((kind, id)):
            resource.frozen = True

    # --- what the users ask before they choose ---

    def alive(self, kind: Kind, id: int) -> bool:
        """Whether it is ours, known well, and nobody has begun to delete it or what it is in."""
        resource = self.resources.get((kind, id))
        if resource is None or resource.frozen or resource.leaving:
            return False
        return resource.topic is None or not self.topic_leaving(resource.topic)

    def topic_leaving(self, topic: int) -> bool:
        resource = self.resources.get(("topic", topic))
        return resource is not None and resource.leaving

    def known(self, kind: Kind, id: int) -> bool:
        return (kind, id) in self.resources

    # --- what the readers tell ---

    def saw(self, kind: Kind, id: int, item: dict[str, Any] | None, sight: Sight) -> bool:
        """Judge one resource as it was read (None: it was not there); whether it may be so."""
        if item is not None and (write := write_in(kind, item)) in self.refused:
            return self._object("wrong", kind, id, sight, "nothing: this write was refused", write)
        if item is not None and (write := write_in(kind, item)) and self._homes.get(write, (kind, id)) != (kind, id):
            self.doubled.add(write)
        resource = self.resources.get((kind, id))
        if resource is None:
            return True
        floor = resource.floor_at(sight.sent)
        if floor is None:
            return True
        if item is None:
            return self._judge_absence(kind, id, resource, floor, sight)
        digest = _digest(content_of(kind, item))
        index = next((n for n, version in enumerate(resource.versions) if version.content == digest), None)
        oldest = resource.versions[floor]
        if index is None or resource.versions[index].refused:
            return self._object("wrong", kind, id, sight, oldest.write, self._shown(kind, item))
        if index < floor:
            if oldest.content == GONE and self._in_leaving_topic(resource):
                return True
            expected = GONE if oldest.content == GONE else oldest.write
            return self._object("stale", kind, id, sight, expected, resource.versions[index].write)
        resource.raise_floor(index, time.monotonic())
        self.missing.discard((kind, id))
        return True

    def _judge_absence(self, kind: Kind, id: int, resource: Resource, floor: int, sight: Sight) -> bool:
        if resource.leaving or self._in_leaving_topic(resource):
            return True
        return self._object("stale", kind, id, sight, resource.versions[floor].write, ABSENT)

    def _in_leaving_topic(self, resource: Resource) -> bool:
        """Messages of a deleted topic go by an event, some time later."""
        return resource.topic is not None and self.topic_leaving(resource.topic)

    def saw_page_of_messages(
        self, topic: int, items: list[dict[str, Any]], after: int, last_page: bool, sight: Sight
    ) -> None:
        """One page of a topic's messages (by id, `after` the last of the page before): who is on it, and who is not."""
        shown = set()
        for item in items:
            shown.add(item["id"])
            self.saw("message", item["id"], item, sight)
        upto = None if last_page else (items[-1]["id"] if items else after)
        missing = (
            id for id in self.in_topic.get(topic, ()) if id > after and (upto is None or id <= upto) and id not in shown
        )
        self._absent("message", missing, sight)

    def saw_newest_topics(
        self, items: list[dict[str, Any]], last_page: bool, candidates: Iterable[tuple[int, datetime]], sight: Sight
    ) -> None:
        """The first page of the newest topics: any of `candidates` newer than its end is on it."""
        shown = set()
        for item in items:
            shown.add(item["id"])
            self.saw("topic", item["id"], item, sight)
        end = items[-1] if items and not last_page else None
        end_at = datetime.fromisoformat(end["created_at"]) if end else None
        missing = (
            id
            for id, created_at in candidates
            if id not in shown and (end is None or end_at is None or (id > end["id"] and created_at > end_at))
        )
        self._absent("topic", missing, sight)

    def _absent(self, kind: Kind, ids: Iterable[int], sight: Sight) -> None:
        for id in list(ids):
            self.saw(kind, id, None, sight)

    def _object(self, what: Any, kind: Kind, id: int, sight: Sight, expected: str, seen: str | None) -> bool:
        if what == "wrong" or seen == ABSENT:
            self.missing.add((kind, id))
        self.ledger.violate(
            what, kind=kind, id=id, expected=expected, seen=seen, operation=sight.operation, served_by=sight.served_by,
            address=sight.address, user=sight.user, sent_ms_ago=round((time.monotonic() - sight.sent) * 1000, 1),
        )  # fmt: skip
        return False

    @staticmethod
    def _shown(kind: Kind, item: dict[str, Any]) -> str:
        return write_in(kind, item) or repr(content_of(kind, item))[:200]
