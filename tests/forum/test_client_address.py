"""Whose request it is: X-Forwarded-For as far as it is to be believed, and what the pages say of their visitor."""

from __future__ import annotations

import pytest
from flask import Flask

from forum.application import Resources
from forum.client_address import HEADER, client_address, vouched
from forum.settings import SettingsError, read
from monolith.app import Settings

TRUSTED = "10.0.0.0/8, 127.0.0.1,fd00::/8"


pytestmark = pytest.mark.usefixtures("variables")


@pytest.fixture
def proxied(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("TRUSTED_PROXIES", TRUSTED)
    resources: Resources = app.extensions["forum"]
    monkeypatch.setattr(resources.settings, "trusted_proxies", read(Settings).trusted_proxies)
    return app


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.7", None, "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),  # says who is not trusted
        ("10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "1.1.1.1, 198.51.100.1, 10.2.2.2", "198.51.100.1"),  # what stands before it, the client wrote
        ("10.1.1.1", "10.3.3.3", "10.3.3.3"),
        ("10.1.1.1", "nonsense", "10.1.1.1"),
        ("10.1.1.1", "198.51.100.1, nonsense", "10.1.1.1"),
        ("fd00::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", None, "203.0.113.7"),
        ("", None, ""),
    ],
)
def test_an_address_is_believed_as_far_as_trusted_proxies_wrote_it(
    proxied: Flask, peer: str, forwarded: str | None, found: str
) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    with proxied.test_request_context(headers=headers, environ_base={"REMOTE_ADDR": peer}):
        assert client_address() == found


def test_what_a_site_says_of_its_visitor_is_believed_from_anywhere_and_cannot_be_forged(app: Flask) -> None:
    with app.test_request_context(environ_base={"REMOTE_ADDR": "198.51.100.1"}):
        told = vouched()
    with app.test_request_context(headers=told, environ_base={"REMOTE_ADDR": "203.0.113.7"}):
        assert client_address() == "198.51.100.1"
        assert vouched() == told  # and from hop to hop
    forged = {HEADER: told[HEADER].replace(told[HEADER][:4], "ImZv")}
    with app.test_request_context(headers=forged, environ_base={"REMOTE_ADDR": "203.0.113.7"}):
        assert client_address() == "203.0.113.7"


def test_nobody_is_trusted_unless_told(app: Flask) -> None:
    with app.test_request_context(
        headers={"X-Forwarded-For": "198.51.100.1"}, environ_base={"REMOTE_ADDR": "127.0.0.1"}
    ):
        assert client_address() == "127.0.0.1"


def test_what_is_no_network_is_named(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.0/8,gateway")
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES"):
        read(Settings)
