"""The pages' port, answered in process.

What pages show most, lists and topics, is read where it is, by the functions that the API's views answer with, after
one look for all of a page at who owns the modules. Everything else, and whatever is not plainly here to be read, goes
through WSGI as a real request to the real application, without a socket: so the facade hands it over when the module is
elsewhere or a write meets the fence, refusals are made in one place, and a form that is sent again after its module has
moved finds the same Idempotency-Key with the same fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import Context
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_to_bytes

import psycopg
from flask import Flask, g
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.test import run_wsgi_app

from forum.application import database, resources
from forum.database import AnyConnection
from forum.pages.api import VIEWS, ApiPort, Reply, Request, Sent
from forum.pages.port import Answer, Module, Sort, TopicQuestion, TopicsQuestion
from forum.problems import Problem
from forum.schemas import PAGE, Message, MessagesQuery, Page, Topic, TopicsQuery
from forum.tokens import InvalidTokenError, Issuer, verify
from forum.tracing import traceparent
from monolith.messages import MESSAGES
from monolith.topics import TOPICS

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Value = TypeVar("Value")

HOST = "monolith.invalid"
"""The name of ourselves: it must look like one, and reach nobody."""


def _environ(request: Request) -> WSGIEnvironment:
    path, _, query = request.target.partition("?")
    body = request.body or b""
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),  # PEP 3333
        "QUERY_STRING": query,
        "SERVER_NAME": HOST,
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": HOST,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        if key != "CONTENT_LENGTH":
            environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    return environ


class InProcess(ApiPort):
    """The port of the pages of `app`, answered by `app`."""

    def __init__(self, app: Flask, keys: Issuer) -> None:
        super().__init__()
        self._app, self._keys = app, keys

    def topics(self, sort: Sort, cursor: str | None, token: str = "") -> Answer[Page[Topic]]:
        def read(connection: AnyConnection) -> Page[Topic]:
            return TOPICS.listed(connection, TopicsQuery(sort=sort, cursor=cursor, limit=PAGE), self._user_id(token))

        breaker = VIEWS if sort == "views" else "topics"
        return self._here("topics", read, breaker) or super().topics(sort, cursor, token)

    def topic(self, topic_id: int, peek: bool = False, token: str = "") -> Answer[Topic]:
        def read(connection: AnyConnection) -> Topic:
            return TOPICS.one(connection, topic_id, self._user_id(token), 0 if peek else 1)

        return self._here("topics", read) or super().topic(topic_id, peek, token)

    def messages(self, topic_id: int, cursor: str | None, last: bool = False) -> Answer[Page[Message]]:
        def read(connection: AnyConnection) -> Page[Message]:
            return MESSAGES.listed(connection, MessagesQuery(topic_id=topic_id, cursor=cursor, limit=PAGE, last=last))

        return self._here("messages", read) or super().messages(topic_id, cursor, last)

    def topics_page(
        self,
        sort: Sort,
        cursor: str | None,
        guest: bool,  # noqa: ARG002
    ) -> TopicsQuestion:
        return lambda: (partial(self.topics, sort, cursor),)

    def topic_page(
        self,
        topic_id: int,
        peek: bool,
        cursor: str | None,
        last: bool,
        guest: bool,  # noqa: ARG002
    ) -> TopicQuestion:
        # Here nobody waits for anybody else.
        return lambda: (partial(self.topic, topic_id, peek), partial(self.messages, topic_id, cursor, last))

    def _user_id(self, token: str) -> int | None:
        return verify(token, self._keys).id if token else None

    def _here(self, module: Module, read: Callable[[AnyConnection], Value], breaker: str = "") -> Answer[Value] | None:
        """What `read` finds; None when that has to be asked for as a request.

        Because the module is elsewhere, did not answer lately, does not now, or refuses.
        """
        if self._breakers[breaker or module].current_state != "closed":
            return None
        kit, begins = resources().strangler, "reading" not in g
        try:
            connection = database().reading()
            if begins:  # a page looks once: it reads nothing older than that
                g.owned = kit.owned(connection)
            if module in g.owned:
                return Answer(read(connection), module, kit.signature)
        except (Problem, InvalidTokenError, ValidationError, SQLAlchemyError, psycopg.Error):
            pass
        database().give_back()
        return None

    def send(self, module: Module, request: Request) -> Sent:  # noqa: ARG002
        return partial(self._answer, request)

    def _answer(self, request: Request) -> Reply:
        database().give_back()  # a request needs a connection of its own, and may wait for another site
        # A context of its own, or Flask would take the page's application context for this request's: its `g`, and the
        # database session that is scoped to it.
        run: Callable[..., tuple[Iterable[bytes], str, Any]] = Context().run
        if (trace := traceparent()) is not None:
            request = request._replace(headers={**request.headers, "traceparent": trace})
        body, status, headers = run(run_wsgi_app, self._app, _environ(request), buffered=True)
        return Reply(int(status[:3]), headers, b"".join(body))
