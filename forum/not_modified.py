"""304 before Flask: who asks whether what they have still holds is told so after one look at the owner.

services/web asks so for each part of each page. As long as a module's ETag is the same so is all that it answers to
reads (`forum.views.found`): nothing has to be read, parsed or made, and all that Flask does around a view would cost
more than the look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import psycopg
from flask import Flask
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException
from werkzeug.wsgi import ClosingIterator

from forum import metrics
from forum.database import Database, Reading
from strangler.flask import Strangler
from strangler.forward import HEADER as FORWARDED

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

View = TypeVar("View")
Opened = Callable[..., None]
"""Told the application, the query, and the path's values by their names. Raises ValidationError."""

ROUTES = 1024
"""How many paths are kept with what they lead to: to find that takes as long as all else here but the look."""
ANOTHERS = {"HTTP_AUTHORIZATION", "HTTP_TRANSFER_ENCODING", f"HTTP_{FORWARDED.upper().replace('-', '_')}"}
"""Headers of requests that are no guest's plain read."""


def opens(opened: Opened) -> Callable[[View], View]:
    """For a view that does something besides: this is done instead when its answer is unchanged, and it is not run."""

    def mark(view: View) -> View:
        view.opened = opened  # type: ignore[attr-defined]
        return view

    return mark


class Given(NamedTuple):
    """An ETag, as it was given to guests. state: what the look had seen. until: by time.time()."""

    tag: str
    state: str
    until: float


class NotModified:
    """The ETags that an application gave last, one for each module. Used by all threads at once."""

    def __init__(self, app: Flask, kit: Strangler, database: Database) -> None:
        self._app, self._kit, self._database = app, kit, database
        self._given: dict[str, Given] = {}
        self._route = lru_cache(ROUTES)(self._find)

    def gave(self, module: str, tag: str, state: str, until: float = inf) -> None:
        self._given[module] = Given(tag, state, until)

    def still(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes] | None:
        """The answer, if it is a 304."""
        tag, began = environ.get("HTTP_IF_NONE_MATCH"), time.perf_counter()
        if not tag or environ["REQUEST_METHOD"] != "GET" or not ANOTHERS.isdisjoint(environ):
            return None
        if environ.get("CONTENT_LENGTH", "0") not in ("", "0"):
            return None
        module = self._kit.module_of(environ["PATH_INFO"])
        given = self._given.get(module or "")
        if module is None or given is None or given.tag != tag or given.until <= time.time():
            return None
        try:
            template, opened, values = self._route(environ["SCRIPT_NAME"], environ["PATH_INFO"])
            if not self._holds(module, given):
                return None
            if opened:
                asked = parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)
                opened(self._app, dict(reversed(asked)), **values)
        except (HTTPException, ValidationError, psycopg.Error, SQLAlchemyError):
            return None  # the view will meet it, too, and can say what it is
        signed = [("ETag", tag), ("Vary", "Authorization"), ("X-Served-By", self._kit.signature)]
        start_response("304 NOT MODIFIED", signed)
        return ClosingIterator((), partial(self._count, module, template, began))

    def _count(self, module: str, template: str, began: float) -> None:
        """Once it has been answered: nobody waits for that."""
        taken = time.perf_counter() - began
        metrics.answered(self._kit.site, "GET", template, 304, taken)
        self._kit.answered(module, 304, taken)

    def _find(self, root: str, path: str) -> tuple[str, Opened | None, Mapping[str, Any]]:
        """The route's template, what is done for its view, and the path's values. Raises HTTPException."""
        rule, values = self._app.url_map.bind("", script_name=root).match(path, "GET", return_rule=True)
        return rule.rule, getattr(self._app.view_functions[rule.endpoint], "opened", None), values

    def _holds(self, module: str, given: Given) -> bool:
        """An owner, in the state in which it gave that: by the request's one look."""
        reading = Reading(self._database.engine)
        try:
            return module in self._kit.owned(reading) and reading.state == given.state
        finally:
            reading.close()
