"""Whether the server in this container should get traffic: what a HEALTHCHECK runs (`python -m strangler.health`).

Exit 0 when /readyz answers 200. Sockets only: it is started every few seconds in every container, and importing an HTTP
client would cost more than all the rest.
"""

from __future__ import annotations

import os
import socket
import sys

SECONDS = 10.0
"""Longer than an answer takes when every core is busy: who hangs is found a little later, and who is slow is not given
up, which in a Swarm would mean to be replaced.
"""


def status(address: str) -> str:
    """The status line of GET /readyz on this machine, at the port of `address` (HOST:PORT). Raises OSError."""
    port = int(address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return connection.makefile("rb").readline().decode("latin-1").strip()


def main() -> int:
    address = os.environ.get("BIND", "127.0.0.1:8000")
    try:
        found = status(address)
    except (OSError, ValueError) as error:
        found = f"no answer at {address}: {error}"
    print(found)
    return 0 if found.split(" ")[1:2] == ["200"] else 1


if __name__ == "__main__":
    sys.exit(main())
