"""What the kit raises. Each message is one line: what is wrong, where, and the mend."""

from __future__ import annotations


class StranglerError(Exception):
    """Bad input or a state in which the command cannot work: exit code 2, nothing changed."""


class AwayError(StranglerError):
    """Something is not there that may come: a database, its tables, the end of another controller's work."""


class NotYetError(StranglerError):
    """A check did not pass (a lag, a difference, a lock not had): exit code 1, try again later."""
