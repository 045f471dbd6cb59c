"""Free loopback ports, chosen once and then kept, so that addresses stay the same from one start to the next."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Set
from pathlib import Path

import psutil

FIRST = 15040
BLOCK = 64


def is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
            trial.listen()
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Who listens on `port`, as far as this account may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            here = connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,)
            if here and connection.pid:
                return f"pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "another process"


def choose(names: Iterable[str], used: Iterable[int] = ()) -> dict[str, int]:
    """A free port for each name, none of `used`, beside which they are when there is room.

    A stack takes a block in which nobody listens. So one that is up keeps all of its block, with the ports that it will
    use later, from those that come after it. Blocks are below the range that the system hands out for outgoing
    connections: a port that is chosen now and bound minutes later, under load, would else be some client's end of a
    connection by then.
    """
    wanted, used = list(names), set(used)
    room = _room(min(used) // BLOCK * BLOCK, used) if used else []
    while len(room) < len(wanted):
        block = random.randrange(FIRST // BLOCK, _first_ephemeral() // BLOCK) * BLOCK  # noqa: S311
        room = _room(block, used)
        if len(room) < BLOCK:
            room = []
    return dict(zip(wanted, room, strict=False))


def _room(block: int, used: Set[int]) -> list[int]:
    return [port for port in range(block, block + BLOCK) if port not in used and is_free(port)]


def _first_ephemeral() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:  # not Linux: the range that IANA gives
        first = 49152
    return first if first > FIRST + 2000 else 60999
