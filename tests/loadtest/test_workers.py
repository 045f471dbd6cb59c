"""One load made by several processes: one ledger, one report, and no promise forgotten when one of them dies."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtest.parts import read_all_samples, read_history
from loadtest.plan import Folder
from tests.loadtest.conftest import COMMAND, ENVIRONMENT, Loadtest, live, running, sizes, wait_until
from tests.loadtest.fake_forum import FakeForum
from tests.servers import free_port


@contextmanager
def workers(master: str, *outs: Path) -> Iterator[list[subprocess.Popen[str]]]:
    started = [
        subprocess.Popen(
            [*COMMAND, "worker", "--master", master, "--out", str(out)], env=ENVIRONMENT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for out in outs
    ]  # fmt: skip
    try:
        yield started
    finally:
        for one in started:
            if one.poll() is None:
                one.kill()
            one.communicate()


@pytest.mark.parametrize("mischief", [None, "double"])
def test_two_workers_are_one_load(tmp_path: Path, out: Path, mischief: str | None) -> None:
    master = f"127.0.0.1:{free_port()}"
    outs = tmp_path / "one", tmp_path / "two"
    with FakeForum(mischief).serve() as url, workers(master, *outs) as two:
        words = [*sizes(url, duration=600), "--master", master, "--workers", "2"]
        with running(out, *words) as command:
            if mischief:
                wait_until(lambda: live(out)["doubled"] == 1)
            wait_until(lambda: all((one / "ledger.jsonl").stat().st_size > 20_000 for one in outs))
            command.send_signal(signal.SIGTERM)
            output, _ = command.communicate(timeout=60)
            assert [one.wait(timeout=30) for one in two] == [0, 0]
    assert command.returncode == (1 if mischief else 0), output
    assert f"doubled {1 if mischief else 0}, stale 0" in output
    sent = sorted(path.read_bytes() for path in out.glob("ledger-*.jsonl"))
    assert sent == sorted((one / "ledger.jsonl").read_bytes() for one in outs)
    samples = list(read_all_samples(Folder(out)))
    assert len(samples) == sum((one / "samples.bin").stat().st_size // 24 for one in outs)
    sites = read_history(Folder(out)).sites
    assert {sites[sample.served_by] for sample in samples if sample.served_by is not None} == {"fake"}


def test_a_worker_that_is_killed_is_a_broken_promise_and_its_own_ledger_can_be_checked(
    tmp_path: Path, out: Path, loadtest: Loadtest
) -> None:
    master = f"127.0.0.1:{free_port()}"
    outs = tmp_path / "one", tmp_path / "two"
    with FakeForum().serve() as url, workers(master, *outs) as two:
        words = [*sizes(url, duration=600), "--master", master, "--workers", "2"]
        with running(out, *words) as command:
            two[0].kill()
            output, _ = command.communicate(timeout=60)
        assert command.returncode == 1
        assert two[1].wait(timeout=30) == 0
        [to] = re.findall(r"worker \d .* has not sent everything; .*copy its ledger.jsonl to (\S+) and", output)
        shutil.copyfile(outs[0] / "ledger.jsonl", to)
        figures = loadtest("check", "--settle", "1").report
    assert (figures["errors"], figures["lost"], figures["doubled"]) == (1, 0, 0)
    written = "".join((one / "ledger.jsonl").read_text() for one in outs)
    assert figures["acknowledged"] == written.count('"e":"ack"')


def test_a_worker_goes_only_where_its_own_machine_lets_it(tmp_path: Path, out: Path, loadtest: Loadtest) -> None:
    master = f"127.0.0.1:{free_port()}"
    away = ["--url", "http://forum.invalid", "--allow-host", "forum.invalid"]
    with workers(master, tmp_path / "one") as [worker]:
        done = loadtest("run", *away, "--master", master, "--workers", "1")
        said, _ = worker.communicate(timeout=30)
    assert (done.code, worker.returncode) == (2, 2)
    assert "worker 1 refused: forum.invalid is not this machine" in done.output
    assert len(done.output.strip().splitlines()) == 1, done.output
    assert said.splitlines()[-1].startswith("loadtest: forum.invalid is not this machine; load goes there only with")
    assert not list(out.glob("ledger-*"))
