"""What the load test says of its promises while it runs. All that the picture knows of its files is in here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import urllib3

from strangler.picture.scrape import TIMEOUT

COUNTED = ("requests", "failed", "lost", "doubled", "stale")
MORE = ("wrong", "errors", "users", "acknowledged", "t")


def promises(source: str) -> dict[str, Any] | None:
    """The counts, each None while it is not known; None when there is nothing to be had.

    source: the address of a JSON object, or the file `live.json`, beside which the report appears in the end.
    """
    live = _read(source)
    if live is None:
        return None
    found = {name: live.get(name) for name in (*COUNTED, *MORE)}
    # A run's first act is to remove an earlier one's report; so the one that is there has the last word.
    report = None if "://" in source else _read(str(Path(source).resolve().with_name("report.json")))
    if report:
        found |= {name: report.get(name) for name in COUNTED}
    return {name: value if isinstance(value, int | float) else None for name, value in found.items()}


def _read(source: str) -> dict[str, Any] | None:
    try:
        if "://" in source:
            text: str | bytes = urllib3.request("GET", source, timeout=TIMEOUT, retries=False).data
        else:
            text = Path(source).read_text()
        found = json.loads(text)
    except (OSError, ValueError, urllib3.exceptions.HTTPError):
        return None
    return found if isinstance(found, dict) else None
