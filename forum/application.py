"""The base of every application: `create_app()` of the monolith and of each service starts here.

@boots
def create_app(settings: Settings | None = None) -> Flask:
    settings = settings or load(Settings)
    app = base_app("topics", settings, keys=PublishedKeys(settings.forum_api_url), database=Database.of(settings))
    app.register_blueprint(views.blueprint)
    return app
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from flask import Flask, current_app
from redis import Redis
from sqlalchemy.orm import Session

from forum import logs, metrics, openapi, payload, problems, tracing
from forum.database import Database, Reading
from forum.events.metrics import Events
from forum.not_modified import NotModified
from forum.redis_client import connect
from forum.settings import Settings, SettingsError, give_up
from forum.tokens import Keys
from strangler.errors import StranglerError
from strangler.flask import Strangler

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


@dataclass(frozen=True)
class Resources:
    """What the views of an application work with."""

    settings: Any
    """The application's own kind of `forum.settings.Settings`."""
    redis: Redis
    strangler: Strangler
    database: Database | None
    not_modified: NotModified | None


class Application(Flask):
    """Its views and hooks are plain functions; Flask would look at each of them in every request."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        found: Resources = self.extensions["forum"]
        if found.not_modified and (answer := found.not_modified.still(environ, start_response)) is not None:
            return answer
        return super().wsgi_app(environ, start_response)


def base_app(site: str, settings: Settings, *, keys: Keys, database: Database | None = None) -> Flask:
    """An application named `site` with everything but its views. Connects to nothing yet."""
    logs.configure(settings.log_level, site)
    app = Application(f"{site}.app")
    strangler = Strangler()
    redis = connect(settings.redis_url, timeout=0.25)  # requests can do without Redis, so they don't wait for it long
    # What is traced or recorded goes all its way.
    not_modified = None
    if database is not None and not database.recorded and not tracing.on():
        not_modified = NotModified(app, strangler, database)
    app.extensions["forum"] = Resources(settings, redis, strangler, database, not_modified)
    app.extensions["forum.keys"] = keys
    payload.init_app(app)
    problems.init_app(app)
    metrics.init_app(app)
    openapi.init_app(app)
    if database is None:
        strangler.init_app(app, site=site)
    else:
        database.init_app(app)
        strangler.init_app(app, site=site, session=database.session, reading=database.reading)
        metrics.add(app, Events(site, database.engine, redis, strangler.modules))
    app.before_request_funcs[None].insert(0, payload.refuse_large)  # before the facade, which reads the body
    tracing.init_app(app, site)
    return app


def redis_of(app: Flask) -> Redis:
    """Its one client: who finds out that Redis is away does so for all of it."""
    found: Resources = app.extensions["forum"]
    return found.redis


P = ParamSpec("P")
Kind = TypeVar("Kind")


def boots(create_app: Callable[P, Flask]) -> Callable[P, Flask]:
    """An application that is configured wrongly ends its process with one line that names the variable."""

    @functools.wraps(create_app)
    def create(*args: P.args, **kwargs: P.kwargs) -> Flask:
        try:
            return create_app(*args, **kwargs)
        except (SettingsError, StranglerError) as error:
            give_up(error)

    return create


def provide(app: Flask, *parts: object) -> None:
    """Give the application's views something of their own to work with: `part(Issuer)` is the Issuer among `parts`."""
    for each in parts:
        app.extensions[f"forum.{type(each).__name__}"] = each


def part(kind: type[Kind], app: Flask | None = None) -> Kind:
    """app: outside of a request."""
    return cast(Kind, (app or current_app).extensions[f"forum.{kind.__name__}"])


def resources() -> Resources:
    return cast(Resources, current_app.extensions["forum"])


def db() -> Session:
    """The request's session. Of a request that writes its transaction began with the facade's look at the owner."""
    database().reading().close()  # nobody needs two connections
    return database().session()


def reading() -> Reading:
    """What the request reads by, if it does nothing else. The facade's look at the owner came first."""
    return database().reading()


def database() -> Database:
    found = resources().database
    if found is None:
        raise RuntimeError("this application has no database")
    return found


def owns(module: str) -> bool:
    """Whether this site owns `module`, as the request's transaction sees it."""
    return resources().strangler.owns(module)
