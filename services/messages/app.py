"""The messages service: what people said.

gunicorn -c python:strangler.gunicorn 'services.messages.app:create_app()'
"""

from __future__ import annotations

from flask import Flask

from forum.application import base_app, boots, provide, redis_of
from forum.database import Database
from forum.remote import Remote
from forum.settings import StoreSettings, load
from forum.tokens import PublishedKeys
from services.messages import views


@boots
def create_app(settings: StoreSettings | None = None) -> Flask:
    settings = settings or load(StoreSettings)
    keys = PublishedKeys(settings.forum_api_url)
    app = base_app("messages", settings, keys=keys, database=Database.of(settings, "messages"))
    provide(app, Remote(settings.forum_api_url, redis_of(app)))
    app.register_blueprint(views.blueprint)
    return app
