"""What the mirror leads to: asks both versions the same, old, new, old again, and counts whether they answer the same.

    OLD=http://... NEW=http://... gunicorn ... 'compare:app'

Where the old version's two answers differ from each other somebody wrote in between, and it does not count. Fields
that only the new version has are no difference. Like `faulty.py` it is one file, for the image of any service.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import requests
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest

SECONDS = Histogram("rollout_seconds", "Time to answer.", ["version"], buckets=(0.1, 0.3, 1.2, 5.0))
ANSWERS = Counter("rollout_answers", "Answers by version and status; 0 for none.", ["version", "status"])
COMPARED = Counter("rollout_compared", "Pairs of answers: same, different, or written to in between.", ["outcome"])
PASSED_ON = ("Accept", "Authorization")
LATE = {"views"}
"""Each process shows these as they were some seconds ago (forum/viewcounts.py): two of one version differ, too."""
session = requests.Session()
session.trust_env = False  # no proxy stands between the versions and us


def ask(version: str, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    began = time.perf_counter()
    try:
        answer = session.get(os.environ[version.upper()] + path, headers=headers, timeout=10)
        found = answer.status_code, answer.json() if answer.content else None
    except (requests.RequestException, ValueError):
        found = 0, None
    SECONDS.labels(version).observe(time.perf_counter() - began)
    ANSWERS.labels(version, found[0]).inc()
    return found


def agrees(old: Any, new: Any) -> bool:
    """Whether `new` says all that `old` says; it may say more, and what is LATE otherwise."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and (name in LATE or agrees(value, new[name])) for name, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(agrees(a, b) for a, b in zip(old, new, strict=True))
    return bool(old == new)


def compare(path: str, headers: dict[str, str]) -> None:
    first, new, again = (ask(version, path, headers) for version in ("old", "new", "old"))
    same, still = (first[0] == other[0] and agrees(first[1], other[1]) for other in (new, again))
    COMPARED.labels("same" if same else "different" if still else "written").inc()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path in ("/metrics", "/readyz"):
        start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
        return [generate_latest()]
    query = environ.get("QUERY_STRING", "")
    if path.rpartition("/")[2].isdecimal():  # a look of ours is no view of the topic's
        query = f"{query}&peek=1".lstrip("&")
    found = {name: environ.get(f"HTTP_{name.upper()}", "") for name in PASSED_ON}
    compare(f"{path}?{query}", {name: value for name, value in found.items() if value})
    start_response("204 No Content", [])
    return []
