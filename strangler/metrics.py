"""The moves of all modules for Prometheus: `strangler metrics`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from strangler.config import Config
from strangler.errors import StranglerError
from strangler.move import Move
from strangler.status import status


class Moves(Collector):
    """Asks the databases at each scrape. A module whose databases do not answer is told by strangler_up = 0."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def describe(self) -> list[Metric]:
        """Nothing is asked at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        up = _gauge("up", "Whether both databases of the module answered", "module")
        module = {
            "epoch": _gauge("epoch", "Epoch of the ownership row: 1 and one more for each switch", "module"),
            "alarms": _gauge("alarms", "Things that somebody must look at", "module"),
            "waits": _gauge("next_command_waits", "Guards that the next command would wait for", "module"),
        }
        owner = _gauge("owner", "1 at the site that owns the module", "module", "site")
        streams = {
            "working": _gauge("stream_up", "Whether an apply worker is at work", "module", "stream"),
            "behind_bytes": _gauge("stream_behind_bytes", "Log not yet confirmed", "module", "stream"),
            "lag_seconds": _gauge("stream_lag_seconds", "Time until a change is applied", "module", "stream"),
            "kept_bytes": _gauge("slot_kept_bytes", "Log that the slot keeps", "module", "stream"),
            "errors": _gauge("stream_errors", "Errors of apply and copy so far", "module", "stream"),
        }
        conflicts = _gauge("stream_conflicts", "Conflicts so far", "module", "stream", "kind")
        rows = _gauge("rows", "Rows at the publisher, estimated", "module", "stream", "table")
        copied = _gauge("copied_rows", "Rows that are copied", "module", "stream", "table")
        with ThreadPoolExecutor(len(self._config.modules) or 1) as pool:  # one that is away keeps nobody waiting
            answers = dict(zip(self._config.modules, pool.map(self._ask, self._config.modules), strict=True))
        for name, found in answers.items():
            up.add_metric([name], float(found is not None))
            if found is None:
                continue
            module["epoch"].add_metric([name], found["epoch"])
            module["alarms"].add_metric([name], len(found["alarms"]))
            module["waits"].add_metric([name], len(found["next"]["waits_for"]))
            for site in found["sites"]:
                owner.add_metric([name, site], float(site == found["owner"]))
            for direction, stream in found["streams"].items():
                for key, gauge in streams.items():
                    if stream and stream[key] is not None:
                        gauge.add_metric([name, direction], float(stream[key]))
                for kind, number in (stream or {}).get("conflicts", {}).items():
                    conflicts.add_metric([name, direction, kind], number)
                for row in (stream or {}).get("tables", []):
                    rows.add_metric([name, direction, row["table"]], row["rows"])
                    copied.add_metric([name, direction, row["table"]], row["copied"])
        yield from (up, *module.values(), owner, *streams.values(), conflicts, rows, copied)

    def _ask(self, name: str) -> dict[str, Any] | None:
        try:
            with Move(self._config, name, exclusive=False) as move:
                return status(move)
        except StranglerError:
            return None


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"strangler_{name}", text, labels=labels)
