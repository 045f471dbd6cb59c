"""What one person does on the forum, one step at a time; each write ledgered, each read judged."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import gevent

from loadtest import invent
from loadtest.freshness import content_of
from loadtest.ledger import Action, Kind
from loadtest.plan import SEED_USERNAME
from loadtest.scene import Scene
from loadtest.wire import Answer, Expected, Wire

# How long a write with an unknown outcome is tried again before its fate is left unknown, in seconds.
INSIST = 20.0
# The same once the load is over.
INSIST_AT_THE_END = 5.0
# Tokens are renewed when they have less than this left, in seconds.
RENEW = 60.0


@dataclass
class Account:
    username: str
    password: str
    id: int
    refresh_token: str = ""
    expires: float = 0.0  # time.monotonic()


class Visitor:
    """One person with a connection of their own. Every step returns what it learned, or None when it got nowhere."""

    def __init__(self, scene: Scene, wire: Wire) -> None:
        self.scene = scene
        self.wire = wire
        self.account: Account | None = None
        self.topics: list[int] = []
        self.messages: list[tuple[int, int]] = []  # (topic, message)

    # --- accounts and sessions ---

    def register(self) -> bool:
        write = self.scene.ledger.new_id()
        name = invent.first_name()
        password = secrets.token_urlsafe(12)
        sent = {"username": f"{name}-{write}", "display_name": name, "bio": invent.bio(write)}
        answer = self.write(
            write, "user", "create", "POST /api/users", "/api/users", sent,
            send=sent | {"email": f"{write}@example.org", "password": password}, expect=(201,), anonymous=True,
        )  # fmt: skip
        if answer is None:
            return False
        self.account = Account(sent["username"], password, answer.body["id"])
        self.topics, self.messages = [], []
        self.scene.users.append(self.account.id)
        return True

    def log_in(self, username: str, password: str) -> bool:
        self.wire.token = self.wire.user = None
        answer = self._session("POST /api/sessions", {"username": username, "password": password}, 201)
        if answer is None:
            return False
        if self.account is None or self.account.username != username:
            self.account = Account(username, password, answer.body["user"]["id"])
        return self._enter(answer)

    def refresh(self) -> bool:
        assert self.account is not None
        answer = self._session("POST /api/sessions/refresh", {"refresh_token": self.account.refresh_token}, 200)
        return answer is not None and self._enter(answer)

    def log_out(self) -> None:
        self._insist(lambda since: self.wire.ask(
            "DELETE /api/sessions/current", "/api/sessions/current", expect=(204,), waiting_since=since))  # fmt: skip
        self.wire.token = None

    def ready(self) -> bool:
        """Whether there is a session that will last a while; made or renewed if not."""
        account = self.account
        if account is None:
            return self.register() and self.ready()
        if self.wire.token and account.expires - time.monotonic() > RENEW:
            return True
        if self.wire.token and self.refresh():
            return True
        return self.log_in(account.username, account.password)

    def _session(self, operation: str, send: dict[str, Any], status: int) -> Answer | None:
        path = operation.partition(" ")[2]
        answer = self._insist(lambda since: self.wire.ask(
            operation, path, send=send, expect=(status,), waiting_since=since, anonymous=True))  # fmt: skip
        return None if answer.failed else answer

    def _enter(self, answer: Answer) -> bool:
        assert self.account is not None
        self.wire.token = answer.body["access_token"]
        self.wire.user = self.account.id
        self.account.refresh_token = answer.body["refresh_token"]
        self.account.expires = time.monotonic() + answer.body["expires_in"]
        return True

    # --- writes ---

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
        answer = self._insist(
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

    def _insist(
        self, ask: Callable[[float | None], Answer], doubt: Callable[[Answer], None] = lambda _: None
    ) -> Answer:
        began = time.time()
        pauses = itertools.chain((0.1, 0.2, 0.4, 0.8), itertools.repeat(1.0))
        answer = ask(None)
        while answer.unknown:
            doubt(answer)
            if time.time() - began > (INSIST_AT_THE_END if self.scene.over.is_set() else INSIST):
                break
            gevent.sleep(min(2.0, answer.retry_after or next(pauses)))
            answer = ask(began)
        return answer

    def create_topic(self) -> int | None:
        write = self.scene.ledger.new_id()
        sent = {"title": invent.title(write)}
        answer = self.write(
            write, "topic", "create", "POST /api/topics", "/api/topics", sent, send=sent, expect=(201,)
        )  # fmt: skip
        if answer is None:
            return None
        id: int = answer.body["id"]
        self.topics = [*self.topics[-20:], id]
        self.scene.topics.append(id)
        self.scene.newest.append((id, datetime.fromisoformat(answer.body["created_at"])))
        return id

    def post(self, topic: int, reply_to: int | None = None) -> int | None:
        write = self.scene.ledger.new_id()
        sent = {"topic_id": topic, "body": invent.body(write)} | ({"reply_to": reply_to} if reply_to else {})
        answer = self.write(
            write, "message", "create", "POST /api/messages", "/api/messages", sent, send=sent, topic=topic,
            expect=lambda: (201, *self._if_gone(topic, reply_to)),
        )  # fmt: skip
        if answer is None:
            return None
        id: int = answer.body["id"]
        self.messages = [*self.messages[-50:], (topic, id)]
        self.scene.messages.append((topic, id))
        return id

    def _if_gone(self, topic: int, message: int | None = None) -> Collection[int]:
        """The refusals that are right because someone has begun to delete what this is about."""
        memory = self.scene.memory
        right = {404} if memory.topic_leaving(topic) else set()
        if message is not None and memory.known("message", message) and not memory.alive("message", message):
            right.add(422)
        return right

    def edit_topic(self, topic: int) -> bool:
        write = self.scene.ledger.new_id()
        sent = {"title": invent.title(write)}
        return self.write(
            write, "topic", "edit", "PATCH /api/topics/{id}", f"/api/topics/{topic}", sent,
            send=sent, expect=(200,), resource=topic,
        ) is not None  # fmt: skip

    def edit_message(self, topic: int, message: int) -> bool:
        write = self.scene.ledger.new_id()
        sent = {"body": invent.body(write)}
        return self.write(
            write, "message", "edit", "PATCH /api/messages/{id}", f"/api/messages/{message}", sent,
            send=sent, expect=lambda: (200, *self._if_gone(topic)), resource=message, topic=topic,
        ) is not None  # fmt: skip

    def edit_profile(self) -> bool:
        assert self.account is not None
        write = self.scene.ledger.new_id()
        sent = {"display_name": invent.first_name(), "bio": invent.bio(write)}
        return self.write(
            write, "user", "edit", "PATCH /api/users/{id}", f"/api/users/{self.account.id}", sent,
            send=sent, expect=(200,), resource=self.account.id,
        ) is not None  # fmt: skip

    def delete_topic(self, topic: int) -> bool:
        self.topics.remove(topic)
        write = self.scene.ledger.new_id()
        done = self.write(
            write, "topic", "delete", "DELETE /api/topics/{id}", f"/api/topics/{topic}", {},
            send=None, expect=(204,), resource=topic,
        ) is not None  # fmt: skip
        if done:
            self.scene.deleted_topics.append(topic)
        return done

    def delete_message(self, topic: int, message: int) -> bool:
        self.messages.remove((topic, message))
        write = self.scene.ledger.new_id()
        return self.write(
            write, "message", "delete", "DELETE /api/messages/{id}", f"/api/messages/{message}", {},
            send=None, expect=lambda: (204, *self._if_gone(topic)), resource=message, topic=topic,
        ) is not None  # fmt: skip

    def delete_account(self) -> bool:
        assert self.account is not None
        write = self.scene.ledger.new_id()
        done = self.write(
            write, "user", "delete", "DELETE /api/users/{id}", f"/api/users/{self.account.id}", {},
            send=None, expect=(204,), resource=self.account.id,
        ) is not None  # fmt: skip
        self.account = self.wire.token = self.wire.user = None
        self.topics, self.messages = [], []
        return done

    # --- writes that must be refused ---

    def rewrite_another(self) -> None:
        """Edit what someone else wrote."""
        other = self.scene.some_message()
        if other is None or other in self.messages or self._is_shared_account():
            return
        topic, message = other
        write = self.scene.ledger.new_id()
        sent = {"body": invent.body(write)}
        self.write(
            write, "message", "edit", "PATCH /api/messages/{id}", f"/api/messages/{message}", sent, send=sent,
            expect=lambda: (403,) if self.scene.memory.alive("message", message) else (403, 404),
            resource=message, topic=topic, trespass=True,
        )  # fmt: skip
        self.look("message", message, at_once=True)

    def post_where_nothing_is(self) -> None:
        """Post to a topic that was deleted."""
        if self.scene.deleted_topics:
            topic = self.scene.deleted_topics[-1]
            write = self.scene.ledger.new_id()
            sent = {"topic_id": topic, "body": invent.body(write)}
            self.write(
                write, "message", "create", "POST /api/messages", "/api/messages", sent, send=sent, topic=topic,
                expect=(404,), trespass=True,
            )  # fmt: skip

    def say_too_much(self) -> None:
        """A title beyond the limit."""
        write = self.scene.ledger.new_id()
        sent = {"title": invent.title(write) + "!" * 200}
        self.write(
            write, "topic", "create", "POST /api/topics", "/api/topics", sent, send=sent, expect=(422,), trespass=True
        )  # fmt: skip

    def register_a_taken_name(self) -> None:
        if not self.account:
            return
        write = self.scene.ledger.new_id()
        sent = {"username": self.account.username, "display_name": "Not me", "bio": invent.bio(write)}
        self.write(
            write, "user", "create", "POST /api/users", "/api/users", sent,
            send=sent | {"email": f"{write}@example.org", "password": secrets.token_urlsafe(12)},
            expect=(409,), anonymous=True, trespass=True,
        )  # fmt: skip

    def _is_shared_account(self) -> bool:
        """Several users share it, so that another's message may be one's own."""
        return self.account is not None and self.account.username == SEED_USERNAME

    # --- reads ---

    def look(self, kind: Kind, id: int, at_once: bool = False) -> dict[str, Any] | None:
        """Read one resource; `at_once` when it was just written.

        Where the load knows what it must be, `not there` is for the memory to judge.
        """
        memory = self.scene.memory
        expect = (200, 404) if memory.known(kind, id) else (200,)
        answer = self.wire.ask(f"GET /api/{kind}s/{{id}}", f"/api/{kind}s/{id}", expect=expect, at_once=at_once)
        if answer.failed:
            return None
        item: dict[str, Any] | None = answer.body if answer.status == 200 else None
        memory.saw(kind, id, item, answer.sight)
        return item

    def look_at_myself(self, at_once: bool = False) -> None:
        assert self.account is not None
        answer = self.wire.ask("GET /api/users/me", "/api/users/me", at_once=at_once)
        if not answer.failed:
            self.scene.memory.saw("user", self.account.id, answer.body, answer.sight)

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
            known = self.scene.memory.known("topic", topic)
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
