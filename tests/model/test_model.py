"""docs/model/move.pml: the protocol keeps its invariants in every state; without any one of its rules it does not."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[2] / "docs/model/move.pml"

SMALL = ("WRITES=3", "CRASHES=0")
"""Enough for a counterexample that needs no crash."""
CRASHING = ("WRITES=1", "CRASHES=1")

MUTANTS = {
    "NO_EXCLUSIVE_LOCK": ("I1", SMALL),
    "ROW_BEFORE_LOCK": ("I1", SMALL),
    "NO_FOR_SHARE": ("I1", SMALL),
    "CANCEL_PAST_READERS": ("I1", SMALL),
    "NO_RAISE": ("I1", SMALL),
    "LOWER_WITHOUT_LOCK": ("I1", SMALL),
    "EARLY_ACTIVATION": ("I2", SMALL),
    "SEQUENCE_FROM_MAX_ID": ("I2", SMALL),
    "COMPLETE_WITHOUT_LOCK": ("I2", SMALL),
    "KEEP_OLD_SLOT": ("I4", CRASHING),
    "CANCEL_BEFORE_ARRIVAL": ("I4", SMALL),
    "LATE_REVERSE_PAIR": ("I4", SMALL),
    "NO_ORIGIN_FILTER": ("I4", SMALL),
    "SLOT_AFTER_COPY": ("I4", SMALL),
}
"""What breaks first, by the shortest way there."""

REACHED = {
    "WRITTEN_AT_BOTH": SMALL,
    "BACK_AGAIN": SMALL,
    "CANCELLED_AFTER_REVERSE": SMALL,
    "COMPLETED": SMALL,
    "CRASHED_BETWEEN": CRASHING,
}
"""States without which the model would promise little."""


@dataclass
class Search:
    """What spin's verifier says."""

    text: str

    @property
    def states(self) -> int:
        return int(re.findall(r"^ *(\d+) states, stored", self.text, re.M)[0])

    @property
    def complaint(self) -> str | None:
        """The first line about an error; None when there was none."""
        found = re.search(r"^pan:1: (.*)", self.text, re.M)
        assert bool(found) == ("errors: 0" not in self.text), self.text
        return " ".join(found[1].split()) if found else None

    @property
    def complete(self) -> bool:
        """Every state was looked at."""
        return not re.search(r"not completed|too small|truncated|out of memory|bit statespace", self.text)

    @property
    def unreached(self) -> list[str]:
        """Statements that were never executed."""
        return re.findall(r'^\tmove\.pml:\d+, state \d+, "(.*)"', self.text, re.M)


def search(folder: Path, *defines: str, compiler: tuple[str, ...] = ("-O0", "-DBFS")) -> Search:
    """Build a verifier and run it. By default it looks for the shortest way to an error, and leaves the trail there."""

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    (folder / MODEL.name).write_text(MODEL.read_text())
    run("spin", *(f"-D{define}" for define in defines), "-a", MODEL.name)
    run("gcc", "-w", "-DSAFETY", "-DMEMLIM=4096", *compiler, "-o", "pan", "pan.c")
    return Search(run("./pan", "-m100000"))


def test_the_invariants_hold_in_every_state(tmp_path: Path) -> None:
    """I1, I2, I4, and that somebody can always go on."""
    found = search(tmp_path, compiler=("-O2", "-DCOLLAPSE"))
    print(f"{found.states:,} states")
    assert found.complaint is None
    assert found.complete, found.text
    left = [statement for statement in found.unreached if statement != "-end-"]
    assert all(re.fullmatch(r"assert\(!\(I\d\)\)", statement) for statement in left), f"never executed: {left}"


@pytest.mark.parametrize("mutant", MUTANTS)
def test_without_one_of_its_rules_they_do_not(tmp_path: Path, mutant: str) -> None:
    invariant, bounds = MUTANTS[mutant]
    complaint = search(tmp_path, mutant, *bounds).complaint
    assert complaint, f"{mutant} breaks nothing"
    assert complaint.startswith(f"assertion violated !({invariant})"), f"{mutant} breaks another invariant: {complaint}"


@pytest.mark.parametrize("state", REACHED)
def test_what_should_happen_can(tmp_path: Path, state: str) -> None:
    complaint = search(tmp_path, f"REACH={state}", *REACHED[state]).complaint
    assert complaint, f"there is no such state: {state}"
    assert "I1" not in complaint
    assert "I2" not in complaint
    assert "I4" not in complaint
