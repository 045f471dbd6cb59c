"""Processes of a stack, found by their mark: for one whose supervisor was killed, and as the last look of `down`."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil

from local.state import MARKER, State

STORES = ("postgres", "valkey-server")
STORE_SECONDS = 20.0
APPLICATION_SECONDS = 5.0
"""How long each may take to end by itself; an application has nothing that its end could lose."""


def find(state: State, spare: int | None = None) -> list[psutil.Process]:
    """Everything that carries the stack's mark, but this process and its parents, and `spare` and its descendants.

    PostgreSQL's children write their title over their environment; they are known by their working directory.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process for process in psutil.process_iter()
        if process.pid not in own and _belongs(process, state.root) and not _is_under(process, spare)
    ]  # fmt: skip


def _is_under(process: psutil.Process, spare: int | None) -> bool:
    """Asked of each process once it has been seen: a list of descendants made before that would lack the youngest,
    and a session's process that is ended with -9 takes its whole database down. One that has gone needs no end."""
    if spare is None:
        return False
    try:
        return spare in (process.pid, *(parent.pid for parent in process.parents()))
    except psutil.Error:
        return True


def _belongs(process: psutil.Process, root: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(MARKER) == str(root):
            return True
        return process.name() == "postgres" and Path(process.cwd()).is_relative_to(root / "postgres")
    except (psutil.Error, OSError):
        return False


def end(state: State, spare: int | None = None) -> int:
    """Stop what `find` finds, applications before stores, each in its own way. Returns how many there were."""
    found = find(state, spare)
    stores = [process for process in found if _name(process) in STORES]
    for processes, seconds in (
        ([one for one in found if one not in stores], APPLICATION_SECONDS),
        (stores, STORE_SECONDS),
    ):
        for process in processes:
            how = _signal_for(process)
            if how is not None:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(how)
        _, alive = psutil.wait_procs(processes, timeout=seconds)
        _kill(alive)
    for _ in range(3):  # what those had started meanwhile
        _kill(find(state, spare))
    return len(found)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=5)


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _signal_for(process: psutil.Process) -> signal.Signals | None:
    try:
        words = process.cmdline()
    except psutil.Error:
        return None
    if "supervisor.supervisord" in words:
        return signal.SIGKILL  # it would start again what is ended
    if _name(process) == "postgres":
        # Fast shutdown: end every session, write a checkpoint. The postmaster's children follow it.
        return signal.SIGINT if "-D" in words else None
    return signal.SIGTERM


def memory(supervisor: int) -> int:
    """Bytes of memory of a supervisor and all it started, shared pages counted once (PSS)."""
    total = 0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(supervisor)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total
