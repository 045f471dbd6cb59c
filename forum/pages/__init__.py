"""The forum's pages: one package for the monolith (answered in process) and for services/web (answered over HTTP).

    pages.init_app(app, port, secret_key)

They work without JavaScript, ask each module at most once to show something, and say, when that is turned on, who
served which part. When a module is away its part says so and the rest stays.
"""

from __future__ import annotations

from flask import Flask, Request, Response, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.exceptions import HTTPException

from forum import problems
from forum.pages import accounts, blueprint, docs, filters, fragments, messages, searching, strip, topics, views
from forum.pages.port import ForumPort

__all__ = ["init_app"]

NOT_PAGES = ("/api/", "/.well-known/", "/metrics", "/livez", "/readyz", "/openapi.json")
POLICY = "; ".join(
    (
        "default-src 'none'", "style-src 'self'", "script-src 'self'", "connect-src 'self'", "img-src 'self'",
        "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
    )
)  # fmt: skip
VIEWS = (topics, messages, searching, accounts, strip, docs)
"""The modules that add their views to the blueprint, by being imported."""


class _Sessions(SecureCookieSessionInterface):
    """Most requests bring no session, and are given an empty one without preparing to verify it."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)


def init_app(app: Flask, port: ForumPort, secret_key: str) -> None:
    """Add the pages to `app`. `secret_key`: the same wherever the pages are served, or forms would stop working."""
    app.secret_key = secret_key
    app.config.update(
        SESSION_COOKIE_NAME="forum_session",
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_CHECK_DEFAULT=False,  # the API beside us takes tokens from headers, which no other site can send
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session: a long post may take an afternoon
    )
    app.session_interface = _Sessions()
    app.extensions["forum.pages"] = port
    filters.init_app(app)
    fragments.init_app(app)
    blueprint.init_app(app)
    app.register_error_handler(404, _outside)
    app.register_error_handler(405, _outside)
    app.after_request(_guard)


def _outside(error: HTTPException) -> Response:
    """A page for what no view serves, but not for the machines among the visitors."""
    if request.path.startswith(NOT_PAGES):
        return problems.response(error)
    return views.error_page(error)


def _guard(response: Response) -> Response:
    """What every page tells the browser about itself."""
    if response.mimetype == "text/html":
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "private, no-cache"
        response.headers["Vary"] = "Cookie"
    return response
