"""`make rollouts`: what it is told, and what it says to rubbish."""

from __future__ import annotations

import fcntl
import re
from pathlib import Path
from typing import Any

import pytest

from loadtest.rollouts import cli
from loadtest.rollouts.strategies import STRATEGIES
from loadtest.rollouts.target import VERSIONS
from local.state import CHECKOUT

DOCUMENTED = re.findall(r"^    make rollouts *(.*)$", (CHECKOUT / "docs" / "rollouts.md").read_text(), re.MULTILINE)


def say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str, **environment: str) -> int:
    """The command's exit code."""
    for name in ("STRATEGY", "VERSION", "TARGET", "JUDGE", "USERS", "RATE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["rollouts", "--out", str(tmp_path), *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(str(ended.value.code))


@pytest.mark.parametrize(
    ("environment", "mend"),
    [
        ({"STRATEGY": "red-black"}, "STRATEGY=red-black: there is recreate"),
        ({"VERSION": "canary,fast"}, "VERSION=canary: there is good"),
        ({"TARGET": "mars"}, "TARGET=mars: there is swarm"),
        ({"JUDGE": "maybe"}, "JUDGE=maybe: expected on or off"),
        ({"USERS": "many"}, "'many' is not a valid integer"),
    ],
)
def test_rubbish_is_answered_with_one_line(
    environment: dict[str, str], mend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert say(monkeypatch, tmp_path, **environment) == 2
    said = capsys.readouterr().err
    assert mend in said
    assert len(said.splitlines()) == 1, said


def test_two_at_once_do_not_meet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert say(monkeypatch, tmp_path, TARGET="local") == 2
    assert "another `make rollouts` is at work" in capsys.readouterr().err


@pytest.mark.parametrize("words", DOCUMENTED)
def test_what_the_manual_says_is_understood(words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(cli, "_run", lambda *arguments: asked.extend(arguments) or 0)
    words = words.partition("#")[0]
    assert say(monkeypatch, tmp_path, **dict(word.split("=") for word in words.split())) == 0
    wanted, target = asked[:2]
    assert wanted
    assert {strategy for strategy, _ in wanted} <= set(STRATEGIES)
    assert {version for _, version in wanted} <= set(VERSIONS)
    assert target in cli.TARGETS


def test_the_manual_shows_commands_and_every_strategy() -> None:
    manual = (CHECKOUT / "docs" / "rollouts.md").read_text()
    assert len(DOCUMENTED) >= 3
    for strategy in STRATEGIES.values():
        assert f"**{strategy.name}**" in manual
