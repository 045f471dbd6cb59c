"""Reads, each judged by what everyone had been told when it was sent."""

from __future__ import annotations

from typing import Any

from loadtest.ledger import Kind
from loadtest.scene import Scene
from loadtest.wire import Wire


class Looker:
    """Whoever reads over `wire`. What could not be read is None or empty; that it failed has been counted."""

    def __init__(self, scene: Scene, wire: Wire) -> None:
        self.scene = scene
        self.wire = wire

    def look(self, kind: Kind, id: int, at_once: bool = False) -> dict[str, Any] | None:
        """Read one resource; `at_once` when it was just written.

        Where the load knows what it must be, `not there` is for the memory to judge.
        """
        memory = self.scene.memory
        expect = (200, 404) if memory.known(kind, id) or self.scene.others else (200,)
        answer = self.wire.ask(f"GET /api/{kind}s/{{id}}", f"/api/{kind}s/{id}", expect=expect, at_once=at_once)
        if answer.failed:
            return None
        item: dict[str, Any] | None = answer.body if answer.status == 200 else None
        memory.saw(kind, id, item, answer.sight)
        return item

    def look_at_myself(self, at_once: bool = False) -> None:
        answer = self.wire.ask("GET /api/users/me", "/api/users/me", at_once=at_once)
        if not answer.failed and self.wire.user is not None:
            self.scene.memory.saw("user", self.wire.user, answer.body, answer.sight)

    def list_topics(self, sort: str = "activity", at_once: bool = False) -> list[dict[str, Any]]:
        answer = self.wire.ask("GET /api/topics", f"/api/topics?sort={sort}&limit=20", at_once=at_once)
        if answer.failed:
            return []
        items: list[dict[str, Any]] = answer.body["items"]
        last_page = answer.body["next"] is None
        memory = self.scene.memory
        if sort == "newest":
            memory.saw_newest_topics(items, last_page, list(self.scene.newest), answer.sight)
        else:
            for item in items:
                memory.saw("topic", item["id"], item, answer.sight)
            self.scene.noticed(items)
        return items

    def list_messages(self, topic: int, pages: int = 1, limit: int = 20, at_once: bool = False) -> list[dict[str, Any]]:
        """The first pages of a topic; all that were read."""
        seen: list[dict[str, Any]] = []
        cursor = ""
        for _ in range(pages):
            known = self.scene.memory.known("topic", topic) or self.scene.others
            path = f"/api/messages?topic_id={topic}&limit={limit}{cursor}"
            answer = self.wire.ask("GET /api/messages", path, expect=(200, 404) if known else (200,), at_once=at_once)
            if answer.failed:
                break
            if answer.status == 404:
                self.scene.memory.saw("topic", topic, None, answer.sight)
                break
            items, following = answer.body["items"], answer.body["next"]
            after = seen[-1]["id"] if seen else 0
            if not self.scene.memory.topic_leaving(topic):
                self.scene.memory.saw_page_of_messages(topic, items, after, following is None, answer.sight)
            seen += items
            if following is None:
                break
            cursor = f"&cursor={following}"
        return seen
