"""What README.md tells people to type is typed here. (`make test` is run by .ci/run.)"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from local.cli import take_down
from local.state import CHECKOUT, locate
from tests.typed import Block, checkout, section, type_in

README = (CHECKOUT / "README.md").read_text()


def typed(found: list[Block], folder: Path) -> str:
    """What is said in a folder that looks like the checkout, with a stack of its own, which is taken down."""
    state = checkout(folder / "checkout") / ".state"
    try:
        return type_in(found, folder / "checkout", os.environ | {"STRANGLER_STATE": str(state)}, 900)
    finally:
        take_down(locate(state), purge=True)


@pytest.mark.timeout(1000)
def test_walk_by_yourself(tmp_path: Path) -> None:
    said = typed(section(CHECKOUT / "README.md", "Walk by yourself"), tmp_path)
    assert "2-users" in said
    assert "users: switched; owner users, epoch 2" in said


@pytest.mark.timeout(1000)
def test_the_seams_of_the_forum(tmp_path: Path) -> None:
    walk = [
        replace(block, text=block.text.replace("/tmp/forum.jsonl", str(tmp_path / "forum.jsonl")))
        for block in section(CHECKOUT / "docs" / "analyze.md", "See it on the forum")
    ]
    assert "foreign key" in typed(walk, tmp_path).lower()
    assert (tmp_path / "checkout" / "build" / "seams.html").read_text().startswith("<!doctype html>")


def test_make_demo_is_what_is_tested_as_the_demo() -> None:
    """In tests/local/test_demo.py, and under a load of another size."""
    words = ["make", "--no-print-directory", "-n", "-o", ".venv/.installed", "demo"]
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(words, cwd=CHECKOUT, env=alone, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ".venv/bin/python -m local.demo"


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^    )make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
