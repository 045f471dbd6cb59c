"""Takes traces by OTLP over HTTP, as a collector would, and keeps them."""

from __future__ import annotations

import gzip
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flask import Flask, Response, request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from werkzeug.serving import make_server


@dataclass(frozen=True)
class Span:
    """start, seconds: when it began, by the epoch, and how long it took."""

    service: str
    name: str
    id: str
    parent: str
    start: float
    seconds: float


@dataclass
class Collector:
    url: str
    traces: dict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))

    def tree(self, trace: str) -> str:
        """A trace as indented lines: service, name, milliseconds."""
        spans = sorted(self.traces[trace], key=lambda span: span.start)
        ids = {span.id for span in spans}
        lines: list[str] = []

        def show(span: Span, depth: int) -> None:
            lines.append(f"{'  ' * depth}{span.service}: {span.name}  {span.seconds * 1000:.1f} ms")
            for other in spans:
                if other.parent == span.id:
                    show(other, depth + 1)

        for span in spans:
            if span.parent not in ids:
                show(span, 0)
        return "\n".join(lines)


@contextmanager
def collecting() -> Iterator[Collector]:
    app = Flask("collector")

    @app.post("/v1/traces")
    def take() -> Response:
        body = gzip.decompress(request.data) if request.content_encoding == "gzip" else request.data
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                start, end = span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9
                found = Span(
                    names["service.name"], span.name, span.span_id.hex(), span.parent_span_id.hex(), start, end - start
                )
                collector.traces[span.trace_id.hex()].append(found)
        return Response(content_type="application/x-protobuf")

    server = make_server("127.0.0.1", 0, app, threaded=True)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield collector
    server.shutdown()
