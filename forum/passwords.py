"""Argon2id hashes of passwords. The cost is a setting; the default is OWASP's minimum (m=19456 KiB, t=2, p=1)."""

from __future__ import annotations

import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from forum.settings import IssuerSettings


class Passwords:
    def __init__(self, memory_kib: int = 19456, time: int = 2, parallelism: int = 1) -> None:
        self._hasher = PasswordHasher(time_cost=time, memory_cost=memory_kib, parallelism=parallelism)
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    @classmethod
    def of(cls, settings: IssuerSettings) -> Passwords:
        return cls(settings.argon2_memory_kib, settings.argon2_time, settings.argon2_parallelism)

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def verify(self, hashed: str | None, password: str) -> bool:
        """Whether the password is right. None (there is no such user) takes as long as a wrong one."""
        try:
            return self._hasher.verify(hashed or self._nobody, password) and hashed is not None
        except InvalidHashError:  # an account that was imported: no password opens it
            return self.verify(None, password)
        except VerificationError:
            return False

    def outdated(self, hashed: str) -> bool:
        """Whether the hash was made at another cost than today's (make it again at the next log-in)."""
        return self._hasher.check_needs_rehash(hashed)
