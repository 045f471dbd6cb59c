"""The topics service: what is talked about, how much, and since when.

gunicorn -c python:strangler.gunicorn 'services.topics.app:create_app()'
"""

from __future__ import annotations

from flask import Flask

from forum.application import base_app, boots, provide, redis_of
from forum.database import Database
from forum.remote import Remote
from forum.settings import TopicsSettings, load
from forum.tokens import PublishedKeys
from forum.viewcounts import ViewCounts
from services.topics import views


@boots
def create_app(settings: TopicsSettings | None = None) -> Flask:
    settings = settings or load(TopicsSettings)
    keys = PublishedKeys(settings.forum_api_url)
    app = base_app("topics", settings, keys=keys, database=Database.of(settings, "topics"))
    redis = redis_of(app)
    provide(app, Remote(settings.forum_api_url, redis), ViewCounts(redis))
    app.register_blueprint(views.blueprint)
    return app
