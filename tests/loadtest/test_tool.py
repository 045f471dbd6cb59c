"""The load test as a tool: budgets beside the promises, a chosen mix, and what can be watched while it runs."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import requests

from loadtest.ledger import read_ledger
from loadtest.samples import read_samples
from tests.docker import CHECKOUT
from tests.loadtest.conftest import COMMAND, ENVIRONMENT, Loadtest, live, running, sizes, wait_until
from tests.loadtest.fake_forum import FakeForum
from tests.servers import free_port


def test_budgets_have_an_exit_code_of_their_own_and_say_which_was_broken(loadtest: Loadtest) -> None:
    with FakeForum("slow").serve() as url:
        done = loadtest("run", *sizes(url), "--budget", "p99=100ms", "--budget", "p50=60s")
    assert done.code == 3, done.output
    assert "budget p99=100ms: broken, one request in a hundred took longer than" in done.output
    assert "budget p50=60000ms: kept" in done.output
    assert [budget["kept"] for budget in done.report["budgets"]] == [False, True]
    assert loadtest("report").code == 3
    for budget, code in (("gap=1ms", 3), ("gap=60s", 0), ("write=10ms", 3), ("write=60s", 0), ("p95=1ms", 3)):
        assert loadtest("report", "--budget", budget).code == code, budget
    folder = done.out
    ledger = (folder / "ledger.jsonl").read_text()
    check = json.loads((folder / "check.json").read_text())
    (folder / "check.json").write_text(json.dumps(check | {"lost": 1}))
    assert loadtest("report").code == 1, "a broken promise is worse than a broken budget"
    assert (folder / "ledger.jsonl").read_text() == ledger


def test_a_chosen_mix_is_what_is_sent(out: Path, loadtest: Loadtest) -> None:
    mix = ["--mix", "write=0", "--mix", "account=0", "--mix", "come_back=0"]
    with FakeForum().serve() as url:
        done = loadtest("run", *sizes(url), *mix)
    assert done.code == 0, done.output
    asked = Counter(sample.operation for sample in read_samples(out / "samples.bin"))
    assert asked["GET /api/topics"] > 50
    assert not asked["POST /api/messages"] + asked["POST /api/topics"] + asked["PATCH /api/users/{id}"]
    assert {(write.kind, write.action) for write in read_ledger(out / "ledger.jsonl").writes.values()} == {
        ("user", "create")
    }


@pytest.mark.parametrize("mischief", [None, "double", "lose"])
def test_the_promises_count_along(out: Path, mischief: str | None) -> None:
    names = {"double": "doubled", "lose": "lost"}
    with (
        FakeForum(mischief).serve() as url,
        running(out, *sizes(url, duration=600), "--web", "127.0.0.1:0") as command,
    ):
        [page] = re.findall(r"web: (http://\S+)", (out / "load.log").read_text())
        if mischief:
            wait_until(lambda: live(out)[names[mischief]] == 1)
        shown = requests.get(f"{page}/promises.json", timeout=10).json()
        assert shown["state"] == "running"
        assert set(shown) == set(live(out))
        for name in names.values():
            assert shown[name] == (name == names.get(mischief or "")), shown
        assert "Promises" in requests.get(page, timeout=10).text
        assert url in requests.get(page, timeout=10).text  # whom it loads
        [tab] = requests.get(f"{page}/stats/requests", timeout=10).json()["extended_stats"]
        told = {row["promise"]: row["broken"] for row in tab["data"]}
        assert (told["lost"], told["doubled"]) == (shown["lost"], shown["doubled"])
        command.terminate()
        command.communicate(timeout=60)
    assert command.returncode == (1 if mischief else 0)
    assert live(out)["state"] == ("broken" if mischief else "kept")
    for name in names.values():
        assert live(out)[name] == (name == names.get(mischief or ""))


def test_a_page_that_cannot_be_shown_is_one_line(loadtest: Loadtest) -> None:
    with FakeForum().serve() as url, socket.create_server(("127.0.0.1", 0)) as taken:
        done = loadtest("run", *sizes(url), "--web", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.code == 2
    assert len(done.output.strip().splitlines()) == 1, done.output
    assert "cannot listen there; choose another port" in done.output


def test_what_the_page_tells_people_to_type(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "loadtest.md").read_text()
    lines = [line.strip() for line in page.splitlines() if line.startswith(("    loadtest ", "    wait"))]
    assert len(lines) == 10
    command = " ".join(COMMAND) + " "
    slow = {
        "--duration 60": "--duration 2", "--rate 70": "--rate 200", "=500ms": "=60s", "gap=2s": "gap=60s",
        "p99=1s": "p99=60s", "127.0.0.1:5557": f"127.0.0.1:{free_port()}", "loadtest ": command,
    }  # fmt: skip
    environment = ENVIRONMENT | {"PYTHONPATH": str(CHECKOUT), "LOADTEST_RUN_BUDGETS": "write=60s"}
    with FakeForum().serve() as url:
        script = "set -e\n" + "\n".join(lines)
        for what, instead in (slow | {"http://127.0.0.1:8000": url}).items():
            script = script.replace(what, instead)
        done = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "budget p95=60000ms: kept" in done.stdout
    assert done.stdout.count("budget write=60000ms: kept") >= 2, "every option can come from the environment"
