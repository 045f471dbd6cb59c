"""What README.md tells people to type is typed here. (`make demo` and `make test` are run by .ci/run.)"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.cli import take_down
from local.state import CHECKOUT, locate

README = (CHECKOUT / "README.md").read_text()


def commands(text: str, section: str) -> list[str]:
    """The lines of the indented blocks of a section."""
    found = re.split(rf"^## {re.escape(section)}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    return [line.strip() for line in found.splitlines() if line.startswith("    ")]


def typed(folder: Path, lines: list[str]) -> str:
    """What is said in a folder that looks like the checkout, with a stack of its own, which is taken down."""
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    script = "\n".join(["set -e", *(f"echo '$ {line}'\n{line}" for line in lines)])
    state = folder / ".state"
    try:
        done = subprocess.run(
            ["sh", "-c", script], cwd=folder, env=os.environ | {"STRANGLER_STATE": str(state)}, capture_output=True,
            text=True, timeout=380, check=False,
        )  # fmt: skip
    finally:
        take_down(locate(state), purge=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(400)
def test_walk_by_yourself(tmp_path: Path) -> None:
    walk = sorted(commands(README, "Walk by yourself"), key=lambda line: " down" in line)
    assert len(walk) >= 7
    said = typed(tmp_path, walk)
    assert "2-users" in said
    assert "users: switched; owner users, epoch 2" in said


@pytest.mark.timeout(400)
def test_the_seams_of_the_forum(tmp_path: Path) -> None:
    (tmp_path / "strangler.toml").symlink_to(CHECKOUT / "strangler.toml")
    lines = commands((CHECKOUT / "docs" / "analyze.md").read_text(), "See it on the forum")
    assert len(lines) == 6
    said = typed(tmp_path, [line.replace("/tmp/forum.jsonl", str(tmp_path / "forum.jsonl")) for line in lines])
    assert "foreign key" in said.lower()
    assert (tmp_path / "build" / "seams.html").read_text().startswith("<!doctype html>")


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^    )make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
