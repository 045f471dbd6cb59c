"""Values that come from the environment, or from the files of an orchestrator's secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from strangler.config import Site
from strangler.errors import StranglerError

SITE = Site(name="shop", dsn="postgresql://${WHO}:${SHOP_PASSWORD}@shop/db")


def test_a_variable_may_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("from the file\n")
    monkeypatch.setenv("WHO", "me")
    monkeypatch.setenv("SHOP_PASSWORD_FILE", str(tmp_path / "password"))
    assert SITE.dsn == "postgresql://me:from the file@shop/db"
    monkeypatch.setenv("SHOP_PASSWORD", "from the environment")
    assert SITE.dsn == "postgresql://me:from the environment@shop/db"


def test_a_secret_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "me")
    with pytest.raises(StranglerError, match="needs the environment variable SHOP_PASSWORD, which is not set"):
        _ = SITE.dsn
    monkeypatch.setenv("SHOP_PASSWORD_FILE", str(tmp_path / "gone"))
    with pytest.raises(StranglerError, match=r"SHOP_PASSWORD_FILE: cannot read .*/gone: No such file"):
        _ = SITE.dsn
