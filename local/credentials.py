"""Secrets of a local stack: made at its first start, kept in files that only its owner can read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TOKEN_KEY = "token-private-key.pem"  # noqa: S105


def secret(directory: Path, name: str, length: int = 24) -> str:
    """The secret called `name`: `length` random bytes in hexadecimal, which no URL or shell has to quote."""
    return _keep(directory / name, lambda: os.urandom(length).hex())


def token_key(directory: Path) -> Path:
    """The file of the Ed25519 key that signs access tokens (PKCS 8, PEM)."""

    def make() -> str:
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem.decode()

    _keep(directory / TOKEN_KEY, make)
    return directory / TOKEN_KEY


def _keep(file: Path, make: Callable[[], str]) -> str:
    if not file.exists():
        fresh = file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(make())
        fresh.rename(file)
    return file.read_text()
