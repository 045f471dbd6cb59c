"""A forum in memory that keeps the contract, and can be told to break it in one way: the negative controls' subject."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

Row = dict[str, Any]


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class RefusalError(Exception):
    def __init__(self, status: int, detail: str) -> None:
        self.status, self.detail = status, detail


class FakeForum:
    """`mischief` says how it breaks the contract; None keeps it. `served` counts requests."""

    def __init__(self, mischief: str | None = None, served_by: str = "fake/v1@test") -> None:
        self.mischief = mischief
        self.served_by = served_by
        self.lock = threading.RLock()
        self.users: dict[int, Row] = {}
        self.topics: dict[int, Row] = {}
        self.messages: dict[int, Row] = {}
        self.old: dict[int, Row] = {}  # messages as they were before their last edit
        self.tokens: dict[str, int] = {}
        self.keys: dict[tuple[int | None, str], tuple[Any, int]] = {}
        self.ids = itertools.count(1)
        self.served = 0
        self.occasions = 0
        self.misdeeds = 0
        self.old_topics: set[int] = set()
        self.register("demo", "demo-password", "", "Demo")
        for n in range(5):
            topic = self.new_topic(1, f"An old topic {n}")
            self.old_topics.add(topic["id"])
            for _ in range(30):
                self.new_message(1, topic["id"], "An old message", None)
        self.app = self._app()

    # --- the forum ---

    def trick(self, name: str, every: int = 1, at_most: int | None = None) -> bool:
        """Whether to do `name` now: at each `every`-th occasion, and not more often than `at_most`."""
        if self.mischief != name:
            return False
        with self.lock:
            self.occasions += 1
            turn, left = divmod(self.occasions, every)
            now = left == 0 and (at_most is None or turn <= at_most)
            self.misdeeds += now
            return now

    def register(self, username: str, password: str, bio: str, display_name: str) -> Row:
        if any(user["username"].lower() == username.lower() for user in self.users.values()):
            raise RefusalError(409, "taken")
        id = next(self.ids)
        self.users[id] = {
            "id": id, "username": username, "display_name": display_name, "bio": bio, "role": "member",
            "created_at": now(), "password": password,
        }  # fmt: skip
        return self.users[id]

    def new_topic(self, author: int | None, title: str) -> Row:
        if len(title) > 200:
            if self.trick("show refused", at_most=1):
                self.topics[id] = self._topic(id := next(self.ids), author, title)
            raise RefusalError(422, "title too long")
        id = next(self.ids)
        self.topics[id] = self._topic(id, author, title)
        return self.topics[id]

    @staticmethod
    def _topic(id: int, author: int | None, title: str) -> Row:
        return {"id": id, "author_id": author, "title": title, "locked": False, "message_count": 0,
                "last_activity_at": now(), "created_at": now(), "updated_at": now()}  # fmt: skip

    def new_message(self, author: int | None, topic: int, body: str, reply_to: int | None) -> Row:
        if topic not in self.topics:
            raise RefusalError(404, "no such topic")
        if reply_to and self.messages.get(reply_to, {}).get("topic_id") != topic:
            raise RefusalError(422, "reply_to is not in that topic")
        id = next(self.ids)
        # Where nobody deletes the topic, which would cover the deed.
        ours = "[w:" in body and topic in self.old_topics
        if ours and self.trick("same id", every=5, at_most=1):
            id = max(
                message["id"]
                for message in self.messages.values()
                if message["topic_id"] in self.old_topics and "[w:" in message["body"]
            )
        message = {"id": id, "topic_id": topic, "author_id": author, "reply_to": reply_to, "body": body,
                   "created_at": now(), "updated_at": now()}  # fmt: skip
        if ours and self.trick("lose", every=5, at_most=1):
            return message
        self.messages[id] = message
        if ours and self.trick("change", every=5, at_most=1):
            self.messages[id] = message | {"body": body.replace("[w:", "(sic) [w:")}
        if not (ours and self.trick("miscount", every=5, at_most=1)):
            self.topics[topic]["message_count"] += 1
            self.topics[topic]["last_activity_at"] = message["created_at"]
        if ours and self.trick("double", every=5, at_most=1):
            twin = next(self.ids)
            self.messages[twin] = message | {"id": twin}
            self.topics[topic]["message_count"] += 1
        return message

    def drop_message(self, id: int) -> None:
        message = self.messages.pop(id)
        for other in self.messages.values():
            if other["reply_to"] == id:
                other["reply_to"] = None
        if message["topic_id"] in self.topics:
            self.topics[message["topic_id"]]["message_count"] -= 1

    def author(self, id: int | None) -> Row | None:
        user = self.users.get(id or 0)
        return {key: user[key] for key in ("id", "username", "display_name")} if user else None

    def shown(self, row: Row) -> Row:
        if "password" in row:
            return {key: value for key, value in row.items() if key != "password"}
        item = {key: value for key, value in row.items() if key != "author_id"}
        return item | {"author": self.author(row["author_id"])} | ({"views": None} if "title" in row else {})

    # --- its HTTP ---

    def _me(self) -> int:
        me = self.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if me is None or me not in self.users:
            raise RefusalError(401, "no valid token")
        return me

    def _app(self) -> Flask:
        app = Flask("fake")

        @app.before_request
        def _count() -> tuple[Response, int] | None:
            self.served += 1
            if self.trick("slow", every=10):
                time.sleep(0.2)
                if self.misdeeds == 5:
                    with self.lock:  # everyone waits: each request asks for this lock
                        time.sleep(1.2)
            if self.trick("500 before", every=40, at_most=8):
                return jsonify(title="boom"), 500
            if request.method == "GET" and self.trick("hang up", every=40, at_most=8):
                request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return None

        @app.after_request
        def _after(response: Response) -> Response:
            if request.method != "GET" and self.trick("no route", every=15, at_most=8):
                return Response("404 page not found\n", 404)
            response.headers["X-Served-By"] = self.served_by
            if request.method != "GET" and (
                self.trick("503 after", every=15, at_most=8) or self.trick("forget keys", every=15, at_most=8)
            ):
                broken = jsonify(title="gone away")
                broken.status_code = 503
                broken.headers["Retry-After"] = "0.1"
                return broken
            return response

        @app.errorhandler(RefusalError)
        def _refuse(refusal: RefusalError) -> tuple[Response, int]:
            return jsonify(title=refusal.detail, status=refusal.status), refusal.status

        self._user_routes(app)
        self._topic_routes(app)
        self._message_routes(app)
        return app

    def once(self, me: int | None, do: Callable[[], tuple[Any, int]]) -> Any:
        """A write under the lock, carried out once per Idempotency-Key."""
        with self.lock:
            key = (me, request.headers["Idempotency-Key"])
            if key in self.keys and self.mischief != "forget keys":
                body, status = self.keys[key]
                return jsonify(body), status, {"Idempotency-Replayed": "true"}
            body, status = do()
            self.keys[key] = (body, status)
            return (jsonify(body) if body is not None else ""), status

    def page(self, rows: list[Row], by_id: bool = False) -> Any:
        """A page after the row whose id is the cursor: counting rows instead would skip one when another is deleted."""
        limit, cursor = int(request.args.get("limit", 20)), int(request.args.get("cursor", 0))
        if by_id:
            rows = [row for row in rows if row["id"] > cursor]
        elif cursor:
            rows = rows[[row["id"] for row in rows].index(cursor) + 1 :]
        items = [self.shown(row) for row in rows[:limit]]
        return jsonify(items=items, next=str(items[-1]["id"]) if len(rows) > limit else None)

    @staticmethod
    def find(rows: dict[int, Row], id: int) -> Row:
        if id not in rows:
            raise RefusalError(404, "not here")
        return rows[id]

    def own(self, row: Row, me: int) -> None:
        if row["author_id"] != me:
            raise RefusalError(403, "not yours")

    def _user_routes(self, app: Flask) -> None:
        def session(user: Row, status: int) -> Any:
            token = f"{user['id']}-{next(self.ids)}"
            self.tokens[token] = user["id"]
            return jsonify(access_token=token, refresh_token=token, expires_in=900, user=self.shown(user)), status

        @app.post("/api/users")
        def _register() -> Any:
            sent = request.json
            return self.once(
                None,
                lambda: (
                    self.shown(self.register(sent["username"], sent["password"], sent["bio"], sent["display_name"])),
                    201,
                ),
            )

        @app.get("/api/users")
        def _users() -> Any:
            ids = [int(id) for id in request.args.get("ids", "").split(",") if id]
            name = request.args.get("username")
            return jsonify(items=[
                self.shown(user) for user in list(self.users.values()) if user["id"] in ids or user["username"] == name
            ])  # fmt: skip

        @app.get("/api/users/<id>")
        def _user(id: str) -> Any:
            return jsonify(self.shown(self.find(self.users, self._me() if id == "me" else int(id))))

        @app.patch("/api/users/<int:id>")
        def _edit_user(id: int) -> Any:
            def do() -> tuple[Any, int]:
                self.find(self.users, id).update(request.json)
                return self.shown(self.users[id]), 200

            return self.once(self._me(), do)

        @app.delete("/api/users/<int:id>")
        def _delete_user(id: int) -> Any:
            def do() -> tuple[Any, int]:
                del self.users[id]
                for row in (*self.topics.values(), *self.messages.values()):
                    row["author_id"] = None if row["author_id"] == id else row["author_id"]
                return None, 204

            with self.lock:  # a repeated deletion comes from someone who is not there any more
                me = self.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
                return self.once(me, do)

        @app.post("/api/sessions")
        def _log_in() -> Any:
            sent = request.json
            for user in list(self.users.values()):
                if (user["username"], user["password"]) == (sent["username"], sent["password"]):
                    return session(user, 201)
            raise RefusalError(401, "wrong")

        @app.post("/api/sessions/refresh")
        def _refresh() -> Any:
            return session(self.users[self.tokens[request.json["refresh_token"]]], 200)

        @app.delete("/api/sessions/current")
        def _log_out() -> Any:
            return "", 204

    def _topic_routes(self, app: Flask) -> None:
        @app.post("/api/topics")
        def _new_topic() -> Any:
            me = self._me()
            return self.once(me, lambda: (self.shown(self.new_topic(me, request.json["title"])), 201))

        @app.get("/api/topics")
        def _list_topic() -> Any:
            by = "created_at" if request.args.get("sort") == "newest" else "last_activity_at"
            with self.lock:
                return self.page(sorted(self.topics.values(), key=lambda row: (row[by], row["id"]), reverse=True))

        @app.get("/api/topics/<int:id>")
        def _topic(id: int) -> Any:
            return jsonify(self.shown(self.find(self.topics, id)))

        @app.patch("/api/topics/<int:id>")
        def _edit_topic(id: int) -> Any:
            me = self._me()

            def do() -> tuple[Any, int]:
                self.own(self.find(self.topics, id), me)
                self.topics[id].update(request.json)
                return self.shown(self.topics[id]), 200

            return self.once(me, do)

        @app.delete("/api/topics/<int:id>")
        def _delete_topic(id: int) -> Any:
            me = self._me()

            def do() -> tuple[Any, int]:
                self.own(self.find(self.topics, id), me)
                del self.topics[id]
                for message in [row["id"] for row in self.messages.values() if row["topic_id"] == id]:
                    del self.messages[message]
                return None, 204

            return self.once(me, do)

    def _message_routes(self, app: Flask) -> None:
        @app.post("/api/messages")
        def _new_message() -> Any:
            me, sent = self._me(), request.json
            return self.once(
                me,
                lambda: (self.shown(self.new_message(me, sent["topic_id"], sent["body"], sent.get("reply_to"))), 201),
            )

        @app.get("/api/messages")
        def _list_message() -> Any:
            topic = int(request.args["topic_id"])
            with self.lock:
                return self.page([row for id, row in sorted(self.messages.items()) if row["topic_id"] == topic], True)

        @app.get("/api/messages/<int:id>")
        def _message(id: int) -> Any:
            message = self.find(self.messages, id)
            me = self.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
            if id in self.old and me == message["author_id"] and self.trick("stale", at_most=1):
                message = self.old[id]
            return jsonify(self.shown(message))

        @app.patch("/api/messages/<int:id>")
        def _edit_message(id: int) -> Any:
            me = self._me()

            def do() -> tuple[Any, int]:
                message = self.find(self.messages, id)
                self.own(message, me)
                self.old[id] = dict(message)
                message.update(request.json, updated_at=now())
                if self.trick("forget edit", every=3, at_most=1):
                    self.messages[id] = dict(self.old[id])
                return self.shown(message), 200

            return self.once(me, do)

        @app.delete("/api/messages/<int:id>")
        def _delete_message(id: int) -> Any:
            me = self._me()

            def do() -> tuple[Any, int]:
                self.own(self.find(self.messages, id), me)
                old = self.messages[id]["topic_id"] in self.old_topics
                if not (old and self.trick("keep deleted", at_most=1)):
                    self.drop_message(id)
                return None, 204

            return self.once(me, do)

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Answer on a free loopback port; the address."""
        server = make_server("127.0.0.1", 0, self.app, threaded=True)
        server.RequestHandlerClass.protocol_version = "HTTP/1.1"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
