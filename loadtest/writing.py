"""One write, from its line in the ledger to the answer that settles it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import gevent

from loadtest.freshness import content_of
from loadtest.ledger import Action, Kind
from loadtest.scene import Scene
from loadtest.wire import Answer, Expected, Wire

# How long a write with an unknown outcome is tried again before its fate is left unknown, in seconds.
INSIST = 20.0
# The same once the load is over.
INSIST_AT_THE_END = 5.0


class Writer:
    """Whoever writes over `wire`, and tells the ledger and the memory."""

    def __init__(self, scene: Scene, wire: Wire) -> None:
        self.scene = scene
        self.wire = wire

    def write(
        self, write: str, kind: Kind, action: Action, operation: str, path: str, sent: dict[str, Any], *,
        send: dict[str, Any] | None, expect: Expected, resource: int | None = None, topic: int | None = None,
        anonymous: bool = False, trespass: bool = False,
    ) -> Answer | None:  # fmt: skip
        """One write until its fate is known, or for INSIST seconds; the answer when it was acknowledged.

        `sent` is what must be read back later, `send` the request's body. A `trespass` is meant to be refused, and what
        it sends must never be seen.
        """
        ledger, memory = self.scene.ledger, self.scene.memory
        ledger.begin(write, kind, action, sent, resource=resource, topic=topic, who=self.wire.user)
        if resource is not None and not trespass:
            memory.changing(kind, resource, write, None if action == "delete" else content_of(kind, sent))
        answer = self.insist(
            lambda since: self.wire.ask(
                operation, path, send=send, expect=expect, key=write, waiting_since=since, anonymous=anonymous
            ),
            lambda failed: ledger.doubt(write, failed.error or ""),
        )
        if answer.unknown:
            if resource is not None:
                memory.unsure(kind, resource)
            return None
        if answer.status >= 300:
            ledger.refuse(write, answer.status)
            memory.refused.add(write)
            if resource is not None and not trespass:
                memory.unchanged(kind, resource, write)
            return None
        return self._acknowledged(write, kind, action, sent, resource, topic, trespass, answer)

    def _acknowledged(
        self, write: str, kind: Kind, action: Action, sent: dict[str, Any], resource: int | None, topic: int | None,
        trespass: bool, answer: Answer,
    ) -> Answer | None:  # fmt: skip
        ledger, memory = self.scene.ledger, self.scene.memory
        item = answer.body if isinstance(answer.body, dict) else {}
        id = resource if resource is not None else item.get("id")
        if not isinstance(id, int):
            ledger.error(f"{write}: acknowledged with {answer.status} but without an id: {str(answer.body)[:200]}")
            return None
        ledger.acknowledge(write, id, answer.status, answer.replayed)
        if trespass:
            return None  # it has been counted as a failed request; the check finds what it did
        if action == "create":
            memory.created(kind, id, write, content_of(kind, sent), topic)
        else:
            memory.changed(kind, id, write)
        if action != "delete" and content_of(kind, item) != content_of(kind, sent):
            ledger.violate("wrong", kind=kind, id=id, expected=write, seen=str(content_of(kind, item))[:300],
                           operation=answer.sight.operation, served_by=answer.sight.served_by,
                           address=answer.sight.address, user=self.wire.user)  # fmt: skip
        return answer

    def insist(self, ask: Callable[[float | None], Answer], doubt: Callable[[Answer], None] = lambda _: None) -> Answer:
        began = time.time()
        pauses = itertools.chain((0.1, 0.2, 0.4, 0.8), itertools.repeat(1.0))
        answer = ask(None)
        while answer.unknown:
            doubt(answer)
            if time.time() - began > (INSIST_AT_THE_END if self.scene.over else INSIST):
                break
            gevent.sleep(min(2.0, answer.retry_after or next(pauses)))
            answer = ask(began)
        return answer
