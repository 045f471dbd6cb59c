"""The pages at both places where they are served: in the monolith, and by services/web before the monolith's API."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
import requests

from local.databases import APPLICATION, prepare
from local.postgres import Cluster
from tests.contract.client import PASSWORD, new_name
from tests.contract.conftest import ROOT, Forum, monolith
from tests.pages.browser import Browser
from tests.pages.gateway import Gateway
from tests.servers import RedisServer, free_port, wait_for


@dataclass
class Site:
    """`database`: of the monolith behind it."""

    name: str
    url: str
    forum: Forum
    database: str
    gateway: Gateway


@dataclass
class Both:
    monolith: Site
    web: Site


@pytest.fixture(scope="session")
def both(cluster: Cluster, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    name, directory = f"pages_{uuid4().hex[:12]}", tmp_path_factory.mktemp("pages")
    prepare(cluster, name, cluster.password)
    database = cluster.dsn(name, user=APPLICATION)
    elsewhere = Gateway("http://127.0.0.1:9")
    os.environ["MESSAGES_URL"] = elsewhere.url  # only asked once messages has been given away
    redis = redis_server.another_url()
    with monolith(database, redis, directory) as forum, (directory / "pages.log").open("wb") as log:
        gateway = Gateway(forum.url)
        address = f"127.0.0.1:{free_port()}"
        environment = {
            **os.environ, "REDIS_URL": redis, "FORUM_API_URL": gateway.url, "BIND": address,
            "STRANGLER_SECRET": "a secret that only tests know", "SECRET_KEY": "another secret that only tests know",
            "DRAIN_SECONDS": "0", "INSTANCE": "web-1",
        }  # fmt: skip
        words = [sys.executable, "-m", "gunicorn", "-c", "python:strangler.gunicorn", "services.web.app:create_app()"]
        process = subprocess.Popen(words, env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: _ready(f"http://{address}"), f"services/web to be ready; see {directory}")
            yield Both(
                Site("monolith", forum.url, forum, database, elsewhere),
                Site("web", f"http://{address}", forum, database, gateway),
            )
        finally:
            process.terminate()
            process.wait(20)
            gateway.close()
            elsewhere.close()


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


@pytest.fixture(params=["monolith", "web"])
def site(request: pytest.FixtureRequest, both: Both) -> Site:
    chosen: Site = getattr(both, request.param)
    return chosen


@pytest.fixture
def web(both: Both) -> Iterator[Site]:
    both.web.gateway.calls.clear()
    yield both.web
    both.web.gateway.away.clear()


@pytest.fixture
def guest(site: Site) -> Browser:
    return Browser(site.url)


@pytest.fixture
def member(site: Site) -> Browser:
    return registered(site)


@pytest.fixture
def moderator(site: Site) -> Browser:
    browser = Browser(site.url)
    browser.log_in(*site.forum.moderator)
    return browser


def registered(site: Site) -> Browser:
    """Somebody new, logged in."""
    browser, name = Browser(site.url), new_name()
    page = browser.get("/register")
    page = browser.submit(page, "Register", username=name, email=f"{name}@example.org", password=PASSWORD)
    assert f"Welcome, {name}!" in page.text
    return browser
