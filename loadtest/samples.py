"""One record of 24 bytes per request, appended as it happens: an hour at 70 requests/s is 6 MB, and none in memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

# The order is the file format: append only.
OPERATIONS = (
    "POST /api/users",
    "GET /api/users/{id}",
    "GET /api/users/me",
    "PATCH /api/users/{id}",
    "DELETE /api/users/{id}",
    "POST /api/sessions",
    "POST /api/sessions/refresh",
    "DELETE /api/sessions/current",
    "POST /api/topics",
    "GET /api/topics",
    "GET /api/topics/{id}",
    "PATCH /api/topics/{id}",
    "DELETE /api/topics/{id}",
    "POST /api/messages",
    "GET /api/messages",
    "GET /api/messages/{id}",
    "PATCH /api/messages/{id}",
    "DELETE /api/messages/{id}",
)
_NUMBER = {name: number for number, name in enumerate(OPERATIONS)}
_RECORD = struct.Struct("<dffHBBBxH")
_NOBODY = 255


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. Times are unix seconds; `waited` is what the caller waited for, earlier tries included."""

    began: float
    latency: float
    waited: float
    status: int
    operation: str
    failed: bool
    served_by: int | None
    visitor: int = 0  # one of the load's users

    @property
    def ended(self) -> float:
        return self.began + self.latency

    @property
    def is_write(self) -> bool:
        return not self.operation.startswith("GET ")


class SampleFile:
    """Appends; the kernel has each record at once, so that a killed load loses none."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def add(self, sample: Sample) -> None:
        served_by = _NOBODY if sample.served_by is None else min(sample.served_by, _NOBODY - 1)
        os.write(
            self._file,
            _RECORD.pack(
                sample.began, sample.latency, sample.waited, sample.status,
                _NUMBER[sample.operation], sample.failed, served_by, sample.visitor,
            ),
        )  # fmt: skip

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> SampleFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def read_samples(path: Path) -> Iterator[Sample]:
    """All whole records, in the order in which the requests ended."""
    if not path.exists():
        return
    with path.open("rb") as file:
        while chunk := file.read(_RECORD.size * 4096):
            whole = len(chunk) - len(chunk) % _RECORD.size
            for began, latency, waited, status, number, failed, by, visitor in _RECORD.iter_unpack(chunk[:whole]):
                yield Sample(
                    began, latency, waited, status, OPERATIONS[number], bool(failed), None if by == _NOBODY else by,
                    visitor,
                )  # fmt: skip
