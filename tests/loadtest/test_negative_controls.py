"""A load on a forum that breaks its word must turn red, with the right figure; on one that keeps it, it stays green."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.loadtest.conftest import Loadtest, load_until, sizes
from tests.loadtest.fake_forum import FakeForum

Figures = dict[str, Any]
CLEAN = {"failed": 0, "lost": 0, "doubled": 0, "stale": 0, "wrong": 0, "counters_off": 0, "errors": 0}


def figures(report: Figures) -> Figures:
    return {name: report[name] for name in CLEAN}


def after(forum: FakeForum, misdeeds: int) -> Callable[[], bool]:
    """Enough: so many misdeeds, and 100 requests that could meet what came of them."""
    seen: list[int] = []

    def enough() -> bool:
        if forum.misdeeds >= misdeeds and not seen:
            seen.append(forum.served)
        return bool(seen) and forum.served >= seen[0] + 100

    return enough


def test_a_forum_that_keeps_its_word_is_green(loadtest: Loadtest) -> None:
    forum = FakeForum()
    with forum.serve() as url:
        done = loadtest("run", *sizes(url))
    assert done.code == 0, done.output
    assert figures(done.report) == CLEAN
    requests = done.report["requests"]
    assert done.last_line == f"promises: requests {requests}, failed 0, lost 0, doubled 0, stale 0"
    assert requests > 200
    assert 0.2 < done.report["total"]["writes"] / requests < 0.4
    assert done.report["unknown"] == 0


@pytest.mark.parametrize(
    ("mischief", "right"),
    [
        pytest.param("lose", lambda f: f["lost"] == 1 and f["wrong"] == 0, id="loses an acknowledged write"),
        pytest.param("double", lambda f: f == CLEAN | {"doubled": 1}, id="doubles one"),
        pytest.param("same id", lambda f: f["doubled"] == 1 and f["lost"] == 1, id="hands out an id twice"),
        pytest.param("stale", lambda f: f == CLEAN | {"stale": 1}, id="serves a stale read"),
        pytest.param("forget edit", lambda f: f["stale"] >= 1, id="goes back to an older version"),
        pytest.param("change", lambda f: f["wrong"] == 1 and f["lost"] == 1, id="changes what was written"),
        pytest.param("show refused", lambda f: f["wrong"] == 1 and f["lost"] == 1, id="shows a refused write"),
        pytest.param("keep deleted", lambda f: f["lost"] == 1 and f["stale"] >= 1, id="keeps what was deleted"),
        pytest.param("miscount", lambda f: f == CLEAN | {"counters_off": 1}, id="miscounts a topic"),
        pytest.param("forget keys", lambda f: f["failed"] >= 8 and f["doubled"] >= 1, id="forgets Idempotency-Keys"),
    ],
)
def test_a_forum_that_breaks_its_word_is_red(out: Path, mischief: str, right: Callable[[Figures], bool]) -> None:
    forum = FakeForum(mischief)
    with forum.serve() as url:
        done = load_until(after(forum, misdeeds=8 if mischief == "forget keys" else 1), url, out)
    assert done.code == 1, done.output
    assert right(figures(done.report)), (figures(done.report), done.output)


@pytest.mark.parametrize(
    "mischief",
    [
        pytest.param("500 before", id="a 500, and nothing done"),
        pytest.param("503 after", id="a 503 after it was done"),
        pytest.param("hang up", id="a connection closed without an answer"),
        pytest.param("no route", id="a gateway's 404 after it was done"),
    ],
)
def test_each_failed_request_counts_once_and_its_write_is_tried_again(out: Path, mischief: str) -> None:
    forum = FakeForum(mischief)
    with forum.serve() as url:
        done = load_until(after(forum, misdeeds=8), url, out)
    assert done.code == 1, done.output
    assert figures(done.report) == CLEAN | {"failed": forum.misdeeds}, done.output
    assert forum.misdeeds == 8
    assert done.report["unknown"] == 0


@pytest.mark.parametrize(("patience", "red"), [("0.1", True), ("60", False)])
def test_an_answer_that_takes_longer_than_one_is_patient_is_none(loadtest: Loadtest, patience: str, red: bool) -> None:
    forum = FakeForum("slow")  # every tenth answer takes 0.2 s
    with forum.serve() as url:
        done = loadtest("run", *sizes(url), "--patience", patience)
    assert (done.code, done.report["failed"] > 0) == (int(red), red), done.output
    assert ("timed out" in done.output) == red


def test_a_row_deleted_behind_its_back_is_found(loadtest: Loadtest) -> None:
    forum = FakeForum()
    with forum.serve() as url:
        assert loadtest("run", *sizes(url)).code == 0
        forum.drop_message(next(id for id, row in forum.messages.items()
                                if "[w:" in row["body"] and row["topic_id"] in forum.old_topics))  # fmt: skip
        done = loadtest("check", "--settle", "1")
    assert done.code == 1
    assert figures(done.report) == CLEAN | {"lost": 1}
    assert done.last_line.endswith("failed 0, lost 1, doubled 0, stale 0")


def test_a_forum_that_is_away_proves_nothing(loadtest: Loadtest) -> None:
    forum = FakeForum()
    with forum.serve() as url:
        pass
    done = loadtest("run", *sizes(url, duration=2))
    assert done.code == 1
    assert done.report["failed"] == done.report["requests"] > 0
    assert "no write was acknowledged: nothing is proven" in done.output
    assert "the load itself: the check cannot read" in done.output
