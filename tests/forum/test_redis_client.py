"""Redis is away: who asks is told so soon, and one in a while finds out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis import ConnectionError as RedisConnectionError
from redis import Redis
from redis.connection import Connection

from forum import redis_client
from tests.servers import RedisServer, free_port


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """Every connection that is tried."""
    found: list[Connection] = []
    real = Connection._connect

    def connect(self: Connection) -> object:
        found.append(self)
        return real(self)

    monkeypatch.setattr(Connection, "_connect", connect)
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many seconds pass."""
    now = [1000.0]
    monkeypatch.setattr(redis_client.time, "monotonic", lambda: now[0])

    def let(seconds: float) -> None:
        now[0] += seconds

    return let


def test_one_in_a_while_finds_out(attempts: list[Connection], clock: Callable[[float], None]) -> None:
    redis = redis_client.connect(f"redis://127.0.0.1:{free_port()}/0")

    def ask() -> int:
        before = len(attempts)
        for _ in range(5):
            with pytest.raises(RedisConnectionError, match="refused"):
                redis.ping()
        return len(attempts) - before

    assert ask() == 1
    assert ask() == 0
    clock(redis_client.PAUSE)
    assert ask() == 1


def test_redis_that_is_back_is_used(
    redis_server: RedisServer, attempts: list[Connection], clock: Callable[[float], None]
) -> None:
    redis: Redis = redis_client.connect(redis_server.url)
    kwargs = redis.connection_pool.connection_kwargs
    port, kwargs["port"] = kwargs["port"], free_port()
    with pytest.raises(RedisConnectionError):
        redis.ping()
    kwargs["port"] = port
    redis.connection_pool.reset()
    with pytest.raises(RedisConnectionError):
        redis.ping()
    clock(redis_client.PAUSE)
    for _ in range(3):
        assert redis.ping()
    assert len(attempts) == 2  # the first was refused


def test_a_connection_that_redis_closed_is_replaced(redis_server: RedisServer) -> None:
    redis = redis_client.connect(redis_server.url)
    other = redis_client.connect(redis_server.url)
    for _ in range(3):
        assert redis.ping()
        assert other.client_kill_filter(_type="normal", skipme=True) >= 1
    assert redis.ping()
