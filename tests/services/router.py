"""What a gateway does at stage 5: each path to the service that has it, in one process.

gunicorn 'tests.services.router:create_app()', with USERS_DATABASE_URL and so on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask
from pydantic import SecretStr

import services.messages.app
import services.topics.app
import services.users.app
import services.web.app
from forum.settings import PagesSettings, StoreSettings, TopicsSettings, load
from strangler.config import load as load_config

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Router:
    def __init__(self, apps: dict[str, Flask]) -> None:
        self._apps = apps
        self._config = load_config()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        module = self._config.module_of(environ["PATH_INFO"])
        return self._apps[module.name if module else "web"](environ, start_response)


def _database(site: str) -> dict[str, SecretStr]:
    return {"database_url": SecretStr(os.environ[f"{site.upper()}_DATABASE_URL"])}


def create_app() -> Router:
    users = load(services.users.app.Settings).model_copy(update=_database("users"))
    topics = load(TopicsSettings).model_copy(update=_database("topics"))
    messages = load(StoreSettings).model_copy(update=_database("messages"))
    return Router(
        {
            "users": services.users.app.create_app(users),
            "topics": services.topics.app.create_app(topics),
            "messages": services.messages.app.create_app(messages),
            "web": services.web.app.create_app(load(PagesSettings)),
        }
    )
