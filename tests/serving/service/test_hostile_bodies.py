"""Whatever a client sends, it hears 200 or that it is wrong, and the next caller is answered as before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.service.conftest import TOKEN, Served, body

EXAMPLES = 300
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
KEPT = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]

texts = st.text(max_size=70)
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([0, -0.0, 10**400, 1e308, -1]))
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))
candidates = st.fixed_dictionaries(
    {"id": texts | leaves},
    optional={
        "hotel_id": texts | values,
        "check_in": st.dates().map(str) | values,
        "los_nights": numbers | values,
        "price_micros": numbers | values,
        "rival_price_micros": numbers,
        "default_date": st.booleans() | values,
        "value_micros": numbers,
    },
)
requests = st.fixed_dictionaries(
    {"key": texts | leaves, "candidates": st.lists(candidates, max_size=52) | values},
    optional={"user": st.dictionaries(st.sampled_from(["partner", "market", "device", "country", "x"]), values)},
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A request whose bytes were cut, doubled or changed."""
    whole = bytearray(json.dumps(draw(requests)).encode())
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(whole) - 1, 0)))
        length = draw(st.integers(0, 8))
        whole[at : at + length] = draw(st.binary(max_size=8) | st.just(bytes(whole[at : at + length]) * 2))
    return bytes(whole)


bodies = st.one_of(requests.map(lambda one: json.dumps(one).encode()), mutated(), st.binary(max_size=300))


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(Path(tmp_path_factory.mktemp("steady"))).ready()
    yield served
    served.close()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=KEPT)
@given(content=bodies)
def test_no_body_makes_the_service_fail(steady: Served, content: bytes) -> None:
    found = steady.client.post("/v1/bids", content=content, headers=HEADERS)
    assert found.status_code in {200, 400, 413}
    if found.status_code == 200:
        assert len(found.json()["bids"]) == len(json.loads(content)["candidates"])


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=KEPT)
@given(sent=st.lists(st.sampled_from([b"POST", b"GET", b" ", b"/v1/bids", b"/livez", b" HTTP/1.1\r\n", b"\r\n", b":",
    b"Content-Length", b"Transfer-Encoding", b"chunked", b"5", b"0", b"{}", b"Connection", b"close", b"Upgrade",
    b"Expect: 100-continue\r\n", b"\x00", b"\xff", b"x" * 300]) | st.binary(max_size=20), max_size=30))  # fmt: skip
def test_no_bytes_make_the_service_fail_nor_hang(steady: Served, sent: list[bytes]) -> None:
    answer = steady.talk(b"".join(sent), end=True)
    assert b"HTTP/1.1 5" not in answer


def test_after_all_that_the_next_caller_is_answered(steady: Served) -> None:
    assert httpx.post(f"{steady.url}/v1/bids", json=body(), headers=HEADERS).status_code == 200
    assert {500, 503} & set(steady.worker.counters.status) == set()
