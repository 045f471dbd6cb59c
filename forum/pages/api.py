"""The port by requests to the API, the contract of every site: with bounded retries and a breaker per module."""

from __future__ import annotations

import http.client
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar, get_args
from urllib.parse import urlencode

import pybreaker
from pydantic import TypeAdapter, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from forum.client_address import vouched
from forum.pages.port import Answer, Away, Module, Refused, Sort, TopicQuestion, TopicsQuestion
from forum.pages.shared import Shared, Told
from forum.schemas import (
    MAX_READERS,
    AllRead,
    Credentials,
    Input,
    Me,
    Message,
    MessageChange,
    NewMessage,
    NewTopic,
    Page,
    ProfileChange,
    Reading,
    Refresh,
    Registration,
    Tokens,
    Topic,
    TopicChange,
    User,
)

Value = TypeVar("Value")
Asked = Callable[[], Told[Answer[Value]]]
"""A call that has been sent: waits for what it is told. Raises PortError."""
At = tuple[Module, TypeAdapter[Value], str, dict[str, Any]]
"""Where something is read: the module, its shape, path and parameters."""

TOPICS: TypeAdapter[Page[Topic]] = TypeAdapter(Page[Topic])
MESSAGES: TypeAdapter[Page[Message]] = TypeAdapter(Page[Message])
TOPIC: TypeAdapter[Topic] = TypeAdapter(Topic)
MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
USER: TypeAdapter[User] = TypeAdapter(User)
ME: TypeAdapter[Me] = TypeAdapter(Me)
TOKENS: TypeAdapter[Tokens] = TypeAdapter(Tokens)
NOTHING: TypeAdapter[None] = TypeAdapter(None)
ANYTHING: TypeAdapter[object] = TypeAdapter(object)

LOOKS: dict[Module, str] = {
    "users": "/api/users?ids=1", "topics": "/api/topics?ids=1", "messages": "/api/messages?topic_id=1&limit=1",
}  # fmt: skip
"""What is cheap to ask of a module, and is never refused."""

VIEWS = "views"
"""A breaker of its own: without Redis nobody can compare views, which must not keep anybody from the other orders."""
KEPT, SHORT = 256, 64 * 1024
"""Pages of topics and messages that are kept, and how long, in bytes, one may be for that."""
TRIES, PATIENCE_SECONDS = 3, 3.0
"""Only what failed within this time is tried again: a visitor is waiting."""


class Request(NamedTuple):
    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    body: bytes | None


class Fields(Protocol):
    """A reply's headers, of whatever kind."""

    def get(self, name: str, default: str, /) -> str: ...


class Reply(NamedTuple):
    status: int
    headers: Fields
    content: bytes


Sent = Callable[[], Reply]
"""A request that is on its way: waits for the reply. Raises Away."""


class ApiPort(ABC):
    """Whatever way the requests take. Used by all threads at once.

    Every call is safe to repeat: reads and log-outs by nature, writes by their key, a refresh by its grace period; a
    log-in done twice leaves a session that nobody uses. So each is tried up to TRIES times.
    """

    def __init__(self) -> None:
        self._again = Retrying(
            stop=stop_after_attempt(TRIES - 1) | stop_after_delay(PATIENCE_SECONDS),
            wait=wait_random_exponential(multiplier=0.05, max=0.5),
            retry=retry_if_exception_type(Away),
            reraise=True,
        )
        self._shared = {module: Shared() for module in get_args(Module)}
        self._breakers = {
            module: pybreaker.CircuitBreaker(fail_max=8, reset_timeout=2, exclude=[Refused], name=module)
            for module in (*get_args(Module), VIEWS)
        }

    @abstractmethod
    def topics_page(self, sort: Sort, cursor: str | None, guest: bool) -> TopicsQuestion:
        """See ForumPort."""

    @abstractmethod
    def topic_page(self, topic_id: int, peek: bool, cursor: str | None, last: bool, guest: bool) -> TopicQuestion:
        """See ForumPort."""

    @abstractmethod
    def send(self, module: Module, request: Request) -> Sent:
        """To whoever has the module."""

    def look(self, module: Module) -> Answer[object]:
        return self._call(module, ANYTHING, "GET", LOOKS[module])

    def topics(self, sort: Sort, cursor: str | None, token: str = "") -> Answer[Page[Topic]]:
        params, breaker = {"sort": sort, "cursor": cursor}, VIEWS if sort == "views" else ""
        return self._read("topics", TOPICS, "/api/topics", params, token, breaker)

    def topics_by_ids(self, ids: Iterable[int]) -> Answer[Page[Topic]]:
        return self._call("topics", TOPICS, "GET", "/api/topics", params={"ids": ",".join(map(str, ids))})

    def search_topics(self, words: str, cursor: str | None) -> Answer[Page[Topic]]:
        return self._call("topics", TOPICS, "GET", "/api/topics/search", params={"q": words, "cursor": cursor})

    def search_messages(self, words: str, cursor: str | None) -> Answer[Page[Message]]:
        return self._call("messages", MESSAGES, "GET", "/api/messages/search", params={"q": words, "cursor": cursor})

    def topic(self, topic_id: int, peek: bool = False, token: str = "") -> Answer[Topic]:
        return self._read(*topic_at(topic_id, peek), token)

    def mark_read(self, token: str, topic_id: int, reading: Reading) -> Answer[None]:
        return self._call("topics", NOTHING, "PUT", f"/api/topics/{topic_id}/read", token=token, body=reading)

    def mark_all_read(self, token: str, until: AllRead, key: str) -> Answer[None]:
        return self._call("topics", NOTHING, "PUT", "/api/topics/read", token=token, body=until, key=key)

    def messages(self, topic_id: int, cursor: str | None, last: bool = False) -> Answer[Page[Message]]:
        return self._read(*messages_at(topic_id, cursor, last))

    def message(self, message_id: int) -> Answer[Message]:
        return self._call("messages", MESSAGE, "GET", f"/api/messages/{message_id}")

    def user(self, user_id: int) -> Answer[User]:
        return self._call("users", USER, "GET", f"/api/users/{user_id}")

    def me(self, token: str) -> Answer[Me]:
        return self._call("users", ME, "GET", "/api/users/me", token=token)

    def register(self, account: Registration, key: str) -> Answer[Me]:
        return self._call("users", ME, "POST", "/api/users", body=account, key=key)

    def change_profile(self, token: str, user_id: int, change: ProfileChange, key: str) -> Answer[Me]:
        return self._call("users", ME, "PATCH", f"/api/users/{user_id}", token=token, body=change, key=key)

    def delete_user(self, token: str, user_id: int, key: str) -> Answer[None]:
        return self._call("users", NOTHING, "DELETE", f"/api/users/{user_id}", token=token, key=key)

    def log_in(self, credentials: Credentials) -> Answer[Tokens]:
        return self._call("users", TOKENS, "POST", "/api/sessions", body=credentials, headers=vouched())

    def refresh(self, refresh_token: str) -> Answer[Tokens]:
        body = Refresh(refresh_token=refresh_token)
        return self._call("users", TOKENS, "POST", "/api/sessions/refresh", body=body)

    def log_out(self, token: str) -> Answer[None]:
        return self._call("users", NOTHING, "DELETE", "/api/sessions/current", token=token)

    def create_topic(self, token: str, topic: NewTopic, key: str) -> Answer[Topic]:
        return self._call("topics", TOPIC, "POST", "/api/topics", token=token, body=topic, key=key)

    def change_topic(self, token: str, topic_id: int, change: TopicChange, key: str) -> Answer[Topic]:
        return self._call("topics", TOPIC, "PATCH", f"/api/topics/{topic_id}", token=token, body=change, key=key)

    def delete_topic(self, token: str, topic_id: int, key: str) -> Answer[None]:
        return self._call("topics", NOTHING, "DELETE", f"/api/topics/{topic_id}", token=token, key=key)

    def post_message(self, token: str, message: NewMessage, key: str) -> Answer[Message]:
        return self._call("messages", MESSAGE, "POST", "/api/messages", token=token, body=message, key=key)

    def change_message(self, token: str, message_id: int, change: MessageChange, key: str) -> Answer[Message]:
        path = f"/api/messages/{message_id}"
        return self._call("messages", MESSAGE, "PATCH", path, token=token, body=change, key=key)

    def delete_message(self, token: str, message_id: int, key: str) -> Answer[None]:
        return self._call("messages", NOTHING, "DELETE", f"/api/messages/{message_id}", token=token, key=key)

    # --- one call ---------------------------------------------------------------------------------------------------

    def _read(
        self, module: Module, shape: TypeAdapter[Value], path: str, params: dict[str, Any], token: str = "",
        breaker: str = "",
    ) -> Answer[Value]:  # fmt: skip
        """What guests read, which all may share."""
        if token:
            return self._call(module, shape, "GET", path, params=params, token=token, breaker=breaker)
        ask = self.reads(module, shape, path, params, breaker)
        return self._shared[module].read(f"{path} {params}", lambda others, kept: ask(others, kept)())

    def reads(
        self, module: Module, shape: TypeAdapter[Value], path: str, params: dict[str, Any], breaker: str = ""
    ) -> Callable[[int, Told[Answer[Value]] | None], Asked[Value]]:
        """See Shared.read; but sent only."""
        alone = _request("GET", path, params)

        def ask(others: int, kept: Told[Answer[Value]] | None) -> Asked[Value]:
            request = alone
            if others and shape is TOPIC:
                request = _request("GET", path, params | {"readers": min(others + 1, MAX_READERS)})
            if kept:
                request = request._replace(headers={**request.headers, "If-None-Match": kept.etag})
            return self._sent(module, shape, request, breaker, kept)

        return ask

    def _call(
        self, module: Module, shape: TypeAdapter[Value], method: str, path: str, breaker: str = "", **more: Any
    ) -> Answer[Value]:
        return self._sent(module, shape, _request(method, path, **more), breaker)().value

    def _sent(
        self, module: Module, shape: TypeAdapter[Value], request: Request, breaker: str,
        kept: Told[Answer[Value]] | None = None,
    ) -> Asked[Value]:  # fmt: skip
        breaks = self._breakers[breaker or module]
        sent = self.send(module, request) if breaks.current_state == pybreaker.STATE_CLOSED else None
        return partial(self._told, module, shape, request, breaks, kept, sent)

    def _told(
        self, module: Module, shape: TypeAdapter[Value], request: Request, breaks: pybreaker.CircuitBreaker,
        kept: Told[Answer[Value]] | None, sent: Sent | None,
    ) -> Told[Answer[Value]]:  # fmt: skip
        began = time.monotonic()
        try:
            # Not breaker.call(): that lets only one call at a time through.
            with breaks.calling():
                try:
                    reply = _checked(module, (sent or self.send(module, request))())
                except Away:
                    if time.monotonic() - began > PATIENCE_SECONDS:
                        raise
                    reply = self._again(lambda: _checked(module, self.send(module, request)()))
            content = reply.content or b"null"
            short = len(content) <= SHORT
            if kept and reply.status == HTTPStatus.NOT_MODIFIED:
                value = kept.value.value
            else:
                value = (_same if short and shape in (TOPICS, MESSAGES) else _parsed)(shape, content)
        except (pybreaker.CircuitBreakerError, ValidationError) as error:
            raise Away(module) from error
        return Told(Answer(value, module, reply.headers.get("X-Served-By", "")), reply.headers.get("ETag", ""), short)


def _request(
    method: str, path: str, params: dict[str, Any] | None = None, body: Input | None = None, token: str = "",
    key: str = "", headers: Mapping[str, str] = MappingProxyType({}),
) -> Request:  # fmt: skip
    headers = {"Accept": "application/json", **headers}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if key:
        headers["Idempotency-Key"] = key
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        # Not escaped to ASCII: 20,000 characters of any one script must stay under the limit for a body.
        data = json.dumps(body.model_dump(mode="json", exclude_unset=True), ensure_ascii=False).encode()
    query = urlencode({name: value for name, value in (params or {}).items() if value is not None})
    return Request(method, f"{path}?{query}" if query else path, headers, data)


def _checked(module: Module, reply: Reply) -> Reply:
    if reply.status >= 500:
        raise Away(module)
    if reply.status >= 300 and reply.status != HTTPStatus.NOT_MODIFIED:
        raise _refused(module, reply)
    return reply


def topic_at(topic_id: int, peek: bool) -> At[Topic]:
    return "topics", TOPIC, f"/api/topics/{topic_id}", {"peek": 1} if peek else {}


def messages_at(topic_id: int, cursor: str | None, last: bool) -> At[Page[Message]]:
    params = {"topic_id": topic_id, "cursor": cursor, "last": 1 if last else None}
    return "messages", MESSAGES, "/api/messages", params


def _parsed(shape: TypeAdapter[Value], content: bytes) -> Value:
    return shape.validate_json(content)


_same = lru_cache(KEPT)(_parsed)
"""Of the same content the same object: what has been made of it is found by it (forum.pages.fragments)."""


def _refused(module: Module, reply: Reply) -> Refused:
    try:
        problem = json.loads(reply.content)
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    errors = {str(error.get("field")): str(error.get("message")) for error in problem.get("errors") or []}
    detail = str(problem.get("detail") or http.client.responses.get(reply.status, reply.status))
    told = reply.headers
    return Refused(module, reply.status, detail, errors, told.get("X-Served-By", ""), told.get("Retry-After", ""))
