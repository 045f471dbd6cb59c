"""The figures of a report, from samples whose figures are known; and the page that shows them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from loadtest.check import Result
from loadtest.errors import LoadtestError
from loadtest.measure import measure
from loadtest.plan import Folder, Plan
from loadtest.report import report
from loadtest.samples import Sample, SampleFile, read_samples
from loadtest.timeline import Switch, read_timeline

START = 1_000_000.0
READ, WRITE = "GET /api/topics", "POST /api/messages"


def sample(at: float, latency: float = 0.01, operation: str = READ, failed: bool = False, waited: float = 0) -> Sample:
    return Sample(START + at, latency, max(waited, latency), 500 if failed else 200, operation, failed, 0)


def line(t: float, **event: object) -> str:
    return json.dumps({"t": START + t, **event}) + "\n"


@pytest.fixture
def timeline(tmp_path: Path) -> Path:
    path = tmp_path / "timeline.jsonl"
    path.write_text(
        line(-9, kind="stage", stage="0-monolith", direction="forward", state="begin")
        + line(-8, kind="stage", stage="0-monolith", direction="forward", state="done")
        + line(4, kind="stage", stage="2-users", direction="forward", state="begin")
        + line(6, kind="switch", module="users", direction="switch", epoch=2, pause_ms=21.5)
        + line(7, kind="stage", stage="2-users", direction="forward", state="done")
        + line(8, kind="note", text="nothing to see")
        + line(99, kind="switch", module="topics", direction="switch", epoch=2, pause_ms=9)
    )
    return path


def test_a_sample_is_read_back_as_it_was(tmp_path: Path) -> None:
    first, second = sample(0), sample(1, 0.25, WRITE, failed=True, waited=0.5)
    with SampleFile(tmp_path / "samples.bin") as file:
        file.add(first)
        file.add(second)
    with (tmp_path / "samples.bin").open("ab") as torn:
        torn.write(b"torn")
    back = list(read_samples(tmp_path / "samples.bin"))
    assert [(s.began, s.operation, s.failed, s.is_write) for s in back] == [
        (START, READ, False, False), (START + 1, WRITE, True, True)
    ]  # fmt: skip
    assert back[1].waited == pytest.approx(0.5)


def test_stages_cover_the_load_and_only_the_load(timeline: Path) -> None:
    stages, switches = read_timeline(timeline, START, START + 10)
    assert [(s.name, s.began - START, s.ended - START) for s in stages] == [("0-monolith", 0, 4), ("2-users", 4, 10)]
    assert stages[1].done == START + 7
    assert [(s.module, s.pause_ms) for s in switches] == [("users", 21.5)]


def test_a_timeline_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "t").write_text('{"kind": "stage"}\n')
    with pytest.raises(LoadtestError, match=r"t:1: not a line of a timeline"):
        read_timeline(tmp_path / "t", START, START + 1)
    [stage], switches = read_timeline(tmp_path / "away", START, START + 1)
    assert (stage.began, stage.ended, switches) == (START, START + 1, [])


def test_gaps_stalls_and_percentiles(timeline: Path) -> None:
    samples = [sample(t / 10) for t in range(100)]
    # The write that met the pause: tried first at 5.4 s, in vain, and acknowledged at 6.2 s.
    samples += [sample(5.4, 0.1, WRITE, failed=True), sample(6.1, 0.1, WRITE, waited=0.8)]
    samples = [s for s in samples if s.is_write or not 2 < s.ended - START < 2.75]
    samples.sort(key=lambda s: s.ended)
    stages, switches = read_timeline(timeline, START, START + 10)
    measures = measure(samples, {0: "monolith"}, stages, switches)
    before, after = measures.stages
    assert before.requests + after.requests == measures.total.requests == len(samples)
    assert (before.failed, after.failed) == (0, 1)
    assert before.longest_gap == pytest.approx(0.9)
    assert after.longest_gap == pytest.approx(0.1, abs=0.02)
    assert (after.longest_wait, after.longest_operation) == (pytest.approx(0.8), WRITE)
    assert measures.switches[0].longest_wait == pytest.approx(0.8)
    assert measures.switches[0].requests == 13  # 5.5 to 6.5 s: eleven reads (one just ending), two tries of the write
    assert after.percentiles(0.5, 0.99) == [10.0, 100.0]
    assert sum(bucket.requests for bucket in measures.buckets) == len(samples)


def test_what_was_under_way_in_the_second_around_a_switch_counts() -> None:
    stages, _ = read_timeline(Path("/nonexistent"), START, START + 10)
    switch = Switch(START + 5, "users", "switch", 20, 2)
    samples = [sample(4.0, 0.1), sample(4.4, 0.2), sample(5.6, 0.1), sample(3.0, 4.0, WRITE)]
    [around] = measure(samples, {}, stages, [switch]).switches
    assert around.requests == 2
    assert around.longest_wait == pytest.approx(4.0)


def test_the_page_shows_stages_and_switches_and_needs_no_network(tmp_path: Path, timeline: Path) -> None:
    folder = Folder(tmp_path / "run")
    folder.prepare()
    Plan(users=3, duration=10, rate=10, url="http://127.0.0.1:1", started=START).save(folder)
    folder.ledger.write_text(line(0, e="site", n=0, name="<monolith>"))
    folder.timeline.write_bytes(timeline.read_bytes())
    with SampleFile(folder.samples) as file:
        for t in range(100):
            file.add(sample(t / 10))
    report(folder, Result(requests=100, acknowledged=5))
    facts = json.loads(folder.report.read_text())
    assert [row["requests"] for row in facts["stages"]] == [40, 60]
    assert {"module": "users", "direction": "switch", "pause_ms": 21.5}.items() <= facts["switches"][0].items()
    assert {"longest_write_ms", "requests"} <= facts["switches"][0].keys()
    page = folder.page.read_text()
    assert "Every promise kept" in page
    assert "2-users" in page
    assert "users · 22 ms" in page
    assert "<monolith>" not in page
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import|fetch\(|https?://""", page)


@pytest.mark.parametrize("broken", ["failed", "lost", "doubled", "stale", "counters_off", "errors"])
def test_any_broken_promise_is_a_broken_promise(broken: str) -> None:
    assert Result(requests=1, acknowledged=1).kept
    assert not Result(**{"requests": 1, "acknowledged": 1, broken: 1}).kept
    assert not Result(requests=0).kept
