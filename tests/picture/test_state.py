"""The picture as data: what is known is right, and what is not known is not 0."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local.state import CHECKOUT
from strangler.commands.picture import picture as picture_command
from strangler.picture.assemble import assemble
from strangler.picture.history import History
from strangler.picture.promises import promises
from strangler.picture.scrape import Series, parse
from strangler.picture.seen import Gateway, Seen
from tests.picture import canned
from tests.picture.canned import ABSENT, CONFIG

ELSEWHERE = {"--out", "--profile", "--resolve-image"}
"""Options of other commands."""


def picture(seen: Seen) -> dict[str, Any]:
    found = assemble(CONFIG, seen)
    json.dumps(found)
    return found


def site(state: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in state["sites"] if each["name"] == name)


@pytest.mark.parametrize(
    ("seen", "stage", "level"),
    [
        (canned.at_stage_1(), "1-gateway", "quiet"),
        (canned.topics_are_copied(), "2-users", "busy"),
        (canned.at_stage_5(), "5-microservices", "quiet"),
        (canned.broken(), "5-microservices", "bad"),
    ],
)
def test_stage_and_verdict(seen: Seen, stage: str, level: str) -> None:
    state = picture(seen)
    assert (state["stage"], state["verdict"]["level"]) == (stage, level), state["verdict"]


def test_rates_errors_and_latency_are_the_gateways() -> None:
    state = picture(canned.broken())
    assert site(state, "messages")["flow"] == {"rps": 26, "errors": 0, "p95_ms": 9.5}
    assert site(state, "topics")["flow"]["errors"] == 32
    assert {"from": "messages", "to": "topics", "rps": 5, "errors": 0, "p95_ms": 9.5} in state["calls"]
    assert not [call for call in state["calls"] if call["from"] == call["to"]]


def test_what_is_broken_is_named() -> None:
    assert picture(canned.broken())["verdict"]["bad"] == [
        "requests failed: 37", "topics does not answer", "messages: replication messages → monolith is broken",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gateway": Gateway(up=False)}, "the gateway does not answer"),
        ({"redis": False}, "Redis does not answer"),
        ({"databases": {"monolith": True, "users": False}}, "the database of users does not answer"),
        ({"promises": {**canned.KEPT, "doubled": 1}}, "writes doubled: 1"),
    ],
)
def test_one_thing_that_breaks_at_stage_5_is_seen(change: dict[str, Any], said: str) -> None:
    assert said in picture(replace(canned.at_stage_5(), **change))["verdict"]["bad"]


def test_before_the_first_look_everything_is_unknown_and_nothing_broken() -> None:
    state = picture(Seen())
    assert state["verdict"]["level"] == "quiet"
    assert state["stage"] is state["flow"] is state["promises"] is state["redis"] is None
    assert {each["state"] for each in state["sites"]} == {"unknown"}
    for module in state["modules"]:
        assert module["owner"] is module["epoch"] is module["rows"] is None


def test_without_a_gateway_the_monolith_is_measured_directly() -> None:
    state = picture(replace(canned.at_stage_1(), gateway=Gateway(up=False), default=None))
    assert (state["stage"], state["gateway"]["state"], state["verdict"]["level"]) == ("0-monolith", "absent", "quiet")
    assert state["flow"]["rps"] == 20  # two replicas, 50 requests each, in 5 s


def test_nobody_comes_past_a_gateway_through_which_they_came_a_moment_ago() -> None:
    idle = canned.gateway({"monolith": 0})
    seen = replace(canned.at_stage_1(), gateway=idle)
    assert picture(seen)["direct"], "stage 1: the old entrance is still open"
    assert not picture(replace(seen, came_lately=True))["direct"]
    seen = replace(canned.topics_are_copied(), gateway=idle)
    assert not picture(seen)["direct"], "a service asks the monolith"


def test_an_idle_gateway_is_known_to_be_idle() -> None:
    seen = canned.at_stage_5()
    state = picture(replace(seen, gateway=canned.gateway({"web": 0}), sites={**seen.sites, "web": ABSENT}))
    assert (state["flow"]["rps"], state["direct"]) == (0, {}), "users, say, is asked by others, not by people"


def test_a_version_beside_another_and_a_replica_that_is_not_ready() -> None:
    state = picture(canned.topics_are_copied())
    assert site(state, "topics")["versions"] == {"v1": 2, "v2": 1}
    seen = canned.at_stage_5()
    sites = {**seen.sites, "users": [canned.instance("users", 1), ABSENT[0]]}
    verdict = picture(replace(seen, sites=sites))["verdict"]
    assert verdict["warn"] == ["users: 1 of 2 replicas are ready"]


def test_a_counter_goes_on_when_its_process_is_started_again() -> None:
    now = [0.0]
    series = Series(clock=lambda: now[0])
    for at, value in ((0, 1000), (1, 1010), (2, 4)):
        now[0] = float(at)
        series.add(parse(f"x_total {value}\n", ("x_total",)))
    assert series.window() == (2.0, {("x_total", ()): 14.0})
    now[0] = 60.0
    assert series.window() is None, "what is old is not known any more"


def test_rubbish_in_place_of_metrics_is_nothing() -> None:
    assert parse('<html>\nx_total{"} zzz\n', ("x_total",)) == {}


def test_marks_are_made_once() -> None:
    history = History()
    event = {"at": datetime.now(UTC), "action": "arrived", "epoch": 2, "detail": {"owner": "users", "pause_ms": 31.0}}
    for t in (1.0, 2.0, 3.0):
        history.event(event, CONFIG.modules["users"])
        history.stage(t, "2-users")
        history.versions(t, "users", {"v1"} if t < 3 else {"v1", "v2"})
        history.problems(t, {"topics does not answer"} if t == 2 else set())
    marks = {(mark["kind"], mark["text"]) for mark in history.marks(0)}
    assert marks == {
        ("switch", "users: monolith → users"), ("stage", "2-users"), ("rollout", "users: v2"),
        ("bad", "topics does not answer"), ("over", "over: topics does not answer"),
    }  # fmt: skip
    assert len(history.marks(0)) == 5


def test_promises_come_from_the_live_file_and_in_the_end_from_the_report(tmp_path: Path) -> None:
    live = tmp_path / "live.json"
    assert promises(str(live)) is None
    live.write_text("{ rubbish")
    assert promises(str(live)) is None
    live.write_text('{"requests": 12, "failed": 0, "stale": "x"}')
    assert (promises(str(live)) or {})["lost"] is None
    (tmp_path / "report.json").write_text('{"requests": 13, "failed": 0, "lost": 2, "doubled": 0, "stale": 0}')
    assert (promises(str(live)) or {})["lost"] == 2
    assert promises("http://127.0.0.1:9/promises.json") is None


def test_every_option_that_the_docs_name_is_one() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z]+[a-z-]*", (CHECKOUT / "docs" / "picture.md").read_text())) - ELSEWHERE
    assert named <= {option for parameter in picture_command.params for option in parameter.opts}
    assert "--promises" in named
