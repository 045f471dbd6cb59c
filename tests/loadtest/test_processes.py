"""Loads that are stopped, killed, and sent elsewhere while they run."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from loadtest.ledger import read_ledger
from tests.loadtest.conftest import Loadtest, live, running, sizes, wait_until
from tests.loadtest.fake_forum import FakeForum


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_load_finishes_its_writes_and_reports(out: Path, number: int) -> None:
    with FakeForum().serve() as url, running(out, *sizes(url, duration=600)) as command:
        command.send_signal(number)
        output, _ = command.communicate(timeout=30)
    assert command.returncode == 0, output
    assert output.strip().endswith("failed 0, lost 0, doubled 0, stale 0")
    assert json.loads((out / "report.json").read_text())["unknown"] == 0


def test_after_kill_9_the_ledger_can_be_checked(out: Path, loadtest: Loadtest) -> None:
    forum = FakeForum()

    def kept() -> set[int]:
        """Messages that the ledger knows and nobody has begun to delete, where nobody deletes the topic."""
        writes = read_ledger(out / "ledger.jsonl").writes.values()
        deleted = {write.resource for write in writes if write.action == "delete"}
        known = {write.answered for write in writes if write.kind == "message" and write.topic in forum.old_topics}
        return {id for id in forum.messages if id in known - deleted}

    with forum.serve() as url:
        with running(out, *sizes(url, duration=600)) as command:
            [load] = psutil.Process(command.pid).children()

            def stopped_with_one_kept() -> bool:
                load.suspend()
                wait_until(lambda: load.status() == psutil.STATUS_STOPPED)
                if not kept():
                    load.resume()
                    return False
                return True

            wait_until(stopped_with_one_kept)
            os.killpg(command.pid, signal.SIGKILL)
        with (out / "ledger.jsonl").open("ab") as ledger:
            ledger.write(b'{"t":1,"e":"begin","w":"cut o')  # killed in the middle of a line
        done = loadtest("check", "--settle", "1")
        assert done.code == 0, done.output
        assert done.report["acknowledged"] > 20
        forum.drop_message(min(kept()))
        assert loadtest("check", "--settle", "1").report["lost"] == 1


def test_a_load_that_dies_alone_is_a_broken_promise_and_leaves_nobody(out: Path) -> None:
    with FakeForum().serve() as url, running(out, *sizes(url, duration=600)) as command:
        [load] = psutil.Process(command.pid).children()
        load.kill()
        output, _ = command.communicate(timeout=30)
    assert command.returncode == 1
    assert "the load itself: the load was killed by signal 9" in output
    assert not load.is_running()


def test_a_load_whose_command_dies_ends_by_itself(out: Path) -> None:
    with FakeForum().serve() as url, running(out, *sizes(url, duration=600)) as command:
        [load] = psutil.Process(command.pid).children()
        command.kill()
        command.wait()
        wait_until(lambda: not load.is_running() or load.status() == psutil.STATUS_ZOMBIE)


def test_users_follow_the_addresses_without_a_failure(tmp_path: Path, out: Path) -> None:
    addresses = tmp_path / "addresses.json"
    forum, timeline = FakeForum(), tmp_path / "timeline.jsonl"

    def point_to(*urls: str) -> None:
        new = addresses.with_suffix(".new")
        new.write_text(json.dumps({"public": list(urls)}))
        new.replace(addresses)

    with forum.serve() as new, forum.serve() as one, forum.serve() as two:
        point_to(one, two)
        words = sizes("", duration=600)[2:]
        with running(out, "--addresses", str(addresses), "--timeline", str(timeline), *words) as command:
            moved = time.time()
            point_to(new)
            wait_until(lambda: (out / "load.log").read_text().count(f"addresses: {new}") == 1)
            before = live(out)["requests"]
            wait_until(lambda: live(out)["requests"] > before + 100)
            timeline.write_text(json.dumps(
                {"t": moved, "kind": "stage", "stage": "1-gateway", "direction": "forward", "state": "begin"}
            ) + "\n")  # fmt: skip
            command.terminate()
            output, _ = command.communicate(timeout=30)
    assert command.returncode == 0, output
    assert [stage["stage"] for stage in json.loads((out / "report.json").read_text())["stages"]] == [
        "before",
        "1-gateway",
    ]


def test_bad_input_is_one_line_and_nothing_is_sent(loadtest: Loadtest, tmp_path: Path, out: Path) -> None:
    empty, broken = tmp_path / "empty.json", tmp_path / "broken.json"
    empty.write_text('{"public": []}')
    broken.write_text("{")
    away = str(tmp_path / "away.json")
    for words, mend in (
        (["--url", "http://forum.example.org"], "--allow-host forum.example.org"),
        (["--url", "http://192.0.2.7:80"], "--allow-host 192.0.2.7"),
        (["--url", "ftp://127.0.0.1"], "http://127.0.0.1:8000"),
        (["--addresses", away], "no such file"),
        (["--addresses", str(broken)], "is not"),
        (["--addresses", str(empty)], "names no address"),
        ([], "give --addresses FILE or --url URL"),
        (["--url", "http://127.0.0.1:1", "--mix", "sleep=2"], "there are read, write, account, browse"),
        (["--url", "http://127.0.0.1:1", "--mix", "post=often"], "such as post=2"),
        (["--url", "http://127.0.0.1:1", "--mix", "read=0", "--mix", "write=0"], "leave read or write above 0"),
        (["--url", "http://127.0.0.1:1", "--budget", "p96=1s"], "there are p50, p95"),
        (["--url", "http://127.0.0.1:1", "--budget", "gap=2"], "such as gap=500ms or gap=2s"),
        (["--addresses", str(empty), "--url", "http://127.0.0.1:1"], "exclude each other"),
    ):
        done = loadtest("run", *words)
        assert done.code == 2, (words, done.output)
        assert len(done.output.strip().splitlines()) == 1, done.output
        assert mend in done.output
    for command in ("check", "report"):
        done = loadtest(command)
        assert done.code == 2
        assert len(done.output.strip().splitlines()) == 1, done.output
    assert not (out / "ledger.jsonl").exists()
