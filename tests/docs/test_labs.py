"""The labs, typed in order on one stack, under load: from the monolith to the services and back."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from local.cli import take_down
from local.state import CHECKOUT, locate
from tests.typed import blocks, checkout, type_in

LABS = CHECKOUT / "docs" / "labs"
WALK = [*sorted(LABS.glob("[0-9]-*.md")), LABS / "back.md"]


@pytest.mark.timeout(1700)
def test_there_and_back_again_as_the_labs_say(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "checkout")
    state = folder / ".state"
    try:
        type_in(
            [block for document in WALK for block in blocks(document)], folder,
            os.environ | {"STRANGLER_STATE": str(state)}, 1500,
        )  # fmt: skip
    finally:
        end_load(folder / "build" / "labs.pid")
        take_down(locate(state), purge=True)


def end_load(file: Path) -> None:
    """What a walk that failed has left running."""
    if file.exists() and (process := int(file.read_text())) and Path(f"/proc/{process}").exists():
        os.kill(process, 15)


@pytest.mark.parametrize(
    ("tab", "readme", "said"),
    [("Compose", "compose", "docker"), ("Swarm", "swarm", "docker"), ("Kubernetes", "k8s", "kubectl")],
)
def test_what_is_typed_elsewhere_is_what_the_tests_there_type(tab: str, readme: str, said: str) -> None:
    """The tests of these take their commands from the READMEs; here may be another stage in a stage's place."""
    known = {any_stage(line) for line in (CHECKOUT / readme / "README.md").read_text().splitlines()}
    lines = [line for lab in WALK for block in blocks(lab) if block.tab == tab for line in block.text.splitlines()]
    assert sum(line.startswith(said) for line in lines) > 6
    assert [line for line in lines if any_stage(line) not in known] == []


def any_stage(line: str) -> str:
    return re.sub(
        r"\b[0-5]-(monolith|gateway|users|topics|messages|microservices)\b", "STAGE", line.split("  #")[0]
    ).strip()


def test_another_answer_than_shown_is_told(tmp_path: Path) -> None:
    document = tmp_path / "lab.md"
    for shown, told in (
        ("2 left\n", ""),
        ("...\n", ""),
        ("3 left\n", "lab.md:4: other than"),
        ("", "lab.md:4: other than"),
    ):
        document.write_text(f"```sh\necho 2 left; false\n```\n```text\n{shown}```\n```sh\ntrue\n```\n")
        assert failure(document).startswith(told)
    document.write_text("```sh\ntrue\n```\n```sh\nfalse\n```\n")
    assert failure(document).startswith("lab.md:4: exit code 1")
    document.write_text("    false\n    true\n")
    assert failure(document).startswith("lab.md:1: exit code 1")


def failure(document: Path) -> str:
    try:
        type_in(blocks(document), document.parent, dict(os.environ), 30)
    except AssertionError as error:
        return str(error)
    return ""
