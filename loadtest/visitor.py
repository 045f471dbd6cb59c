"""What one person does on the forum, one step at a time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loadtest import invent
from loadtest.looking import Looker
from loadtest.scene import Posted, Scene
from loadtest.wire import Answer, Wire
from loadtest.writing import Writer

# Tokens are renewed when they have less than this left, in seconds.
RENEW = 60.0


@dataclass
class Account:
    username: str
    password: str
    id: int
    refresh_token: str = ""
    expires: float = 0.0  # time.monotonic()


class Visitor(Writer, Looker):
    """One person with a connection of their own. Every step returns what it learned, or None when it got nowhere."""

    def __init__(self, scene: Scene, wire: Wire) -> None:
        super().__init__(scene, wire)
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
        self.insist(lambda since: self.wire.ask(
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
        answer = self.insist(lambda since: self.wire.ask(
            operation, path, send=send, expect=(status,), waiting_since=since, anonymous=True))  # fmt: skip
        return None if answer.failed else answer

    def _enter(self, answer: Answer) -> bool:
        assert self.account is not None
        self.wire.token = answer.body["access_token"]
        self.wire.user = self.account.id
        self.account.refresh_token = answer.body["refresh_token"]
        self.account.expires = time.monotonic() + answer.body["expires_in"]
        return True

    # --- topics, messages, profile ---

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
        if self.account:
            self.scene.messages.append(Posted(topic, id, self.account.id))
        return id

    def _if_gone(self, topic: int, message: int | None = None) -> Collection[int]:
        """The refusals that are right because someone has begun to delete what this is about."""
        memory = self.scene.memory
        right = {404} if memory.topic_leaving(topic) else set()
        known = message is not None and memory.known("message", message)
        if message is not None and not (memory.alive("message", message) if known else not self.scene.others):
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
