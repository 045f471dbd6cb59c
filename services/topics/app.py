"""The topics service: what is talked about, how much, and since when.

gunicorn -c python:strangler.gunicorn 'services.topics.app:create_app()'
"""

from __future__ import annotations

from flask import Flask

from forum.application import base_app, boots, provide
from forum.database import Database
from forum.redis_client import connect
from forum.remote import Remote
from forum.settings import StoreSettings, load
from forum.tokens import PublishedKeys
from services.topics import views


@boots
def create_app(settings: StoreSettings | None = None) -> Flask:
    settings = settings or load(StoreSettings)
    keys = PublishedKeys(settings.forum_api_url)
    app = base_app("topics", settings, keys=keys, database=Database.of(settings, "topics"))
    provide(app, Remote(settings.forum_api_url, connect(settings.redis_url, timeout=0.25)))
    app.register_blueprint(views.blueprint)
    return app
