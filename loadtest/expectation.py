"""What must be in the forum when the load is over, worked out from the ledger alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from loadtest.freshness import Key
from loadtest.ledger import History, Write

Gone = Literal["no", "maybe", "yes"]


@dataclass(slots=True)
class Expected:
    """One acknowledged resource: the writes that made it what it is, and those whose content may stand now."""

    create: Write
    chain: list[Write]
    allowed: list[Write]
    gone: Gone = "no"
    deletion: Write | None = None

    @property
    def id(self) -> int:
        assert self.create.answered is not None
        return self.create.answered

    def apply(self, write: Write) -> None:
        """One later write of its owner, in order."""
        known = write.fate == "acknowledged"
        if write.action == "delete":
            self.gone, self.deletion = ("yes" if known else "maybe"), write
            return
        self.chain.append(write)
        self.allowed = [write] if known else [*self.allowed, write]


@dataclass(slots=True)
class Expectation:
    # More than one under a key: an id was handed out twice.
    resources: defaultdict[Key, list[Expected]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[str, Write] = field(default_factory=dict)
    # Creations whose fate nobody knows: present once, or not at all.
    open: dict[str, Write] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Expected]:
        for same in self.resources.values():
            yield from same

    def of(self, kind: str) -> list[Expected]:
        return [expected for expected in self if expected.create.kind == kind]

    def gone(self, key: Key) -> Gone:
        """Whether it was deleted, as far as the ledger tells."""
        return self.resources[key][-1].gone if key in self.resources else "no"


def expect(history: History) -> Expectation:
    expectation = Expectation()
    for write in history.writes.values():
        if write.fate == "refused":
            expectation.refused[write.id] = write
        elif write.action == "create":
            if write.fate == "acknowledged" and write.answered is not None:
                expectation.resources[write.kind, write.answered].append(Expected(write, [write], [write]))
            else:
                expectation.open[write.id] = write
        elif write.resource is not None and (write.kind, write.resource) in expectation.resources:
            expectation.resources[write.kind, write.resource][-1].apply(write)
    return expectation
