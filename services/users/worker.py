"""`python -m services.users.worker`: tells the others what happened to users, and deletes what has expired.

Nothing that happens elsewhere concerns users, so there is nothing to consume.
"""

from __future__ import annotations

import sys
from datetime import timedelta

from forum.events import Expiry, main


def expiries(keep: timedelta) -> list[Expiry]:
    return [Expiry.idempotency("users", keep), Expiry("sessions", "expires_at", keep, "users")]


if __name__ == "__main__":
    sys.exit(main("users", lambda _: {}, expiries))
