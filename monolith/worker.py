"""`python -m monolith.worker`: relays the outbox, handles the events of topics and messages, deletes what has expired.

`--drained` exits 0 when the outbox has nothing left to publish, else 1: before that the monolith must not go.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta

from forum.events import Expiry, main
from monolith.handlers import HANDLERS


def expiries(keep: timedelta) -> Sequence[Expiry]:
    return [
        *(Expiry.idempotency(module, keep) for module in ("users", "topics", "messages")),
        *(Expiry.inbox(module, keep) for module in ("topics", "messages")),
        Expiry("sessions", "expires_at", keep, "users"),
    ]


if __name__ == "__main__":
    sys.exit(main("monolith", lambda _: HANDLERS, expiries))
