"""What the local stack raises: one line that says what is wrong and how to mend it."""

from __future__ import annotations


class LocalError(Exception):
    """Ends a command with `code`: 2 when nothing was changed, 1 when something was tried and failed."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code
