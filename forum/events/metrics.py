"""How far behind a site's events are, for Prometheus: shown by the application, because its worker listens to nobody.

Every process of a site shows the same, so take the maximum over them; of a module only its owner's do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis import Redis, RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from forum.events import lag
from strangler.config import Module

logger = logging.getLogger(__name__)


class Events(Collector):
    """Looks when it is asked. What cannot be had, because PostgreSQL or Redis is away, is left out."""

    def __init__(self, site: str, engine: Engine, redis: Redis, modules: Mapping[str, Module]) -> None:
        self._site = site
        self._engine = engine
        self._redis = redis
        self._modules = modules

    def collect(self) -> Iterator[Metric]:
        try:
            yield from self._outbox()
            yield from self._groups()
        except (SQLAlchemyError, RedisError) as error:
            logger.warning("the lag of events cannot be had: %s", error)

    def _outbox(self) -> Iterator[Metric]:
        outbox = lag.of_outbox(self._engine)
        waiting = GaugeMetricFamily("forum_events_outbox_waiting", "Events not yet published.", labels=["site"])
        waiting.add_metric([self._site], outbox.waiting)
        age = GaugeMetricFamily("forum_events_outbox_age_seconds", "Age of the oldest of these.", labels=["site"])
        age.add_metric([self._site], outbox.seconds)
        yield from (waiting, age)

    def _groups(self) -> Iterator[Metric]:
        groups = lag.of_groups(self._engine, self._redis, lag.owned(self._engine, self._site, self._modules))
        gauges = {
            "undelivered": "Events in the stream that the module has not read.",
            "pending": "Events that the module has read and not acknowledged.",
            "age_seconds": "Age of the oldest of these in the stream.",
            "parked": "Events that the module has put aside.",
        }
        for key, words in gauges.items():
            gauge = GaugeMetricFamily(f"forum_events_{key}", words, labels=["module"])
            for group in groups:
                gauge.add_metric([group.module], group.seconds if key == "age_seconds" else getattr(group, key))
            yield gauge
        handled = CounterMetricFamily(
            "forum_events_handled", "Events that the module has acknowledged.", labels=["module"]
        )
        for group in groups:
            if group.handled is not None:
                handled.add_metric([group.module], group.handled)
        yield handled
