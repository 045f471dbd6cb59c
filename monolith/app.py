"""The monolith: users, topics, messages and the pages in one application on one database.

gunicorn -c python:strangler.gunicorn 'monolith.app:create_app()'
"""

from __future__ import annotations

from flask import Flask

from forum import pages
from forum.application import base_app, boots, provide, redis_of
from forum.database import Database
from forum.passwords import Passwords
from forum.remote import Remote
from forum.settings import IssuerSettings, PagesSettings, StoreSettings, load
from forum.throttle import Throttle
from forum.tokens import Issuer
from forum.viewcounts import ViewCounts
from monolith import messages, sessions, topics, users
from monolith.port import InProcess


class Settings(StoreSettings, IssuerSettings, PagesSettings):
    """The environment of the monolith."""


@boots
def create_app(settings: Settings | None = None) -> Flask:
    settings = settings or load(Settings)
    issuer = Issuer(settings.token_private_key.get_secret_value(), settings.access_seconds)
    app = base_app("monolith", settings, keys=issuer, database=Database.of(settings, "monolith"))
    redis = redis_of(app)
    provide(app, issuer, Passwords.of(settings), Throttle(redis, settings))
    provide(app, Remote(settings.forum_api_url, redis), ViewCounts(redis))
    for module in (users, sessions, topics, messages):
        app.register_blueprint(module.blueprint)
    pages.init_app(app, InProcess(app, issuer), settings.secret_key.get_secret_value())
    return app
