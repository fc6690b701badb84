"""The OpenAPI document, made from the very types that parse requests and write answers."""

from __future__ import annotations

from typing import Any

import msgspec

from ml.serving.answers import Answer, Fault
from ml.serving.limits import Limits
from ml.serving.messages import BidRequest

_TYPES = (BidRequest, Answer, Fault)
_REFUSALS = {
    "400": "The body is not such a request, or not HTTP",
    "401": "No credentials that count",
    "408": "The request took too long to arrive",
    "413": "The body is too large",
    "415": "The body is not plain JSON",
    "429": "More is asked than can be answered in time; see Retry-After",
    "431": "The head is too large",
}


def document(limits: Limits, *, token: bool, certificates: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the service.

    Args:
        limits: those that callers meet.
        token: whether a bearer token is needed.
        certificates: whether a client certificate is needed.
    """
    schemas, components = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    request, answer, fault = schemas
    security: list[dict[str, list[str]]] = [
        {name: [] for name, needed in (("token", token), ("certificate", certificates)) if needed}
    ]
    refusals = {code: _answer(text, fault) for code, text in _REFUSALS.items()}
    bids = {
        "summary": "Bids for the candidates of one search, the best first",
        "description": (
            f"The body has at most {limits.body} bytes. {limits.deadline_s * 1000:g} ms after the head arrived the answer is "
            "an explicit no-bid. Whatever fails here is answered with 200 and a reason."
        ),
        "operationId": "bids",
        "security": security,
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {"200": _answer("One bid per candidate", answer), **refusals},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Bidwright bid service", "version": "1"},
        "paths": {
            "/v1/bids": {"post": bids},
            "/v1/models": {"get": _page("What serves: bundles, generations, arms, shares, what was refused", security)},
            "/metrics": {"get": _page("Numbers of all workers, as Prometheus reads them", security, "text/plain")},
            "/openapi.json": {"get": _page("This document", security)},
            "/livez": {"get": _page("200 while the process answers", [])},
            "/readyz": {"get": _page("200 when it can bid; else 503, and why", [])},
        },
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "certificate": {"type": "mutualTLS"},
            },
        },
    }


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _page(summary: str, security: list[dict[str, Any]], kind: str = "application/json") -> dict[str, Any]:
    return {
        "summary": summary,
        "security": security,
        "responses": {"200": {"description": summary, "content": {kind: {}}}},
    }
