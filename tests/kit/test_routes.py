"""What Traefik reads of the routes while they are changed: those before or those after, never some of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, permutations
from pathlib import Path

import pytest
from redis import Redis

from strangler import routes
from strangler.config import Config, load
from strangler.stages import Journey
from tests.servers import RedisServer

CHECKOUT = Path(__file__).resolve().parents[2]
SITES = ("monolith", "users", "topics", "messages", "web")
OTHERS = 300
"""Keys of somebody else's in the same store, so that a reader has to ask many times for all the names."""


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    for number, site in enumerate(SITES, 1):
        monkeypatch.setenv(f"{site.upper()}_URL", f"http://127.0.0.1:{number}")
        monkeypatch.setenv(f"{site.upper()}_SERVERS", f"http://{site}:8000")
    return load(CHECKOUT / "strangler.toml")


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(redis_server.another_url()) as client:
        client.mset({f"author:{number}": "somebody" for number in range(OTHERS)})
        yield client
        client.flushdb()


def at_stage(config: Config, name: str) -> dict[str, str]:
    stage = config.stage(name)
    return Journey(config, stage, print)._keys(stage.moved, arrived=True)


def read(store: Redis, step: int, meanwhile: Callable[[], None]) -> tuple[dict[str, str], bool]:
    """As Traefik does it (kvtools/redis: SCAN with COUNT 10, then MGET, and what is empty is not there), with something
    done after so many steps; and whether there were that many.
    """
    names: list[bytes] = []
    cursor = 0
    for number in count():
        if number == step:
            meanwhile()
        cursor, some = store.scan(cursor, "traefik/*", 10)
        names += some
        if cursor == 0:
            break
    found = {name.decode(): (value or b"").decode() for name, value in zip(names, store.mget(names), strict=True)}
    return {name: value for name, value in found.items() if value}, number >= step


def led_to_nobody(found: dict[str, str]) -> set[str]:
    """Services that something leads to, and that are not there."""
    services = {key.split("/")[3] for key in found if key.startswith("traefik/http/services/")}
    leads = ("/service", "/fallback")
    return {value for key, value in found.items() if key.endswith(leads)} - services


@pytest.mark.parametrize(("before", "after"), list(permutations("12345", 2)))
def test_routes_change_all_at_once(config: Config, store: Redis, before: str, after: str) -> None:
    old, new, names = at_stage(config, before), at_stage(config, after), routes.names(config)
    assert {*old, *new} <= names
    for step in count():
        routes.publish(store, old, names=names)
        found, there = read(store, step, lambda: routes.publish(store, new, names=names))
        if not there:
            assert step > OTHERS / 20
            break
        assert found in (old, new), f"step {step}"
    assert routes.stored(store) == old
    assert routes.outdated(store, old) == ({}, set())


def test_control_names_that_are_made_when_they_are_needed_are_found_in_part(config: Config, store: Redis) -> None:
    old, new = at_stage(config, "3"), at_stage(config, "4")
    broken = set[str]()
    for step in count():
        store.delete(*store.scan_iter("traefik/*"), "nothing")
        routes.publish(store, old)
        found, there = read(store, step, lambda: routes.publish(store, new))
        if not there:
            break
        broken |= led_to_nobody(found)
    assert broken >= {"default"}


def test_a_place_without_some_sites_knows_the_names_of_the_others(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = routes.names(config)
    for name in ("URL", "SERVERS"):
        monkeypatch.delenv(f"WEB_{name}")
        monkeypatch.delenv(f"MESSAGES_{name}")
    some = routes.names(config)
    assert at_stage(config, "3").keys() <= some < everything
    assert not [key for key in some if "/web/" in key]
