"""supervisord: keeps the programs running, and is told over a unix socket what to start and stop."""

from __future__ import annotations

import hashlib
import http.client
import os
import shlex
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from local.errors import LocalError
from local.layout import Program
from local.state import CHECKOUT, MARKER, State

POLL_SECONDS = 0.05
LIVE = ("STARTING", "RUNNING", "BACKOFF")
DOWN = ("STOPPED", "EXITED", "FATAL")


class NoAnswerError(LocalError):
    """There is no supervisord, or it is not able to answer."""


class Supervisor:
    """The supervisord of one state directory."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.directory = state.root / "supervisor"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """In the state directory, unless its path is longer than a socket's may be (sun_path)."""
        path = self.directory / "supervisor.sock"
        if len(os.fsencode(path)) < 90:
            return path
        digest = hashlib.sha256(os.fsencode(self.state.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"strangler-{os.geteuid()}-{digest}.sock"

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self.socket}")
        proxy = xmlrpc.client.ServerProxy("http://supervisor", transport=transport)
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise NoAnswerError(f"supervisord does not answer ({error}); run: strangler-local up", 1) from None

    def answers(self) -> bool:
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except NoAnswerError:
            return False

    def start(self, programs: Mapping[str, Program]) -> None:
        """Start supervisord, in a session of its own so that Ctrl-C does not reach it. It starts no program yet."""
        self.write(programs)
        environment = {
            name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ
        }
        environment |= {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", MARKER: str(self.state.root)}
        log = self.state.logs / "supervisord.out"
        with log.open("wb") as out:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self.directory / "supervisord.conf")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.state.root, env=environment,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace").strip().splitlines()[:1]
                raise LocalError(f"supervisord did not start: {' '.join(said) or 'no answer'} ({log})", 1)
            time.sleep(POLL_SECONDS)

    def write(self, programs: Mapping[str, Program]) -> None:
        """The configuration: one file for itself, one for each program."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        parts = self.directory / "programs"
        parts.mkdir(mode=0o700, exist_ok=True)
        for old in parts.glob("*.conf"):
            if old.stem not in programs:
                old.unlink()
        for program in programs.values():
            self.state.replace(parts / f"{program.name}.conf", self._section(program))
        owner = "user=root\n" if os.geteuid() == 0 else ""
        self.state.replace(
            self.directory / "supervisord.conf",
            f"[unix_http_server]\nfile={_plain(self.socket)}\nchmod=0600\n\n"
            f"[supervisord]\nlogfile={_plain(self.state.logs / 'supervisord.log')}\nlogfile_maxbytes=5MB\n"
            f"pidfile={_plain(self.directory / 'supervisord.pid')}\nnodaemon=true\nminfds=1024\n{owner}\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\n"
            # Relative to this file: here a blank separates names.
            f"[include]\nfiles={parts.name}/*.conf\n",
        )

    def _section(self, program: Program) -> str:
        environment = {MARKER: str(self.state.root)} | dict(program.environment)
        pairs = ",".join(f'{name}="{_plain(value)}"' for name, value in environment.items())
        lines = {
            "command": _plain(shlex.join(program.command)),
            "directory": _plain(CHECKOUT if program.user is None else "/"),
            "environment": pairs,
            # Relative to the state directory, where supervisord works: it expands this name twice.
            "stdout_logfile": f"{self.state.logs.name}/{program.name}.log",
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": "1",
            "redirect_stderr": "true",
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "1",
            "startretries": "5",
            "stopsignal": program.stop_signal,
            "stopwaitsecs": str(program.stop_seconds),
            "killasgroup": "true",
        }
        if program.user:
            lines["user"] = program.user
        return f"[program:{program.name}]\n" + "".join(f"{name}={value}\n" for name, value in lines.items())

    def apply(self, programs: Mapping[str, Program]) -> None:
        """Take over changed sections. Programs that run keep the old one until they are started again."""
        self.write(programs)
        added, changed, removed = self._call("reloadConfig")[0]
        for name in (*changed, *removed):
            if self.info(name)["statename"] in DOWN:
                self._call("removeProcessGroup", name)
        for name in (*added, *changed):
            if name in programs and name not in self.all():
                self._call("addProcessGroup", name)

    def all(self) -> dict[str, dict[str, Any]]:
        return {entry["name"]: entry for entry in self._call("getAllProcessInfo")}

    def info(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._call("getProcessInfo", name)
        return found

    def running(self) -> set[str]:
        return {name for name, entry in self.all().items() if entry["statename"] in LIVE}

    def pid(self) -> int:
        return int(self._call("getPID"))

    def run(self, name: str) -> None:
        """Start a program unless it runs. Does not wait until it answers."""
        self._settle(name)
        if self.info(name)["statename"] not in LIVE:
            self._call("startProcess", name, False)

    def stop(self, names: Iterable[str], servers: Collection[str] = ()) -> None:
        """Stop programs together, and wait until they have ended (supervisord kills what takes too long).

        servers: those that are gunicorns and are to end at once, without drain and whatever they are doing.
        """
        wanted = set(names)
        ending = [name for name, entry in self.all().items() if name in wanted and entry["statename"] not in DOWN]
        for name in ending:
            self._tell("stopProcess", name, False)
        for name in ending:
            if name in servers:
                self._tell("signalProcess", name, "INT")
        for name in ending:
            self._settle(name)

    def _tell(self, method: str, *arguments: Any) -> None:
        """Say something to a program that may have ended by itself just now."""
        try:
            self._call(method, *arguments)
        except xmlrpc.client.Fault as fault:
            if "NOT_RUNNING" not in fault.faultString:
                raise

    def _settle(self, name: str) -> None:
        while self.info(name)["statename"] == "STOPPING":
            time.sleep(POLL_SECONDS)

    def shutdown(self, seconds: float = 10.0) -> None:
        """End supervisord itself; returns when it has gone or the time is over."""
        try:
            pid = self.pid()
            self._call("shutdown")
        except NoAnswerError:
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                return
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(POLL_SECONDS)


def _plain(value: object) -> str:
    """A value in supervisord's configuration, where % starts an expansion."""
    text = str(value)
    if '"' in text or "\n" in text:
        raise LocalError(f"the path or value {text!r} has a quote or a line end, which supervisord cannot take")
    return text.replace("%", "%%")
