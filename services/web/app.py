"""The pages as a service of their own: no database, everything over HTTP from FORUM_API_URL.

gunicorn -c python:strangler.gunicorn 'services.web.app:create_app()'
"""

from __future__ import annotations

from flask import Flask

from forum import pages, tracing
from forum.application import base_app, boots
from forum.pages import guests
from forum.pages.http import HttpPort
from forum.settings import PagesSettings, load
from forum.tokens import PublishedKeys


@boots
def create_app(settings: PagesSettings | None = None) -> Flask:
    settings = settings or load(PagesSettings)
    app = base_app("web", settings, keys=PublishedKeys(settings.forum_api_url))
    port = HttpPort(settings.forum_api_url, site="web")
    pages.init_app(app, port, settings.secret_key.get_secret_value())
    if not tracing.on():  # what is traced goes all its way
        guests.init_app(app)
    return app
