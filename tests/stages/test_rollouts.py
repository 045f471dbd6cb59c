"""Real rollouts on the local stack: what the judge is for, and what happens without one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from loadtest.rollouts import run
from loadtest.rollouts.judge import Judge, NoJudge
from loadtest.rollouts.load import Load, load
from loadtest.rollouts.local import Local, local
from loadtest.rollouts.report import Row, note, report
from loadtest.rollouts.strategies import STRATEGIES
from loadtest.timeline import read_rollouts
from tests.picture.photograph import photograph
from tests.servers import wait_for

JUDGE = Judge(least=25, patience=60)
"""Of 25 requests one meets the error that every 20th is."""


@pytest.fixture(scope="module")
def forum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Local, Load]]:
    """At version 1, with some users at work."""
    folder = tmp_path_factory.mktemp("rollouts")
    with (
        local(folder, lambda _: None, ready_seconds=60) as target,
        load(target.stack.state.root / "load", target.where, target.timeline, users=6, rate=30) as running,
    ):
        yield target, running


@pytest.fixture
def measured(forum: tuple[Local, Load], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Row]]:
    """Rows of the table, which is made of them at the end."""
    monkeypatch.setattr(run, "AFTER", 2.0)
    rows: list[Row] = []
    yield rows
    for row in rows:
        note(row, tmp_path)
        assert (tmp_path / f"{row.name}.svg").read_text().startswith("<svg")
    report(rows, tmp_path, {"requests": 1, "acknowledged": 1, "lost": 0, "doubled": 0})
    assert len(json.loads((tmp_path / "rollouts.json").read_text())["runs"]) == len(rows)
    told = read_rollouts(forum[0].timeline, 0, 1e12)
    assert [(one.strategy, one.version, one.done) for one in told[-len(rows) :]] == [
        (row.run.strategy, row.run.version, row.run.outcome.done) for row in rows
    ]


@pytest.mark.timeout(600)
def test_a_bad_canary_that_nobody_judges_gets_everybody_and_is_seen_on_the_picture(
    forum: tuple[Local, Load], measured: list[Row]
) -> None:
    target, running = forum
    target.stack.start(["picture"])
    picture = target.stack.layout.url("picture")
    with ThreadPoolExecutor(1) as beside:
        seen = beside.submit(photograph, picture, "bad-canary", "#verdict.bad:has-text('topics answers with errors')")
        measured.append(Row(*run.rollout(STRATEGIES["canary"], "errors", target, NoJudge(), running, lambda _: None)))
    seen.result()
    [unjudged] = measured
    assert unjudged.run.outcome.done
    assert unjudged.found.met == unjudged.found.users
    assert unjudged.found.failed
    assert unjudged.seen == "NOT SEEN"
    assert unjudged.surprise is not None
    assert target.running() == {"v1": 0, "v2": 2}

    def state() -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{picture}/state.json", timeout=30).json()
        return found

    def versions() -> list[dict[str, int]]:
        return [site["versions"] for site in state()["sites"] if site["name"] == "topics"]

    wait_for(lambda: versions() == [{"v2": 2}], "the picture to see version 2 alone")
    marks = [mark["text"] for mark in state()["marks"]]
    assert "topics answers with errors" in marks
    assert "topics does not answer" not in marks, "those who were replaced are not missed"
    target.reset("good")
    assert target.running() == {"v1": 2, "v2": 0}


@pytest.mark.timeout(600)
def test_a_shadow_finds_wrong_answers_and_none_where_there_are_none(
    forum: tuple[Local, Load], measured: list[Row]
) -> None:
    target, running = forum
    answers_alone = Judge(least=25, patience=300, slower=float("inf"), more_memory=float("inf"))
    for version in ("good", "wrong"):
        found = run.rollout(STRATEGIES["shadow"], version, target, answers_alone, running, lambda _: None)
        measured.append(Row(*found))
    good, wrong = measured
    assert good.run.outcome.done, good.run.outcome
    assert not wrong.run.outcome.done
    assert "answers differ" in wrong.run.outcome.why
    target.reset("good")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_canary_is_promoted_when_it_is_good_and_taken_away_when_it_is_not(
    forum: tuple[Local, Load], measured: list[Row]
) -> None:
    target, running = forum
    for version in ("good", "errors"):
        measured.append(Row(*run.rollout(STRATEGIES["canary"], version, target, JUDGE, running, lambda _: None)))
    good, errors = measured
    assert good.run.outcome.done, good.run.outcome
    assert good.surprise is None, running.folder.ledger.read_text()[-3000:]
    assert good.found.met == good.found.users
    assert not errors.run.outcome.done
    assert "requests failed" in errors.run.outcome.why
