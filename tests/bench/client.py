"""Requests to a server, as fast as it answers, over connections that stay: a client that costs little itself.

A process of its own (`python -m tests.bench.client HOST PORT SECONDS CONNECTIONS PATH...`), so that it does not share
the measuring process's lock; it says as JSON how long each answer took, in ms.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Load:
    """What came of it. seconds: how long it went on; times: of each request, in ms."""

    seconds: float
    times: list[float]

    @property
    def rate(self) -> float:
        return len(self.times) / self.seconds

    @property
    def p50(self) -> float:
        return median(self.times)

    @property
    def p95(self) -> float:
        return quantiles(self.times, n=20)[-1]


def load(url: str, paths: Sequence[str], seconds: float, connections: int) -> Load:
    """Ask `url` for `paths` in turns. Raises RuntimeError when an answer is not a 200."""
    parts = urlsplit(url)
    words = [str(parts.hostname), str(parts.port), str(seconds), str(connections), *paths]
    done = subprocess.run([sys.executable, "-m", "tests.bench.client", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{url}: {done.stderr.strip().splitlines()[-1:]}")
    return Load(**json.loads(done.stdout))


def _main(host: str, port: str, seconds: str, connections: str, *paths: str) -> None:
    requests = [f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for path in paths]
    until = time.perf_counter() + float(seconds)
    found: list[list[float]] = [[] for _ in range(int(connections))]
    failed: list[Exception] = []

    def ask(number: int) -> None:
        try:
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                _repeat(connection, requests, number, until, found[number])
        except (OSError, ValueError) as error:
            failed.append(error)

    began = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(int(connections))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(f"{failed[0]}")
    times = [each for one in found for each in one]
    print(json.dumps({"seconds": time.perf_counter() - began, "times": times}))


def _repeat(connection: socket.socket, requests: list[bytes], number: int, until: float, times: list[float]) -> None:
    answer = connection.makefile("rb")
    while (began := time.perf_counter()) < until:
        request = requests[number % len(requests)]
        number += 1
        connection.sendall(request)
        status = answer.readline()
        length = -1
        while (line := answer.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = answer.read(length)
        if b" 200 " not in status or length < 1:
            raise ValueError(f"{request!r} was answered {status!r} {body[:200]!r}")
        times.append((time.perf_counter() - began) * 1000)


if __name__ == "__main__":
    _main(*sys.argv[1:])
