"""Traces by OpenTelemetry, out by OTLP: through pages, applications, the facade's forwards, and events.

Off, and not even imported, unless OTEL_EXPORTER_OTLP_ENDPOINT is set. What else can be set is the SDK's own:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/. Context travels as W3C `traceparent`:
in HTTP headers, in a column of the outbox, and in a field of the stream's entries.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flask import Flask

UNTRACED = "livez,readyz,metrics"


def on() -> bool:
    return bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")) and os.environ.get("OTEL_SDK_DISABLED") != "true"


def start(site: str) -> None:
    """Once in a process, before it connects to anything."""
    if not on():
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    provider = TracerProvider(resource=Resource.create({"service.name": site}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    for instrumentor in (RequestsInstrumentor, URLLib3Instrumentor, PsycopgInstrumentor):
        instrumentor().instrument()


def init_app(app: Flask, site: str) -> None:
    """A span for each request to `app`, and for each that it makes, of HTTP and PostgreSQL; after all other hooks."""
    if not on():
        return
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    start(site)
    FlaskInstrumentor().instrument_app(app, excluded_urls=UNTRACED)  # type: ignore[no-untyped-call]
    # Before the facade, so that what it hands on belongs to the span.
    hooks = app.before_request_funcs[None]
    hooks.insert(0, hooks.pop())


def traceparent() -> str | None:
    """What goes on here, as W3C Trace Context writes it; None when it is not traced."""
    if not on():
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


@contextmanager
def handling(name: str, traceparents: Sequence[str | None]) -> Iterator[None]:
    """A span for handling events together: below the first one's, linked to those of the others."""
    known = [each for each in traceparents if each]
    if not on() or not known:
        yield
        return
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    first, *others = [TraceContextTextMapPropagator().extract({"traceparent": each}) for each in known]
    links = [trace.Link(trace.get_current_span(each).get_span_context()) for each in others]
    tracer = trace.get_tracer(__name__)
    with tracer.start_as_current_span(name, context=first, links=links, kind=trace.SpanKind.CONSUMER):
        yield


def ids() -> dict[str, str]:
    """trace_id and span_id for a line of a log; nothing outside a trace."""
    if not on():
        return {}
    from opentelemetry import trace

    here = trace.get_current_span().get_span_context()
    if not here.is_valid:
        return {}
    return {"trace_id": trace.format_trace_id(here.trace_id), "span_id": trace.format_span_id(here.span_id)}
