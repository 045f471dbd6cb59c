"""The port over HTTP, with a deadline for each call."""

from __future__ import annotations

import http.client
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from urllib3.util import wait_for_read

from forum.pages.api import ApiPort, Reply, Request, Sent, messages_at, topic_at
from forum.pages.port import Answer, Away, Module, PortError, Sort, TopicQuestion, TopicsQuestion
from forum.pages.shared import Shared, Told
from forum.schemas import Message, Page, Topic
from forum.tracing import traceparent
from strangler.measured import called

Value = TypeVar("Value")
Got = TypeVar("Got")
Outcome = Told[Answer[Value]] | PortError

FAILURES = OSError, http.client.HTTPException, ValueError
"""ValueError: what a visitor has in a cookie may be no value of a header."""


class HttpPort(ApiPort):
    """Asks `base_url`, by connections that stay open, for the application `site`; outside of its requests, too.

    read_seconds: longer than a site waits for an owner that is just changing, so that it can answer for itself.

    By http.client, for a page sends all that it asks before it waits for any of it. A call by requests or urllib3 waits
    for its answer, and takes 0.7 or 0.4 ms of CPU more. Of what is sent together the second is never measured as faster
    than the first, which is waited for first.
    """

    def __init__(self, base_url: str, site: str, connect_seconds: float = 1.0, read_seconds: float = 12.0) -> None:
        super().__init__()
        parts = urlsplit(base_url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = partial(kind, parts.hostname or "", parts.port, timeout=connect_seconds)
        self._site, self._prefix, self._read_seconds = site, parts.path.rstrip("/"), read_seconds
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._pages = Shared()

    def topics_page(self, sort: Sort, cursor: str | None, guest: bool) -> TopicsQuestion:
        ask = partial(self.topics, sort, cursor)
        return lambda: (partial(_given, _outcome(ask)) if guest else ask,)

    def topic_page(self, topic_id: int, peek: bool, cursor: str | None, last: bool, guest: bool) -> TopicQuestion:
        ask_messages = self.reads(*messages_at(topic_id, cursor, last))
        ask_topic = self.reads(*topic_at(topic_id, peek))
        name = f"{topic_id} {peek} {cursor} {last}"

        def both(others: int, kept: Told[tuple[Outcome[Topic], Outcome[Page[Message]]]] | None) -> Told[Any]:
            known_topic, known_messages = kept.value if kept else (None, None)
            asked = ask_topic(others, _told(known_topic)), ask_messages(others, _told(known_messages))
            parts = _outcome(asked[0]), _outcome(asked[1])
            told = [part for part in parts if isinstance(part, Told)]
            same = len(told) == len(parts) and all(part.etag for part in told)
            return Told(parts, " ".join(part.etag for part in told) if same else "", all(part.short for part in told))

        def shared() -> tuple[Callable[..., Answer[Topic]], Callable[[], Answer[Page[Message]]]]:
            """Together: who waits for a page waits once."""
            found = self._pages.read(name, both)
            return partial(_given, _answer(found[0])), partial(_given, _answer(found[1]))

        def alone() -> tuple[Callable[..., Answer[Topic]], Callable[[], Answer[Page[Message]]]]:
            asked = ask_messages(0, None)
            return partial(self.topic, topic_id, peek), lambda: asked().value

        return shared if guest else alone

    def send(self, module: Module, request: Request) -> Sent:
        method, target, headers, body = request
        began, until = time.perf_counter(), time.monotonic() + self._read_seconds
        connection, failed = self._free(), None
        if (trace := traceparent()) is not None:
            headers = {**headers, "traceparent": trace}
        try:
            connection.request(method, self._prefix + target, body, headers)
        except FAILURES as error:
            failed = error

        def reply() -> Reply:
            with called(self._site, module, "call", began) as call:
                try:
                    if failed:
                        raise failed
                    connection.sock.settimeout(max(until - time.monotonic(), 0.01))
                    answer = connection.getresponse()
                    content = answer.read()
                except FAILURES as error:
                    connection.close()
                    raise Away(module) from error
                call.status = answer.status
            self._idle.append(connection)
            return Reply(answer.status, answer.headers, content)

        return reply

    def _free(self) -> http.client.HTTPConnection:
        """The one that was used last, if its other end has not closed it."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.sock is not None and not wait_for_read(connection.sock, timeout=0):
                return connection
            connection.close()
        return self._connection()


def _told(part: Outcome[Value] | None) -> Told[Answer[Value]] | None:
    return part if isinstance(part, Told) else None


def _outcome(asked: Callable[[], Got]) -> Got | PortError:
    try:
        return asked()
    except PortError as error:
        return error


def _answer(part: Outcome[Value]) -> Answer[Value] | PortError:
    return part.value if isinstance(part, Told) else part


def _given(found: Answer[Value] | PortError, token: str = "") -> Answer[Value]:  # noqa: ARG001
    if isinstance(found, PortError):
        raise found
    return found
