"""Whether something answers: the stack waits for conditions, never for a time."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from urllib.parse import urlsplit

POLL_SECONDS = 0.05


def get(url: str, timeout: float = 2.0) -> tuple[int, bytes] | None:
    """Status and body of a GET; None when there is no answer. Never through a proxy: all is on this machine."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/", headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def is_ready(url: str) -> bool:
    answer = get(f"{url}/readyz")
    return answer is not None and answer[0] == 200


def wait_for(condition: Callable[[], bool], seconds: float, pause: float = POLL_SECONDS) -> bool:
    """Whether `condition` came true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
