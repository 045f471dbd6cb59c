"""Makes every secret, once, and gives each container its own: a volume for each, mounted here under /secrets.

What was made is kept in a volume that only this program sees, so that it can be run again at any time, and again after
it was killed half-way. Standard library only.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from pathlib import Path

ROOT = Path("/secrets")
KEPT = ROOT / "kept"
SITES = ("monolith", "users", "topics", "messages")
# What comes before the 32 random bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
ED25519 = bytes.fromhex("302e020100300506032b657004220420")


def password() -> str:
    return secrets.token_hex(24)


def signing_key() -> str:
    key = base64.b64encode(ED25519 + secrets.token_bytes(32)).decode()
    return f"-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"


def write(path: Path, text: str) -> None:
    """Whole or not at all. Readable by whatever user a container has: who sees the volume may read it."""
    if path.exists() and path.read_text() == text:
        return
    new = path.with_name(f".{path.name}")
    new.write_text(text)
    new.chmod(0o444)
    new.replace(path)


def kept(name: str, make: Callable[[], str] = password) -> str:
    path = KEPT / name
    if not path.exists():
        write(path, make())
    return path.read_text()


def files() -> dict[str, dict[str, str]]:
    """Volume -> file -> content."""
    found: dict[str, dict[str, str]] = {"kit": {}, "web": {}}
    for site in SITES:
        admin, application = kept(f"postgres-{site}"), kept(f"forum-{site}")
        found[f"{site}-db"] = {"postgres": admin, "forum": application}
        found[site] = {"database_url": f"postgresql://forum:{application}@{site}-db:5432/{site}"}
        found["kit"][f"{site}_dsn"] = f"postgresql://postgres:{admin}@{site}-db:5432/{site}"
    for name in (*SITES, "web"):
        found[name]["strangler_secret"] = kept("strangler")
    for name in ("monolith", "users"):
        found[name]["token_private_key"] = kept("token-private-key", signing_key)
    for name in ("monolith", "web"):
        found[name]["secret_key"] = kept("pages")
    return found


if __name__ == "__main__":
    for volume, contents in files().items():
        for name, content in contents.items():
            write(ROOT / volume / name, content)
