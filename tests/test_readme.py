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


def commands(section: str) -> list[str]:
    """The lines of the indented blocks of a section."""
    text = re.split(rf"^## {re.escape(section)}$", README, flags=re.MULTILINE)[1].split("\n## ")[0]
    return [line.strip() for line in text.splitlines() if line.startswith("    ")]


@pytest.mark.timeout(400)
def test_walk_by_yourself(tmp_path: Path) -> None:
    """In a folder that looks like the checkout, with a stack of its own."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    *walk, down = sorted(commands("Walk by yourself"), key=lambda line: " down" in line)
    assert len(walk) >= 6
    script = "\n".join(["set -e", *(f"echo '$ {line}'\n{line}" for line in [*walk, down])])
    state = tmp_path / ".state"
    try:
        done = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env=os.environ | {"STRANGLER_STATE": str(state)}, capture_output=True,
            text=True, timeout=380, check=False,
        )  # fmt: skip
    finally:
        take_down(locate(state), purge=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2-users" in done.stdout
    assert "users: switched; owner users, epoch 2" in done.stdout


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^    )make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
