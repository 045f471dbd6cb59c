"""`strangler stage`: from wherever the databases are to the stage, forward and back, killed or repeated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strangler import routes, stages
from strangler.config import Config
from strangler.errors import AwayError, NotYetError
from strangler.stages import Journey
from tests.kit.conftest import Shop, Writers

Go = Callable[[str], list[str]]


@pytest.fixture
def go(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Go:
    monkeypatch.setattr(Journey, "_ready", lambda *_: True)  # the shop has no applications
    data: dict[str, Any] = shop.config.model_dump(by_alias=True)
    data["stages"] = {
        "0-before": {"default": "monolith", "cancel": True},
        "1-same": {"default": "monolith"},
        "2-stock": {"default": "monolith", "moved": ["stock"]},
    }
    config = Config.model_validate(data)

    def journey(word: str) -> list[str]:
        said: list[str] = []
        one = Journey(config, config.stage(word), said.append, seconds=20)
        one.go()
        assert one.missing() == []
        return said

    return journey


def test_there_and_back_again_under_load(shop: Shop, writers: Writers, go: Go) -> None:
    before = {site: shop.catalogue(site) for site in shop.dsn}
    with writers:
        go("1")
        writers.wait_for(10)
        go("stock")
        go("2-stock")
        writers.wait_for(10)
        go("1-same")
        writers.wait_for(10)
        go("2")
        writers.wait_for(10)
        go("0")
        writers.wait_for(10)
    writers.check("monolith")
    assert {site: shop.catalogue(site) for site in shop.dsn} == before


def test_on_the_way_to_another_default_an_unmoved_module_still_goes_to_its_source(shop: Shop) -> None:
    data: dict[str, Any] = shop.config.model_dump(by_alias=True)
    data["sites"]["web"] = {"url": "http://127.0.0.1:9"}
    data["stages"] = {"5-end": {"default": "web", "moved": ["stock"]}}
    config = Config.model_validate(data)
    journey = Journey(config, config.stage("end"), print)
    found = journey._keys([])
    assert found["traefik/http/routers/public-items/service"] == "monolith"
    assert found["traefik/http/routers/public-default/service"] == "web"
    assert journey._keys(["stock"])["traefik/http/routers/public-items/service"] == "stock"
    # Where nothing leads, nobody is asked for its health.
    assert "traefik/http/routers/internal-monolith/rule" in journey._keys(["stock"])
    assert "traefik/http/routers/internal-monolith/rule" not in journey._keys(["stock"], arrived=True)
    assert "traefik/http/routers/internal-stock/rule" in journey._keys(["stock"], arrived=True)


def test_only_where_another_can_serve_is_anybody_asked_for_its_health(shop: Shop) -> None:
    data: dict[str, Any] = shop.config.model_dump(by_alias=True)
    data["sites"]["many"] = {"url": "http://many", "servers": "http://127.0.0.1:1,http://127.0.0.1:2"}
    data["sites"]["one"] = {"url": "http://one"}
    config = Config.model_validate(data)

    def asked(default: str, spare: str | None = None) -> dict[str, str]:
        found = routes.keys(config, routes.table(config, {}, default), spare=spare)
        paths = {key.split("/")[3]: path for key, path in found.items() if key.endswith("healthcheck/path")}
        return {site: path for site, path in paths.items() if site in {"many", "one", "preferred"}}

    assert asked("one") == {"many": "/readyz"}  # a slow answer of the only one must not become a refusal
    # By its entrance the other sites reach it: there, nobody can stand in for it.
    assert asked("one", spare="many") == {"many": "/readyz", "preferred": "/livez"}
    assert asked("many", spare="one") == {"many": "/readyz"}


class Store:
    """A gateway's Redis, as far as it is used here."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}

    def scan_iter(self, **_: object) -> list[bytes]:
        return [key.encode() for key in self.data]

    def mget(self, keys: list[str]) -> list[bytes]:
        return [self.data[key] for key in keys]

    def mset(self, found: dict[str, str]) -> None:
        self.data |= {key: value.encode() for key, value in found.items()}


def test_who_is_waited_for_can_be_reached(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on the way back from a stage that had no use for the source any more."""
    data: dict[str, Any] = shop.config.model_dump(by_alias=True)
    data["sites"]["web"] = {"url": "http://127.0.0.1:9"}
    data["gateway"] = {"redis": "redis://127.0.0.1:9"}
    data["stages"] = {
        "1-same": {"default": "monolith"},
        "2-stock": {"default": "monolith", "moved": ["stock"]},
        "5-end": {"default": "web", "moved": ["stock"]},
    }
    config = Config.model_validate(data)
    store = Store()

    def entrances() -> set[str]:
        found = routes.stored(store)
        return {key.split("internal-")[1].split("/")[0] for key in found if "routers/internal-" in key}

    monkeypatch.setattr(stages.routes, "connect", lambda _: store)
    monkeypatch.setattr(Journey, "_ready", lambda _, site: site in entrances())
    found = []
    for name in ("1", "2", "5", "1"):
        journey = Journey(config, config.stage(name), print, seconds=10)
        journey.go()
        assert journey.missing() == []
        found.append(entrances())
    assert found == [{"monolith"}, {"monolith", "stock"}, {"stock", "web"}, {"monolith"}]


def test_a_stage_that_cancels_is_not_reached_before(shop: Shop, go: Go) -> None:
    data: dict[str, Any] = shop.config.model_dump(by_alias=True)
    data["stages"] = {"0-before": {"default": "monolith", "cancel": True}}
    config = Config.model_validate(data)
    journey = Journey(config, config.stage("0"), print)
    assert journey.missing() == []
    go("2")
    go("1")
    assert journey.missing() == ["stock is still replicated"]


def test_who_stays_without_a_gateway_has_nothing_to_say(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    naps = iter(range(3))

    def sleep(_: float) -> None:
        if next(naps, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(stages.time, "sleep", sleep)
    data: dict[str, Any] = shop.config.model_dump(by_alias=True)
    data["stages"] = {"1-same": {"default": "monolith"}}
    config = Config.model_validate(data).model_copy(update={"gateway": None})
    with pytest.raises(KeyboardInterrupt):
        Journey(config, config.stage("1"), said.append).stay()
    assert said == []


def test_a_file_is_there_as_long_as_the_stage_is_reached(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data: dict[str, Any] = shop.config.model_dump(by_alias=True)
    data["stages"] = {"1-same": {"default": "monolith"}}
    config = Config.model_validate(data).model_copy(update={"gateway": None})
    reached, said, seen = tmp_path / "reached", list[str](), list[bool]()
    looks = iter([[], ["stock has another owner"], ["stock has another owner"], AwayError("no database"), []])

    def missing(_: Journey) -> list[str]:
        look = next(looks)
        if isinstance(look, Exception):
            raise look
        return look

    def sleep(_: float) -> None:
        seen.append(reached.exists())
        if len(seen) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journey, "missing", missing)
    monkeypatch.setattr(stages.time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        Journey(config, config.stage("1"), said.append).stay(reached)
    assert seen == [True, False, False, False, True]
    assert said == ["stock has another owner", "no database"]


def test_tables_that_come_late_are_waited_for(shop: Shop, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.run("stock", "ALTER TABLE items RENAME TO not_yet")
    monkeypatch.setattr(stages, "PAUSE_SECONDS", 0.05)
    rest = iter(["ALTER TABLE not_yet RENAME TO items"])

    def sleep(_: float) -> None:
        for statement in rest:
            shop.run("stock", statement)

    monkeypatch.setattr(stages.time, "sleep", sleep)
    said = go("2")
    assert any("there is no table public.items" in line for line in said)
    assert said[-1] == "reached"


@pytest.mark.parametrize("command", ["create", "switch", "reverse"])
@pytest.mark.parametrize("site", ["monolith", "stock"])
def test_connections_that_are_cut_on_the_way_are_made_anew(
    shop: Shop, go: Go, monkeypatch: pytest.MonkeyPatch, command: str, site: str
) -> None:
    whole = getattr(stages.Move, command)
    cuts = iter([site])

    def cut(move: stages.Move) -> object:
        for at in cuts:
            shop.run(
                at,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'strangler' AND datname = current_database()",
            )
        return whole(move)

    monkeypatch.setattr(stages.Move, command, cut)
    go("2")
    go("1")
    assert next(cuts, None) is None
    shop.run("monolith", "UPDATE items SET note = 'mine again' WHERE id = 6")


def test_copies_that_differ_stop_the_journey(shop: Shop, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    create = stages.Move.create

    def damaged(move: stages.Move) -> None:
        create(move)
        shop.damage("stock", "DELETE FROM items WHERE id = 5")

    monkeypatch.setattr(stages.Move, "create", damaged)
    with pytest.raises(NotYetError, match=r"the copies differ, first public\.items 5;"):
        go("2")
    shop.run("monolith", "UPDATE items SET note = 'still mine' WHERE id = 6")
