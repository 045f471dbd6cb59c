"""Which path goes where, told to Traefik through its Redis provider.

Nothing rests on when Traefik hears of it: any path leads to the owner. Routes only save the hop.
Keys: Traefik's manual, "KV Configuration Reference".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import redis as redis_client

from strangler.config import Config
from strangler.errors import AwayError, StranglerError

HEALTH_INTERVAL = "500ms"
HEALTH_TIMEOUT = "10s"
"""Longer than an answer takes when every core is busy. A server that drains or is gone says so at once; what this finds
is one that hangs, and if all are taken for that at the same time, Traefik refuses every request to the site."""


def table(config: Config, to: dict[str, str], default: str) -> dict[str, str]:
    """Path prefix -> site, for modules routed `to` a site and everything else to `default`."""
    routes = {
        route: to[module.name] for module in config.modules.values() for route in module.routes if module.name in to
    }
    return {"/": default, **routes}


def keys(
    config: Config,
    routes: dict[str, str],
    root: str = "traefik",
    sites: Collection[str] | None = None,
    spare: str | None = None,
) -> dict[str, str]:
    """The whole configuration as Traefik reads it from a key-value store.

    Each of the `sites` (all, when not given) gets an entrance on the entry point of its name, by which the sites reach
    each other.
    `spare` serves what no module has while the default is not healthy.
    """
    found: dict[str, str] = {}

    def router(name: str, rule: str, service: str, entry_point: str) -> None:
        at = f"{root}/http/routers/{name}"
        found[f"{at}/rule"] = rule
        found[f"{at}/service"] = service
        found[f"{at}/entrypoints/0"] = entry_point

    for prefix, destination in routes.items():
        if prefix == "/" and spare:
            found[f"{root}/http/services/default/failover/service"] = destination
            found[f"{root}/http/services/default/failover/fallback"] = spare
            destination = "default"
        label = "default" if prefix == "/" else prefix.strip("/").replace("/", "-").replace(".", "-")
        router(f"public-{label}", f"PathPrefix(`{prefix}`)", destination, "public")
    for name, site in config.sites.items():
        if sites is not None and name not in sites:
            continue
        try:
            servers = site.servers
        except StranglerError:  # not in this place, or not yet
            if name in routes.values():
                raise
            continue
        balancer = f"{root}/http/services/{name}/loadbalancer"
        for number, server in enumerate(servers):
            found[f"{balancer}/servers/{number}/url"] = server
        # Asked only where somebody else can serve instead: where nobody can, giving up a site that is merely slow to
        # answer would fail what only had to wait. An address that stands for many is looked after by whoever is behind
        # it, and one of them that drains is no reason to give up the rest: there, it is whether anybody answers.
        if len(servers) > 1 or (spare and name == routes["/"]):
            found[f"{balancer}/healthcheck/path"] = "/readyz" if len(servers) > 1 else "/livez"
            found[f"{balancer}/healthcheck/interval"] = HEALTH_INTERVAL
            found[f"{balancer}/healthcheck/timeout"] = HEALTH_TIMEOUT
        router(f"internal-{name}", "PathPrefix(`/`)", name, name)
    return found


def root(config: Config) -> str:
    """The key in the store under which everything of the gateway's lies."""
    return config.gateway.root if config.gateway else "traefik"


def in_use(store: Mapping[str, str], root: str = "traefik") -> dict[str, list[str]]:
    """The servers of each service that some router leads to, by its name; not of a mirror, which answers nobody."""
    at = f"{root}/http/services/"
    leads: dict[str, set[str]] = defaultdict(set)
    servers: dict[str, list[str]] = defaultdict(list)
    waiting = []
    for key, value in store.items():
        service, _, what = key.removeprefix(at).partition("/")
        if key.startswith(f"{root}/http/routers/") and key.endswith("/service"):
            waiting.append(value)
        elif key.startswith(at) and what.startswith("loadbalancer/servers/"):
            servers[service].append(value)
        elif key.startswith(at) and (
            what in ("failover/service", "failover/fallback", "mirroring/service")
            or (what.startswith("weighted/services/") and what.endswith("/name"))
        ):
            leads[service].add(value)
    found: dict[str, list[str]] = {}
    while waiting:
        service = waiting.pop().partition("@")[0]
        if service not in found:
            found[service] = sorted(servers[service])
            waiting += leads[service]
    return {service: urls for service, urls in found.items() if urls}


def stored(client: Any, root: str = "traefik") -> dict[str, str]:
    """All that the store holds of the gateway's. Raises AwayError when Redis cannot be reached."""
    try:
        keys = sorted(key.decode() for key in client.scan_iter(match=f"{root}/*", count=1000))
        values = client.mget(keys) if keys else []
    except redis_client.RedisError as error:
        raise AwayError(f"cannot reach the gateway's Redis: {error}; is it running?") from None
    return {key: value.decode() for key, value in zip(keys, values, strict=True) if value is not None}


def outdated(client: Any, found: dict[str, str], root: str = "traefik") -> tuple[dict[str, str], set[str]]:
    """What the store lacks of `found` or has otherwise, and the keys it has too many.

    Raises AwayError when Redis cannot be reached.
    """
    present = stored(client, root)
    return {key: value for key, value in found.items() if present.get(key) != value}, set(present) - set(found)


def offer(client: Any, found: dict[str, str], root: str = "traefik") -> None:
    """Make the store hold `found`, beside what else it holds. Raises AwayError when Redis cannot be reached."""
    changed, _ = outdated(client, found, root)
    try:
        if changed:
            client.mset(changed)
    except redis_client.RedisError as error:
        raise AwayError(f"cannot reach the gateway's Redis: {error}; is it running?") from None


def publish(client: Any, found: dict[str, str], root: str = "traefik") -> None:
    """Make the store hold exactly `found`, in one transaction. Writes nothing when it does already.

    Raises AwayError when Redis cannot be reached.
    """
    changed, gone = outdated(client, found, root)
    if not changed and not gone:
        return
    try:
        with client.pipeline(transaction=True) as pipe:
            if changed:
                pipe.mset(changed)
            if gone:
                pipe.delete(*gone)
            pipe.execute()
    except redis_client.RedisError as error:
        raise AwayError(f"cannot reach the gateway's Redis: {error}; is it running?") from None


def connect(config: Config) -> Any:
    """A client for the gateway's Redis. Raises StranglerError when no gateway is configured."""
    if config.gateway is None:
        raise StranglerError("strangler.toml has no [gateway]; add one with redis = ... or change the routes yourself")
    return redis_client.Redis.from_url(config.gateway.redis, socket_timeout=5, socket_connect_timeout=2)
