"""Access tokens: who has none, or one that is not good, is refused and nothing is written."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tests.contract.client import Account, Client, ok, status
from tests.contract.conftest import Forum


def _claims(account: Account, **changes: Any) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(account.session["access_token"], options={"verify_signature": False})
    return {**claims, "iat": int(time.time()), "exp": int(time.time()) + 600, **changes}


def _kid(account: Account) -> str:
    return str(jwt.get_unverified_header(account.session["access_token"])["kid"])


def _b64(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def _public_key(client: Client) -> tuple[bytes, bytes]:
    """As PEM, and raw."""
    x = ok(client.get("/.well-known/jwks.json"))["keys"][0]["x"]
    raw = base64.urlsafe_b64decode(x + "=" * (-len(x) % 4))
    key = Ed25519PublicKey.from_public_bytes(raw)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo), raw


def _hs256(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    import hashlib
    import hmac

    signed = f"{_b64({**header, 'alg': 'HS256', 'typ': 'JWT'})}.{_b64(claims)}"
    digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _bad_tokens(forum: Forum, author: Account) -> dict[str, str]:
    good = author.session["access_token"]
    head, body, signature = good.split(".")
    kid = _kid(author)
    moderator = _claims(author, role="moderator")
    stranger = Ed25519PrivateKey.generate()
    pem, raw = _public_key(author)
    bad = {
        "empty": "",
        "garbage": "x",
        "dots": "..",
        "not ASCII": "ü.ü.ü",
        "cut off": f"{head}.{body}",
        "claims changed": f"{head}.{_b64(moderator)}.{signature}",
        "signature of another token": f"{head}.{_b64(_claims(author))}.{signature}",
        "alg none": f"{_b64({'alg': 'none', 'kid': kid})}.{_b64(moderator)}.",
        "alg NonE": f"{_b64({'alg': 'NonE', 'kid': kid})}.{_b64(moderator)}.",
        "no kid": jwt.encode(moderator, stranger, "EdDSA"),
        "unknown key": jwt.encode(moderator, stranger, "EdDSA", {"kid": "somebody"}),
        "wrong key under our kid": jwt.encode(moderator, stranger, "EdDSA", {"kid": kid}),
        "kid is a list": f"{_b64({'alg': 'EdDSA', 'kid': [kid]})}.{_b64(moderator)}.{signature}",
        "HS256 with the public key in PEM": _hs256({"kid": kid}, moderator, pem),
        "HS256 with the public key": _hs256({"kid": kid}, moderator, raw),
        "a refresh token": author.session["refresh_token"],
    }
    if forum.token_key is not None:
        key: Any = serialization.load_pem_private_key(forum.token_key.encode(), None)

        def ours(**changes: Any) -> str:
            claims = {name: value for name, value in _claims(author, **changes).items() if value is not None}
            return jwt.encode(claims, key, "EdDSA", {"kid": kid})

        assert status(Client(author.url, ours()).get("/api/users/me")) == 200, "the key is not the one of this forum"
        past = int(time.time()) - 3600
        bad |= {
            "expired": ours(iat=past, exp=past + 900),
            "never expires": ours(exp=None),
            "another issuer": ours(iss="elsewhere"),
            "nobody's": ours(sub=None),
            "sub is no id": ours(sub="one"),
            "sub is a number": ours(sub="²"),
            "sub is huge": ours(sub=str(2**80)),
        }
    return bad


def test_a_bad_token_is_refused_everywhere(forum: Forum, author: Account) -> None:
    topic = author.topic("Guarded")
    path = f"/api/topics/{topic['id']}"
    accepted = []
    for name, token in _bad_tokens(forum, author).items():
        client = Client(author.url, "x")
        client.token = None
        headers = {"Authorization": f"Bearer {token}".encode()}
        answers = [
            client.get("/api/users/me", headers=headers),
            client.patch(path, {"title": "Broken into"}, headers=headers),
            client.post("/api/messages", {"topic_id": topic["id"], "body": "x"}, headers=headers),
        ]
        accepted += [(name, answer.status_code) for answer in answers if answer.status_code != 401]
        assert all(answer.headers.get("WWW-Authenticate", "").startswith("Bearer") for answer in answers), name
    assert accepted == []
    assert ok(author.get(path))["title"] == "Guarded"
    assert ok(author.get("/api/messages", params={"topic_id": topic["id"]}))["items"] == []


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic eDp5", "Token abc"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/users/me"), ("PATCH", "/api/users/{user}"), ("DELETE", "/api/users/{user}"),
        ("DELETE", "/api/sessions/current"),
        ("POST", "/api/topics"), ("PATCH", "/api/topics/{topic}"), ("DELETE", "/api/topics/{topic}"),
        ("POST", "/api/messages"), ("PATCH", "/api/messages/{message}"), ("DELETE", "/api/messages/{message}"),
    ],
)  # fmt: skip
def test_without_a_token_nothing_is_written(
    anybody: Client, author: Account, header: str | None, method: str, path: str
) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = anybody.request(method, path.format(user=author.id, topic=1, message=1), json={}, headers=headers)
    assert status(answer) == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_token_says_who_and_for_how_long(author: Account) -> None:
    claims = jwt.decode(author.session["access_token"], options={"verify_signature": False})
    header = jwt.get_unverified_header(author.session["access_token"])
    assert header["alg"] == "EdDSA"
    assert (claims["iss"], claims["sub"], claims["name"], claims["role"]) == (
        "forum", str(author.id), author.username, "member",
    )  # fmt: skip
    assert claims["exp"] - claims["iat"] == author.session["expires_in"]
    assert claims["sid"]
