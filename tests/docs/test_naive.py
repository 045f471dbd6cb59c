"""The naive ways of docs/labs/naive.md lose data, and the ledger says so. (That the kit does not is told elsewhere.)"""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from local.state import CHECKOUT

PAGE = (CHECKOUT / "docs" / "labs" / "naive.md").read_text()
PYTHON = ".venv/bin/python "


LOSES = {"copy": {"lost", "doubled"}, "dual": {"lost"}, "route-first": {"failed", "stale"}}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_ledger_catches_each() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docs.labs.naive", *LOSES, "--messages", "300", "--users", "4", "--json"],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=880, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == set(LOSES)
    for way, broken in LOSES.items():
        assert not {what for what in broken if not found[way][what]}, found


def test_the_page_names_every_way() -> None:
    commands = re.findall(r"^    (\S+ )-m docs\.labs\.naive (\S+)$", PAGE, re.MULTILINE)
    assert commands == [(PYTHON, way) for way in ("copy", "dual", "route-first", "kit")]
    done = subprocess.run(
        [sys.executable, "-m", "docs.labs.naive", "hope"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["naive: there is no way 'hope'; there are copy, dual, route-first, kit"]
