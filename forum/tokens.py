"""Access tokens: short-lived JWTs signed with Ed25519. Users issues them, everyone verifies them alone.

The verifier knows exactly one algorithm: what a token says of itself (alg=none, HS256 with the public key as secret)
chooses nothing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar, cast

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from flask import current_app, g, request

from forum.problems import Problem, unauthorized, unavailable
from forum.schemas import MAX_ID
from forum.settings import SettingsError

ALGORITHM = "EdDSA"
ISSUER = "forum"
LEEWAY_SECONDS = 5
"""How far the clocks of two machines may be apart."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """Who sends the request, as the token says."""

    id: int
    name: str
    role: str
    session: str
    """The session's family: what log-out revokes."""

    @property
    def is_moderator(self) -> bool:
        return self.role == "moderator"


class InvalidTokenError(Exception):
    """Not signed by us, expired, or not what an access token must be."""


class Keys(Protocol):
    """Where a verifier has its public keys from."""

    def public_key(self, kid: str) -> Ed25519PublicKey | None:
        """None when there is no such key. Raises Problem (503) when that cannot be known right now."""


class Issuer:
    """Signs tokens, and verifies its own."""

    def __init__(self, pem: str, seconds: int = 900) -> None:
        """Raises SettingsError when `pem` is not an Ed25519 key."""
        try:
            key = load_pem_private_key(pem.replace("\\n", "\n").encode(), password=None)
        except (ValueError, TypeError):
            raise SettingsError("TOKEN_PRIVATE_KEY: not a private key in PEM without a password") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise SettingsError("TOKEN_PRIVATE_KEY: must be an Ed25519 key (openssl genpkey -algorithm ed25519)")
        self.seconds = seconds
        self._key = key
        self._public = key.public_key()
        x = _base64url(self._public.public_bytes(Encoding.Raw, PublicFormat.Raw))
        # The kid is the key's RFC 7638 thumbprint, so it needs no setting and a new key has a new one.
        members = {"crv": "Ed25519", "kty": "OKP", "x": x}
        self.kid = _base64url(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())
        self.jwks = {"keys": [{**members, "kid": self.kid, "use": "sig", "alg": ALGORITHM}]}

    def issue(self, identity: Identity) -> str:
        """A token that is good for `seconds`."""
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": str(identity.id), "name": identity.name, "role": identity.role,
            "sid": identity.session, "iat": now, "exp": now + self.seconds,
        }  # fmt: skip
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.kid})

    def public_key(self, kid: str) -> Ed25519PublicKey | None:
        return self._public if kid == self.kid else None


class PublishedKeys:
    """The key set that users publishes, fetched when a token names a key not seen yet.

    Once fetched, a key is kept for ever: users may be away. At most one fetch a second, or a flood of forged tokens
    would become a flood of requests. timeout: to connect and to answer, in seconds; long, for who has a token can do
    nothing without.
    """

    def __init__(self, forum_api_url: str, timeout: tuple[float, float] = (1.0, 8.0), pause: float = 1.0) -> None:
        self._url = f"{forum_api_url}/.well-known/jwks.json"
        self._timeout = timeout
        self._pause = pause
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._next_fetch = 0.0
        self._lock = threading.Lock()

    def public_key(self, kid: str) -> Ed25519PublicKey | None:
        if kid in self._keys:
            return self._keys[kid]
        with self._lock:
            if kid not in self._keys and time.monotonic() >= self._next_fetch:
                self._fetch()
        if not self._keys:
            raise unavailable("The keys to verify tokens with cannot be had right now.")
        return self._keys.get(kid)

    def _fetch(self) -> None:
        try:
            answer = requests.get(self._url, timeout=self._timeout)
            answer.raise_for_status()
            found = {
                entry["kid"]: _public_key(entry) for entry in answer.json()["keys"] if entry.get("crv") == "Ed25519"
            }
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            log.warning("cannot fetch the key set from %s: %s", self._url, error)
        else:
            self._keys = self._keys | found
        self._next_fetch = time.monotonic() + self._pause


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _public_key(entry: dict[str, str]) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(entry["x"] + "=" * (-len(entry["x"]) % 4)))


def verify(token: str, keys: Keys) -> Identity:
    """Who the token speaks for. Raises InvalidTokenError; what `keys` raises passes through."""
    try:
        header = jwt.get_unverified_header(token)
        key = keys.public_key(str(header.get("kid", ""))) if header.get("alg") == ALGORITHM else None
        if key is None:
            raise InvalidTokenError("The token is not signed by a key of ours.")
        claims = jwt.decode(
            token, key, algorithms=[ALGORITHM], issuer=ISSUER, leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "sub", "iat", "exp", "name", "role", "sid"]},
        )  # fmt: skip
    except jwt.ExpiredSignatureError:
        raise InvalidTokenError("The token has expired.") from None
    except (jwt.InvalidTokenError, ValueError):
        raise InvalidTokenError("The token is not valid.") from None
    if not claims["sub"].isascii() or not claims["sub"].isdigit() or int(claims["sub"]) > MAX_ID:
        raise InvalidTokenError("The token is not valid.")
    return Identity(int(claims["sub"]), str(claims["name"]), str(claims["role"]), str(claims["sid"]))


# --- in a request ---------------------------------------------------------------------------------------------------

P = ParamSpec("P")
R = TypeVar("R")


def identify() -> Identity:
    """Who sends this request. Raises Problem: 401 without a good token, 503 when it cannot be verified right now."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthorized("This needs an access token: Authorization: Bearer ...")
    try:
        return verify(token.strip(), cast(Keys, current_app.extensions["forum.keys"]))
    except InvalidTokenError as error:
        raise unauthorized(str(error)) from None


def authenticated(view: Callable[P, R]) -> Callable[P, R]:
    """For views that need a user: `identity()` is theirs. Stands above `idempotent`, whose scope is the user."""

    @functools.wraps(view)
    def with_identity(*args: P.args, **kwargs: P.kwargs) -> R:
        g.identity = identify()
        return view(*args, **kwargs)

    vars(with_identity)["authenticated"] = True  # for forum.openapi
    return with_identity


def reader() -> int | None:
    """Who reads, for a view that guests see too; None for a guest, and when a token cannot be verified right now.

    Raises Problem: 401 for a token that is not good.
    """
    if "Authorization" not in request.headers:
        return None
    try:
        return identify().id
    except Problem as problem:
        if problem.code == 503:  # reading must not hang on users
            return None
        raise


def identity() -> Identity:
    """The user of a view that is `authenticated`."""
    return cast(Identity, g.identity)
