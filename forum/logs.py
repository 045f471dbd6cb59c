"""Logs as one JSON object a line on standard error, for whoever collects them."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from forum import tracing


class JsonFormatter(logging.Formatter):
    def __init__(self, site: str) -> None:
        super().__init__()
        self._site = site

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "site": self._site,
            "logger": record.name,
            "message": record.getMessage(),
            **tracing.ids(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(level: str, site: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(site))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
