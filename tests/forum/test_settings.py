"""Configuration: from the environment or files, and one line when it is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from forum.settings import BOOT_FAILED, SettingsError, read
from monolith.app import Settings, create_app
from tests.forum.conftest import ROOT, new_key, process_environment

GOOD = {
    "DATABASE_URL": "postgresql://forum:pw@127.0.0.1:1/forum",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "FORUM_API_URL": "http://127.0.0.1:1",
    "TOKEN_PRIVATE_KEY": new_key(),
    "STRANGLER_SECRET": "a secret that only tests know",
    "SECRET_KEY": "another secret that only tests know",
    "STRANGLER_CONFIG": str(ROOT / "strangler.toml"),
}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", None), ("DATABASE_URL", ""), ("DATABASE_URL", "nonsense"), ("DATABASE_URL", "mysql://a/b"),
        ("REDIS_URL", None), ("REDIS_URL", "http://x"), ("FORUM_API_URL", "here"), ("STRANGLER_SECRET", "short"),
        ("TOKEN_PRIVATE_KEY", "nonsense"), ("TOKEN_PRIVATE_KEY_FILE", "/nowhere"), ("SECRET_KEY", None),
        ("THREADS", "many"), ("LOG_LEVEL", "loud"), ("STRANGLER_CONFIG", "/nowhere"),
    ],
)  # fmt: skip
def test_a_bad_environment_ends_the_process_with_one_line_that_names_the_variable(
    variable: str, value: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in GOOD:
        monkeypatch.setenv(name, GOOD[name])
    monkeypatch.delenv(variable.removesuffix("_FILE"), raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        create_app()
    assert ended.value.code == BOOT_FAILED
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1, said
    assert variable in said or str(value) in said
    assert "only tests know" not in said


def test_a_server_with_a_bad_environment_does_not_start_over_and_over() -> None:
    words = [sys.executable, "-m", "gunicorn", "-c", "python:strangler.gunicorn", "monolith.app:create_app()"]
    environment = process_environment(BIND="127.0.0.1:0")
    done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.count("DATABASE_URL is not set") == 1
    assert "Traceback" not in done.stderr


def test_every_variable_may_come_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        (tmp_path / name).write_text(f"{value}\n")
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    settings = read(Settings)
    assert settings.database_url.get_secret_value() == GOOD["DATABASE_URL"]
    assert settings.token_private_key.get_secret_value() == GOOD["TOKEN_PRIVATE_KEY"].rstrip("\n")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    assert read(Settings).redis_url == "redis://elsewhere"


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    shown = repr(read(Settings))
    assert "only tests know" not in shown
    assert "pw@" not in shown
    assert "PRIVATE KEY" not in shown
    monkeypatch.delenv("SECRET_KEY")
    with pytest.raises(SettingsError, match="SECRET_KEY is not set"):
        read(Settings)
