"""Traces of what the platform does, by OpenTelemetry: none unless somebody says where to send them.

Spans go to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names, over OTLP; every other setting is OpenTelemetry's own
(`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SDK_DISABLED`). Where Airflow traces its tasks (its
setting `[traces] otel_on`), a use case is a part of its task's span and goes where Airflow sends its own. Without both nothing of
OpenTelemetry is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVICE: Final = "bidwright"
"""Name of the service where `OTEL_SERVICE_NAME` gives none."""
_SDK: Final = "opentelemetry.sdk.trace"

Attributes = Mapping[str, "str | int | float | bool"]


@contextmanager
def span(name: str, *, parent: str = "", **attributes: str | float) -> Iterator[None]:
    """What happens within is a span, below the one that is open, else below `parent`; an error is noted and passes on.

    Args:
        name: of the span.
        parent: a `traceparent` of another process, such as `carrier` gives.
        attributes: what it is about; no personal data and no secrets.
    """
    tracer = _tracer()
    if tracer is None:
        yield
        return
    with tracer.start_as_current_span(name, context=_context(parent), attributes=_named(attributes)):
        yield


def finished(name: str, *, parent: str, start_us: int, end_us: int, attributes: Attributes) -> None:
    """Tell of something that is over; instants in microseconds since 1970, UTC. Nothing where traces are off.

    What the parent does not want sampled, or a parent that is none, leaves no span.
    """
    tracer = _tracer()
    if tracer is None or not sampled(parent):
        return
    from opentelemetry.trace import SpanKind

    told = tracer.start_span(
        name, context=_context(parent), kind=SpanKind.SERVER, attributes=_named(attributes), start_time=start_us * 1_000
    )
    told.end(end_us * 1_000)


def sampled(parent: str) -> bool:
    """Whether a `traceparent` (W3C Trace Context) is one, and asks for spans.

    >>> sampled("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), sampled("00-1-2-01"), sampled("")
    (True, False, False)
    """
    parts = parent.split("-")
    return len(parts) >= 4 and [len(part) for part in parts[:4]] == [2, 32, 16, 2] and parts[3][1] in "13579bdf"


def carrier() -> str:
    """The `traceparent` of the span that is open, for another process; empty where none is."""
    if _tracer() is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    found: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(found)
    return found.get("traceparent", "")


def on() -> bool:
    """Whether spans are sent anywhere."""
    return _tracer() is not None


def _tracer() -> Tracer | None:
    if not _asked() and _SDK not in sys.modules:
        return None
    from opentelemetry import trace

    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        if not _asked():
            return None
        _provide()
    return trace.get_tracer(SERVICE)


@cache
def _asked() -> bool:
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not disabled and any(os.environ.get(name) for name in ENDPOINTS)


@cache
def _provide() -> None:
    """Send spans in batches from a thread; what cannot be sent is dropped, and nobody waits for it but the end of the process."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME", SERVICE)
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(_exporter()))
    trace.set_tracer_provider(provider)


def _exporter() -> SpanExporter:
    if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    return Http()


def _context(parent: str) -> Context | None:
    """The context below a parent; None, which is the present one, where a span is open or there is no parent."""
    if not parent:
        return None
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if trace.get_current_span().get_span_context().is_valid:
        return None
    return TraceContextTextMapPropagator().extract({"traceparent": parent})


def _named(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {f"bidwright.{name}": value for name, value in attributes.items()}
