"""gunicorn's configuration for an application that may be replaced at any time without a failed request.

    gunicorn -c python:strangler.gunicorn 'monolith.app:create_app()'

On SIGTERM readiness falls at once, the server goes on serving for DRAIN_SECONDS so that every gateway has seen it, and
only then stops accepting, finishes what it has, and exits. Kubernetes does the waiting with a preStop sleep: there set
DRAIN_SECONDS=0. The keep-alive is longer than a gateway's idle time-out, so that the server never closes first.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

from strangler import drain

bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WORKERS", "1"))
threads = int(os.environ.get("THREADS", "8"))
worker_class = "gthread"
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112
keepalive = 75
graceful_timeout = int(os.environ.get("GRACEFUL_SECONDS", "20"))
timeout = 60
accesslog = os.environ.get("ACCESS_LOG") or None
control_socket_disable = True

_drain_seconds = float(os.environ.get("DRAIN_SECONDS", "5"))


def pre_request(worker: Any, request: Any) -> None:  # noqa: ARG001
    """While draining, every answer is the last on its connection: nobody is on one when the server closes it."""
    if drain.draining():
        request.force_close()


def when_ready(server: Any) -> None:
    """Put the drain before gunicorn's own handling of SIGTERM (which is in place by now)."""
    stop = signal.getsignal(signal.SIGTERM)

    def term(number: int, frame: FrameType | None) -> None:
        if drain.draining() or _drain_seconds <= 0:
            drain.begin()
            stop(number, frame)  # type: ignore[operator, misc]
            return
        server.log.info("Draining for %s s", _drain_seconds)
        drain.begin()
        signal.setitimer(signal.ITIMER_REAL, _drain_seconds)

    def over(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        stop(signal.SIGTERM, frame)  # type: ignore[operator, misc]

    signal.signal(signal.SIGALRM, over)
    signal.signal(signal.SIGTERM, term)
