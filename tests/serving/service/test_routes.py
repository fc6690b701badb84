"""Who may ask what, of each route; what answers look like; what the OpenAPI document says of them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.service.conftest import TOKEN, Served, body, until
from tests.serving.service.stubs import A, StubTable

OPEN = {"/livez", "/readyz"}


def routes(served: Served) -> dict[str, str]:
    """Every path with its method, from the router itself."""
    return {path.decode(): route.method.decode() for path, route in served.worker.app.routes.items()}


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"],
)
def test_every_route_but_the_two_probes_refuses_who_has_no_credentials(
    served: Served, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    assert set(routes(served)) > OPEN
    for path, method in routes(served).items():
        found = httpx.request(method, served.url + path, headers=headers).status_code
        assert found == (200 if path in OPEN else 401), path
    assert httpx.get(served.url + "/nothing", headers=headers).status_code == 401


def test_every_route_admits_who_has_them_however_the_scheme_is_written(served: Served) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {TOKEN}"}
        assert httpx.get(served.url + "/v1/models", headers=headers).status_code == 200


def test_the_document_describes_exactly_the_routes_and_what_they_need(served: Served) -> None:
    document = served.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    described = {path: next(iter(found)).upper() for path, found in document["paths"].items()}
    assert described == routes(served)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["security"] == ([] if path in OPEN else [{"token": []}])
    candidates = document["components"]["schemas"]["BidRequest"]["properties"]["candidates"]
    assert candidates["maxItems"] == 50


def test_every_reference_of_the_document_leads_somewhere(served: Served) -> None:
    text = served.client.get("/openapi.json").text
    known = json.loads(text)["components"]["schemas"]
    assert {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]} <= set(known)


def test_another_method_is_refused_with_the_one_that_is_answered(served: Served) -> None:
    for path, method in routes(served).items():
        found = served.client.request("PUT", path)
        assert (found.status_code, found.headers["Allow"]) == (405, method)


def test_an_unknown_path_is_refused_and_a_query_is_no_part_of_it(served: Served) -> None:
    for path in ("/", "/v1/bids/", "/v1//bids", "/v1/%62ids", "//livez", "/livez%00", "/../livez"):
        answer = served.talk(
            f"GET {path} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer.startswith(b"HTTP/1.1 404"), path
    assert served.client.get("/livez?x=1").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_a_body_that_is_not_plain_json_by_its_headers_is_refused(served: Served, headers: dict[str, str]) -> None:
    assert served.client.post("/v1/bids", content=json.dumps(body()), headers=headers).status_code == 415
    assert served.log.taken == []


def test_an_answer_ranks_the_candidates_and_says_who_decided(served: Served) -> None:
    found = served.client.post("/v1/bids", json=body("x", "y", "z"))
    assert found.status_code == 200
    answer = found.json()
    assert [bid["id"] for bid in answer["bids"]] == ["z", "y", "x"]
    assert answer["bids"][0] == {"id": "z", "bid_micros": 3000, "score": 1.5, "reason": "bid"}
    told = {name: answer[name] for name in ("version", "generation", "arm", "step", "missing")}
    assert told == {"version": A[:12], "generation": 1, "arm": "stable", "step": "model", "missing": 0}


def test_what_was_answered_is_what_is_logged_under_its_trace_id(served: Served) -> None:
    answers = [served.client.post("/v1/bids", json=body("x", "y", key=f"u{n}")).json() for n in range(3)]
    assert [decision.trace_id for decision in served.log.taken] == [answer["trace_id"] for answer in answers]
    assert len({answer["trace_id"] for answer in answers}) == 3
    decision = served.log.taken[0]
    assert (decision.digest, decision.arm_name, decision.share, decision.generation) == (A, "stable", 1.0, 1)
    assert (decision.request.key, decision.scored.bid_micros) == ("u0", [1000, 2000])
    assert json.loads(decision.body) == body("x", "y", key="u0")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b'{"key":"a"}',
        b'{"key":"a","candidates":[]}',
        b'{"key":"","candidates":[{"id":"x"}]}',
        b'{"key":"a","candidates":[{"id":"x"}],"more":1}',
        b'{"key":"a","candidates":[{"id":"x","los_nights":1e400}]}',
        b'{"key":"a","candidates":[{"id":"x","price_micros":NaN}]}',
        b'{"key":"a","candidates":[{"id":"x","price_micros":-1}]}',
        b'{"key":"a","candidates":[{"id":"x","price_micros":' + b"9" * 5000 + b"}]}",
        b'{"key":"a","candidates":[{"id":"x","check_in":"2026-02-30"}]}',
        b'{"key":"\xff","candidates":[{"id":"x"}]}',
        b'{"key":"\\ud800","candidates":[{"id":"x"}]}',
        b"\xef\xbb\xbf" + b'{"key":"a","candidates":[{"id":"x"}]}',
        b"[" * 60_000,
        b'{"key":"a","candidates":' + b"[" * 60_000,
        b'{"key":"a","user":' + b'{"partner":' * 5_000,
    ],
    ids=range(19),
)
def test_a_body_that_is_no_request_is_the_callers_error_and_is_not_told_back(served: Served, content: bytes) -> None:
    found = served.client.post("/v1/bids", content=content, headers={"Content-Type": "application/json"})
    assert found.status_code == 400
    assert len(found.content) < 300
    assert set(found.json()) == {"error", "next"}


def test_fifty_candidates_are_answered_and_fifty_one_refused(served: Served) -> None:
    many = [f"c{n}" for n in range(51)]
    assert len(served.client.post("/v1/bids", json=body(*many[:50])).json()["bids"]) == 50
    assert served.client.post("/v1/bids", json=body(*many)).status_code == 400


def test_the_numbers_add_up_in_the_form_that_prometheus_reads(served: Served) -> None:
    for _ in range(3):
        served.client.post("/v1/bids", json=body("x", "y"))
    served.client.post("/v1/bids", json={})
    text = served.client.get("/metrics").text
    found = {family.name: family for family in text_string_to_metric_families(text)}

    def value(name: str, sample: str = "", **labels: str) -> Any:
        return sum(
            one.value
            for one in found[f"bidwright_{name}"].samples
            if one.name.endswith(sample) and labels.items() <= one.labels.items()
        )

    assert value("http_responses", status="200") == 3
    assert value("http_responses", status="400") == 1
    assert value("decisions", step="model") == 3
    assert value("bids", reason="bid") == 6
    assert value("arm_requests", arm="stable") == 3
    assert value("decision_seconds", "_count") == 3
    assert value("decision_seconds", "_bucket", le="+Inf") == 3
    assert value("batch_requests", "_sum") == 3
    assert value("events", state="logged") == 3
    assert value("model_info", arm="stable", digest=A) == 1
    assert value("now", what="ready") == 1


def test_a_worker_answers_for_the_numbers_of_the_others(served: Served) -> None:
    other = {"status": {"200": 41}, "steps": [41, 0, 0, 0, 0]}
    (served._folder / "shared" / "1.json").write_text(json.dumps(other))
    (served._folder / "shared" / "2.json").write_text("{half")
    text = served.client.get("/metrics").text
    assert 'bidwright_http_responses_total{worker="1",status="200"} 41' in text
    assert 'worker="2"' not in text


def test_without_a_champion_the_service_lives_is_not_ready_and_bids_nothing(make: Any) -> None:
    served = make()
    served.source.now = type(served.source.now)(why_not="there is no champion yet")
    served.start()
    assert served.client.get("/livez").status_code == 200
    found = until(
        lambda: (answer := served.client.get("/readyz")).json().get("why") == "there is no champion yet" and answer
    )
    assert found.status_code == 503
    answer = served.client.post("/v1/bids", json=body("x")).json()
    assert (answer["step"], answer["bids"][0]["reason"], answer["bids"][0]["bid_micros"]) == ("no_bid", "no_bid", 0)


def test_with_the_last_published_bids_alone_the_service_is_ready(make: Any) -> None:
    served = make()
    served.source.now = type(served.source.now)(plan="p")
    served.source.tables = StubTable()
    served.ready()
    answer = served.client.post("/v1/bids", json=body("x")).json()
    assert (answer["step"], answer["bids"][0]["reason"]) == ("table", "fallback_table")
    assert served.log.taken[0].plan == "p"
