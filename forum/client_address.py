"""Whose request this is, by address: what a gateway and the pages, which ask in a visitor's name, say of it.

X-Forwarded-For is believed as far as it was written by TRUSTED_PROXIES. The pages name their visitor in a header of
their own, signed: they ask through the gateway, which rightly believes nobody's X-Forwarded-For.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

from flask import request
from itsdangerous import BadData, URLSafeSerializer

from forum.application import resources

HEADER = "Forum-Client"


def client_address() -> str:
    """The address of who sends this request: an IPv4 address, or the /64 network of an IPv6 one, which is one client's
    to choose from. "" when it cannot be told."""
    try:
        return str(_serializer().loads(request.headers.get(HEADER, "")))
    except BadData:
        return _network(_outermost())


def vouched() -> dict[str, str]:
    """The header by which a site that asks another in its visitor's name says who that is."""
    return {HEADER: str(_serializer().dumps(client_address()))}


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(resources().settings.strangler_secret.get_secret_value(), salt="forum-client")


def _outermost() -> str:
    """From this end of the way: the first address that is no trusted proxy's."""
    told = ",".join(request.headers.getlist("X-Forwarded-For")).split(",")
    address = request.remote_addr or ""
    for farther in reversed(told):
        if not _trusted(address) or not _is_address(farther.strip()):
            break
        address = farther.strip()
    return address


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _trusted(address: str) -> bool:
    return _is_address(address) and any(ip_address(address) in net for net in resources().settings.trusted_proxies)


def _network(address: str) -> str:
    if not _is_address(address):
        return ""
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or IPv6Network((found, 64), strict=False))
    return str(found)
