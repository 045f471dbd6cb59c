"""What is counted of a rollout, from samples made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest.plan import Folder
from loadtest.rollouts.measure import Measured, Run, measure
from loadtest.rollouts.picture import draw
from loadtest.rollouts.report import Row
from loadtest.rollouts.strategies import Outcome
from loadtest.samples import Sample, SampleFile

T = 1_000_000.0


@pytest.fixture
def found(tmp_path: Path) -> tuple[Run, Measured]:
    """Ten seconds; version 2 comes at 4 and answers visitor 2 only, once badly; nobody answers between 6 and 9."""
    lines = [
        {"t": T, "e": "site", "n": 0, "name": "topics", "version": "v1"},
        {"t": T, "e": "site", "n": 1, "name": "topics", "version": "v2"},
        *({"t": T + 5, "e": "wrong", "kind": "topic", "id": id, "user": 2, "operation": "GET /api/topics",
           "sent_ms_ago": 5} for id in range(20)),
    ]  # fmt: skip
    folder = Folder(tmp_path)
    folder.ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with SampleFile(folder.samples) as samples:
        for second in range(10):
            for visitor in (1, 2):
                lost = 6 <= second < 9
                by = None if lost else int(second >= 4 and visitor == 2)
                bad = lost or (second == 4 and visitor == 2)
                status = 502 if bad else 200
                operation = "GET /api/topics"
                samples.add(Sample(T + second + 0.1, 0.01, 0.01, status, operation, bad, by, visitor))
    run = Run("rolling", "wrong", "fake", T, T + 2, T + 8, T + 10, Outcome(True, "well"))
    run.marks = [(T + 2, "one by one"), (T + 8, "done")]
    run.instances = [(T, {"v1": 2, "v2": 0}), (T + 4, {"v1": 2, "v2": 1}), (T + 7, {"v1": 0, "v2": 2})]
    return run, measure(run, folder)


def test_what_the_users_met_is_counted(found: tuple[Run, Measured]) -> None:
    run, measured = found
    assert (measured.requests, measured.failed) == (20, 7)
    assert (measured.users, measured.met, measured.share) == (2, 1, 0.5)
    assert measured.wrong == 1, "a list of twenty wrong titles is one wrong answer"
    assert measured.gap == pytest.approx(4.0, abs=0.2)
    assert measured.seconds == 6
    assert (measured.peak, measured.least) == (1, 2)
    assert sum(map(sum, measured.buckets.values())) == 20
    assert draw(run, measured).count("<polygon") == 3


def test_a_bad_version_that_came_through_is_told_as_not_seen(found: tuple[Run, Measured]) -> None:
    row = Row(*found)
    assert row.cells()[-1] == "NOT SEEN"
    assert row.surprise is None, "rolling says of itself that it does not see wrong answers"
    row.run.outcome = Outcome(False, "back")
    assert row.surprise is not None
