"""What tests of several folders need: a cluster and a Redis for the session (for each xdist worker its own)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forum.logs import JsonFormatter
from local.postgres import Cluster
from tests import servers

os.environ["LOADTEST_RUN_PATIENCE"] = "60"
"""Seconds, for every load: an answer that is slow on a busy machine breaks no promise; what hangs does."""

LONGEST = (
    "local/test_demo.py",
    "kit/test_kills_create.py",
    "kit/test_kills.py",
    "local/test_stack.py",
    "foreign/test_docs.py",
)
"""Those with stacks of their own by turns with those without."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that nobody waits for the last of them alone."""
    tests = Path(__file__).parent
    places = {tests / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True)
def quiet_logging() -> Iterator[None]:
    """What an application or a command sets up in the test's own process would write to a stream that is closed."""
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, JsonFormatter):
            root.removeHandler(handler)
            root.setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with servers.running_cluster() as started:
        yield started


@pytest.fixture(scope="session")
def new_database(cluster: Cluster) -> Callable[[], str]:
    """Makes an empty database owned by the role `forum`; answers its URL for that role."""
    return lambda: servers.new_database(cluster)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.RedisServer]:
    """The session's Redis. A test that stops it must start it again."""
    server = servers.RedisServer(tmp_path_factory.mktemp("redis"), servers.free_port())
    server.start()
    yield server
    server.stop()
