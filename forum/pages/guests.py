"""A guest's page before Flask: while all that it was made of is as it was, so is the page.

What it shows is asked for in any case. But what Flask and its hooks do around a page would take longer than to ask: it
is there for visitors, forms and refusals, and is left to those.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from flask import Flask, Response, current_app, g, request
from werkzeug.wsgi import ClosingIterator

from forum import metrics
from forum.pages.fragments import PAGES
from forum.pages.port import PortError, Question

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Asked = TypeVar("Asked")

ASKED = "forum.asked"
"""In a request's environ: the parts of its page, which have been asked for already."""
SOMEBODYS = {"HTTP_COOKIE", "HTTP_TRANSFER_ENCODING"}
"""Headers of requests that are no guest's plain read."""


class _Page(NamedTuple):
    """until: by time.monotonic(). rule: the route's template."""

    question: Question
    given: tuple[object, ...]
    until: float
    rule: str
    headers: list[tuple[str, str]]
    body: bytes


class Guests:
    """The pages that guests were shown last, by their addresses. Used by all threads at once."""

    def __init__(self, app: Flask) -> None:
        self._flask: WSGIApplication = app.wsgi_app
        self._kit = app.extensions["strangler"]
        self._pages: dict[tuple[str, ...], _Page] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Application, as WSGI has it."""
        began, page = time.perf_counter(), None
        if environ["REQUEST_METHOD"] == "GET" and SOMEBODYS.isdisjoint(environ) and not environ.get("CONTENT_LENGTH"):
            page = self._same(environ)
        if page is None:
            return self._flask(environ, start_response)
        start_response("200 OK", [*page.headers])
        return ClosingIterator((page.body,), partial(self._count, page, began))

    def _same(self, environ: WSGIEnvironment) -> _Page | None:
        """The page of this address, if all that it was made of is as it was."""
        page = self._pages.get(_address(environ))
        if page is None or page.until <= time.monotonic():
            return None
        parts = page.question()
        try:
            same = all(part().value is given for part, given in zip(parts, page.given, strict=True))
        except PortError:
            same = False  # the view will meet it, too, and can say what it is
        if not same:
            environ[ASKED] = parts
        return page if same else None

    def _count(self, page: _Page, began: float) -> None:
        taken = time.perf_counter() - began
        metrics.answered(self._kit.site, "GET", page.rule, 200, taken)
        self._kit.answered("", 200, taken)

    def shown(self, environ: WSGIEnvironment, page: Callable[..., _Page], response: Response) -> None:
        """The answer is on its way, with all that belongs to it."""
        if "Set-Cookie" in response.headers:
            return
        if len(self._pages) >= PAGES:
            self._pages.clear()
        self._pages[_address(environ)] = page(headers=response.headers.to_wsgi_list(), body=response.get_data())


def _address(environ: WSGIEnvironment) -> tuple[str, ...]:
    return environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]


def init_app(app: Flask) -> None:
    """For an application whose port can be asked outside of its requests."""
    app.wsgi_app = app.extensions["forum.guests"] = Guests(app)  # type: ignore[method-assign]


def asked(question: Callable[[], Asked]) -> Asked:
    """What a Question gives; asked only once for each request."""
    g.question = question
    parts: Asked | None = request.environ.pop(ASKED, None)
    return question() if parts is None else parts


def keep(response: Response, given: tuple[object, ...], until: float) -> None:
    """The answer to this request is made of `given` and its address, until then (fragments.until)."""
    guests: Guests | None = current_app.extensions.get("forum.guests")
    if guests is None or response.status_code != 200 or None in given or request.cookies or request.method != "GET":
        return
    page = partial(_Page, g.question, given, until, str(request.url_rule))
    response.call_on_close(partial(guests.shown, request.environ, page, response))
