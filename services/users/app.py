"""The users service: accounts, sessions, and the keys that tokens are verified with.

gunicorn -c python:strangler.gunicorn 'services.users.app:create_app()'
"""

from __future__ import annotations

from flask import Flask

from forum.application import base_app, boots, provide, redis_of
from forum.database import Database
from forum.passwords import Passwords
from forum.settings import IssuerSettings, StoreSettings, load
from forum.throttle import Throttle
from forum.tokens import Issuer
from services.users import sessions, views


class Settings(StoreSettings, IssuerSettings):
    """The environment of the users service."""


@boots
def create_app(settings: Settings | None = None) -> Flask:
    settings = settings or load(Settings)
    issuer = Issuer(settings.token_private_key.get_secret_value(), settings.access_seconds)
    app = base_app("users", settings, keys=issuer, database=Database.of(settings, "users"))
    provide(app, issuer, Passwords.of(settings), Throttle(redis_of(app), settings))
    app.register_blueprint(views.blueprint)
    app.register_blueprint(sessions.blueprint)
    return app
