"""Version 2 of the topics service says one thing more, which clients may ignore; version 1 leaves it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis

from forum.pages.api import TOPIC, TOPICS
from forum.settings import TopicsSettings, read
from services.topics.app import create_app
from tests.contract.test_topics import FIELDS
from tests.servers import RedisServer
from tests.services.conftest import Place

SECRET = "a secret that only tests know"


@pytest.fixture
def topics(
    place: Callable[[str], Place], redis: Redis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[[bool], Any]:
    """The list of topics as a version shows it: first one that was edited, then one that wasn't."""
    redis.ping()
    monkeypatch.setenv("STRANGLER_SECRET", SECRET)
    one = place("topics")
    one.topic()
    one.query("UPDATE topics SET title = 'Better', updated_at = clock_timestamp() WHERE id = %s", (one.topic(),))

    def listed(show_edited: bool) -> Any:
        settings = TopicsSettings(
            forum_api_url="http://127.0.0.1:1", redis_url=redis_server.url, database_url=SecretStr(one.url),
            strangler_secret=SecretStr(SECRET), show_edited=show_edited,
        )  # fmt: skip
        answer = create_app(settings).test_client().get("/api/topics?sort=newest")
        assert TOPICS.validate_json(answer.data).items, "the pages cannot read it"
        return answer.get_json()["items"]

    return listed


def test_version_1_says_what_it_always_said(topics: Callable[[bool], Any]) -> None:
    assert [topic.keys() for topic in topics(False)] == [FIELDS, FIELDS]


def test_version_2_says_what_was_edited(topics: Callable[[bool], Any]) -> None:
    found = topics(True)
    assert [topic.keys() for topic in found] == [FIELDS | {"edited"}] * 2
    assert [topic["edited"] for topic in found] == [True, False]
    TOPIC.validate_python({**found[0], "what version 3 says": 1})


def test_one_variable_makes_version_2(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORUM_API_URL", "REDIS_URL", "DATABASE_URL"):
        monkeypatch.setenv(name, "http://x" if name == "FORUM_API_URL" else "redis://x")
    monkeypatch.setenv("STRANGLER_SECRET", SECRET)
    monkeypatch.delenv("SHOW_EDITED", raising=False)
    assert not read(TopicsSettings).show_edited
    monkeypatch.setenv("SHOW_EDITED", "true")
    assert read(TopicsSettings).show_edited
