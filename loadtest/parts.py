"""A load that several processes make: each writes a ledger and samples of its own, and here they are read as one.

The master's folder has `ledger-N.jsonl` and `samples-N.bin` for worker N, as far as they came. The numbers of sites
and visitors are the worker's own, so that those of worker N are moved up.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterator
from pathlib import Path

from loadtest.ledger import KEPT_FAILURES, History, read_ledger
from loadtest.plan import Folder
from loadtest.samples import Sample, read_samples

SITES, VISITORS = 256, 65536  # numbers that one worker may use


def read_history(folder: Folder) -> History:
    """All ledgers of the run."""
    whole = read_ledger(folder.ledger)
    parts = _workers(folder, "ledger-*.jsonl")
    for worker, path in parts.items():
        part = read_ledger(path)
        whole.writes |= part.writes
        whole.violations += part.violations
        whole.errors += part.errors
        whole.failures = [*whole.failures, *part.failures][:KEPT_FAILURES]
        whole.sites |= {_moved(worker, number): name for number, name in part.sites.items()}
        whole.versions |= {_moved(worker, number): version for number, version in part.versions.items()}
    if parts:
        whole.writes = dict(sorted(whole.writes.items(), key=lambda item: item[1].began))
    return whole


def read_all_samples(folder: Folder) -> Iterator[Sample]:
    """All samples of the run, in the order in which the requests ended."""
    parts = [read_samples(folder.samples)]
    parts += [_of_worker(worker, path) for worker, path in _workers(folder, "samples-*.bin").items()]
    return heapq.merge(*parts, key=lambda sample: sample.ended)


def _workers(folder: Folder, pattern: str) -> dict[int, Path]:
    found = {path.stem.rpartition("-")[2]: path for path in folder.path.glob(pattern)}
    return {int(number): path for number, path in sorted(found.items()) if number.isdecimal()}


def _of_worker(worker: int, path: Path) -> Iterator[Sample]:
    for sample in read_samples(path):
        moved = None if sample.served_by is None else _moved(worker, sample.served_by)
        yield dataclasses.replace(sample, served_by=moved, visitor=VISITORS * worker + sample.visitor)


def _moved(worker: int, number: int) -> int:
    return SITES * worker + number
