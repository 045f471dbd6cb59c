"""During a rollout the gateway's Redis names servers that the configuration does not."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.rollouts import routes as rollout
from loadtest.rollouts.target import Route
from strangler.config import load
from strangler.picture import watch
from strangler.picture.scrape import AwayError
from strangler.picture.watch import Sources, Watch
from strangler.routes import in_use, keys, table

OLD, NEW, COMPARER = ["http://127.0.0.1:1", "http://127.0.0.1:2"], "http://127.0.0.1:3", "http://127.0.0.1:4"


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watch:
    for site in ("MONOLITH", "USERS", "TOPICS", "MESSAGES", "WEB"):
        monkeypatch.setenv(f"{site}_URL", "http://127.0.0.1:9")
        monkeypatch.setenv(f"{site}_SERVERS", ",".join(OLD) if site == "TOPICS" else "http://127.0.0.1:9")
    return Watch(load(), Sources())


def stored(watched: Watch, route: Route, *, mirrored: bool = False) -> dict[str, str]:
    config = watched.config
    stage = keys(
        config, table(config, {"users": "users", "topics": "topics"}, "monolith"), sites=["monolith", "topics"]
    )
    stage = {key: value for key, value in stage.items() if "users" not in key}
    return rollout.keys(stage, route, [NEW], COMPARER if mirrored else None)


@pytest.mark.parametrize(
    ("route", "serving"),
    [
        (Route(), {"topics": OLD}),
        (Route(percent=20), {"topics": OLD, "topics-new": [NEW]}),
        (Route(chosen=True), {"topics": OLD, "topics-new": [NEW]}),
        (Route(percent=100), {"topics-new": [NEW]}),
        (Route(mirrored=True), {"topics": OLD}),
    ],
)
def test_who_serves_is_whom_routers_lead_to(watched: Watch, route: Route, serving: dict[str, list[str]]) -> None:
    found = in_use(stored(watched, route, mirrored=True))
    assert {name: urls for name, urls in found.items() if name.startswith("topics")} == serving


def test_a_new_version_is_seen_and_who_was_replaced_is_not_missed(
    watched: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = {1: "v1", 2: "v1", 3: "v2", 4: None}

    def fetch(url: str, _names: tuple[str, ...]) -> dict[Any, float]:
        port = int(url.split(":")[2].partition("/")[0])
        if port not in alive:
            raise AwayError(slow=False)
        site = "topics" if alive[port] else "comparer"
        labels = {"site": site, "version": alive[port] or "v1", "instance": str(port)}
        return {("strangler_application_info", tuple(sorted(labels.items()))): 1.0}

    def topics(route: Route) -> tuple[list[tuple[str | None, bool]], dict[str, str]]:
        watched._routed = in_use(stored(watched, route, mirrored=route.mirrored))
        watched.look_at_applications()
        seen = watched.seen()
        found = sorted((one.version or "", one.up) for one in seen.sites["topics"])
        return [(version or None, up) for version, up in found], dict(seen.services)

    monkeypatch.setattr(watch, "fetch", fetch)
    old = [("v1", True), ("v1", True)]
    assert topics(Route())[0] == old
    seen, services = topics(Route(percent=20))
    assert seen == [*old, ("v2", True)]
    assert services["topics-new"] == "topics"
    del alive[3]
    for _ in range(3):
        seen, services = topics(Route(percent=20))
        assert seen == [(None, False), *old], "a canary that crashed is still its site's, and missed"
        assert services["topics-new"] == "topics", "and so are the errors that people get for it"
    assert topics(Route())[0] == old, "nobody is sent there any more"
    alive[3] = "v2"
    assert topics(Route(mirrored=True))[0] == old
    del alive[1]
    assert topics(Route(percent=20))[0] == [(None, False), ("v1", True), ("v2", True)], (
        "one that should serve is missed"
    )
    del alive[2]
    assert topics(Route(percent=100))[0] == [("v2", True)]
    del alive[3]
    assert topics(Route(percent=100))[0] == [(None, False)], "the one that should be there is missed, and no other"
    watched._instances.clear()
    assert topics(Route(percent=100))[0] == [(None, False), (None, False)], "nobody is there whom anybody knows"
