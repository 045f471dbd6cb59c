"""The port over HTTP, with a deadline for each call."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import urllib3
from flask import current_app

from forum.pages.api import ApiPort, Reads, Reply, Request, messages_at, topic_at
from forum.pages.port import Answer, Away, Module, PortError
from forum.pages.shared import Shared, Told
from forum.schemas import Message, Page, Topic
from strangler.measured import called

Value = TypeVar("Value")
P = ParamSpec("P")
Outcome = Told[Answer[Value]] | PortError

CONNECTIONS, OTHERS = 64, 32
"""Kept open; and how many calls at a time are made beside others."""
FAILURES = urllib3.exceptions.HTTPError, ValueError
"""ValueError: what a visitor has in a cookie may be no value of a header."""


class HttpPort(ApiPort):
    """Asks `base_url`.

    read_seconds: longer than a site waits for an owner that is just changing, so that it can answer for itself.
    """

    def __init__(self, base_url: str, connect_seconds: float = 1.0, read_seconds: float = 12.0) -> None:
        super().__init__()
        timeout = urllib3.Timeout(connect=connect_seconds, read=read_seconds)
        self._prefix = urlsplit(base_url).path.rstrip("/")
        self._site = urllib3.connection_from_url(base_url, maxsize=CONNECTIONS, timeout=timeout, retries=False)
        self._others = ThreadPoolExecutor(OTHERS, "port")
        self._pages = Shared()

    def topic_page(
        self, topic_id: int, peek: bool, cursor: str | None, last: bool, guest: bool
    ) -> tuple[Callable[..., Answer[Topic]], Callable[[], Answer[Page[Message]]]]:
        if not guest:
            return partial(self.topic, topic_id, peek), self._beside(self.messages, topic_id, cursor, last).result
        topic = self.reads(*topic_at(topic_id, peek))
        messages = self.reads(*messages_at(topic_id, cursor, last))

        def both(others: int, kept: Told[tuple[Outcome[Topic], Outcome[Page[Message]]]] | None) -> Told[Any]:
            known_topic, known_messages = kept.value if kept else (None, None)
            begun = self._beside(_outcome, messages, others, known_messages)
            parts = _outcome(topic, others, known_topic), begun.result()
            told = [part for part in parts if isinstance(part, Told)]
            same = len(told) == len(parts) and all(part.etag for part in told)
            return Told(parts, " ".join(part.etag for part in told) if same else "", all(part.short for part in told))

        # Together: who waits for a page waits once, and nothing is begun beside for who only waits.
        found = self._pages.read(f"{topic_id} {peek} {cursor} {last}", both)
        return partial(_given, found[0]), partial(_given, found[1])

    def _beside(self, call: Callable[P, Value], *args: P.args, **kwargs: P.kwargs) -> Future[Value]:
        return self._others.submit(copy_context().run, partial(call, *args, **kwargs))

    def exchange(self, module: Module, request: Request) -> Reply:
        method, target, headers, body = request
        with called(current_app.extensions["strangler"].site, module, "call") as call:
            try:
                # Not requests, which takes 0.3 ms of CPU more for each: pages make two calls, and wait for them.
                answer = self._site.urlopen(method, self._prefix + target, body, headers, redirect=False)
            except FAILURES as error:
                raise Away(module) from error
            call.status = answer.status
        return Reply(answer.status, answer.headers, answer.data)


def _outcome(call: Reads[Value], others: int, kept: Outcome[Value] | None) -> Outcome[Value]:
    try:
        return call(others, kept if isinstance(kept, Told) else None)
    except PortError as error:
        return error


def _given(part: Outcome[Value], token: str = "") -> Answer[Value]:  # noqa: ARG001
    if isinstance(part, PortError):
        raise part
    return part.value
