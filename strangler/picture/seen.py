"""What has been looked at, before anybody makes a picture of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from strangler.picture.scrape import Key, Window

APPLICATION = "strangler_application_info"
APPLICATION_NAMES = (APPLICATION, "strangler_request_seconds_bucket", "strangler_call_seconds_bucket")
SERVER_UP = "traefik_service_server_up"
GATEWAY_NAMES = (
    SERVER_UP, "traefik_entrypoint_request_duration_seconds_bucket", "traefik_service_request_duration_seconds_bucket",
)  # fmt: skip


@dataclass(frozen=True)
class Instance:
    """One address of a site's: whether it answers, and who it says it is."""

    address: str
    up: bool
    name: str | None = None
    version: str | None = None
    window: Window | None = None
    site: str | None = None


@dataclass(frozen=True)
class Gateway:
    up: bool | None = None
    """None: nobody knows where it is."""
    samples: Mapping[Key, float] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    """Of each of its processes."""

    def ready(self) -> dict[str, bool]:
        """Server's address -> whether the gateway sends it requests."""
        found = {}
        for (name, labels), value in self.samples.items():
            if name == SERVER_UP:
                found[dict(labels)["url"].rstrip("/")] = value > 0
        return found


@dataclass(frozen=True)
class Seen:
    gateway: Gateway = Gateway()
    sites: Mapping[str, list[Instance]] = field(default_factory=dict)
    """Empty: nobody has that name."""
    modules: Mapping[str, dict[str, Any] | None] = field(default_factory=dict)
    databases: Mapping[str, bool | None] = field(default_factory=dict)
    redis: bool | None = None
    services: Mapping[str, str] = field(default_factory=dict)
    """The site behind each service of the gateway's. Of others it is the one of that name."""
    default: str | None = None
    """Where the gateway's store says that all other paths go."""
    promises: Mapping[str, Any] | None = None
    doors: frozenset[str] = frozenset({"public"})
    """The gateway's entry points by which people come in."""
    came_lately: bool = False
    """Whether people came through these not long ago."""
