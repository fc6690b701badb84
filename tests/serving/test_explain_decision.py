"""A logged decision is made again and compared bit for bit; what cannot be made again says why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ml.cli import main
from ml.core.digests import Digest
from ml.core.errors import CorruptArtefact, NoData
from ml.lake.lake import Lake
from ml.lake.local import LocalBlobs
from ml.serving.engine_protocol import Engine
from ml.serving.event_log import events_folder
from ml.serving.event_log_frames import decode_event, encode_event
from ml.serving.explain import Explained, explain_decision, explain_event, is_trace_id
from ml.serving.messages import BidRequest, Layout, Reason, Scored, decode_request
from tests.serving.event_log_samples import Decision, segment

BODY = b'{"key":"k","candidates":[{"id":"a","value_micros":1000000},{"id":"b","value_micros":3000000}]}'
FEATURES = np.array([[0.1, 0.2, np.nan], [0.7, 0.3, 2.0]], dtype=np.float32)


class Stub:
    """Bids a share of the value that its features say, with sums that another order would round otherwise."""

    layout = Layout("float32", ("x", "y", "z"))

    def __init__(self, digest: str = "d" * 64, plan: str = "p" * 64, *, factor: float = 0.1) -> None:
        self.digest, self.plan, self.factor = Digest(digest), plan, factor

    def look_up(self, requests: Sequence[BidRequest]) -> Any:  # noqa: ARG002
        raise AssertionError("a decision is made again from what was logged")

    def decide(self, requests: Sequence[BidRequest], features: Any, *, at_us: int, pacing: float) -> list[Scored]:
        scores = [float(self.factor * x * pacing + at_us % 7) for x in features[:, 0].astype(float)]
        bids = [
            round((one.value_micros or 0) * score) for one, score in zip(requests[0].candidates, scores, strict=True)
        ]
        reasons = [Reason.DEFAULTS if np.isnan(row).any() else Reason.BID for row in features]
        return [Scored(bids, scores, [int(reason) for reason in reasons], int(np.isnan(features).sum()))]

    def intermediates(
        self, request: BidRequest, features: Any, *, at_us: int, pacing: float
    ) -> list[Mapping[str, float]]:
        (found,) = self.decide([request], features, at_us=at_us, pacing=pacing)
        return [
            {"x": float(row[0]), "z": float(row[2]), "pacing": pacing, "bid_micros": bid}
            for row, bid in zip(features, found.bid_micros, strict=True)
        ]


def decided(**other: Any) -> Decision:
    (scored,) = Stub().decide([decode_request(BODY)], FEATURES, at_us=1_772_798_400_000_003, pacing=0.875)
    scored.features = FEATURES.tobytes()
    base = {"body": BODY, "at_us": 1_772_798_400_000_003, "scored": scored}
    return Decision(**(base | other))


def explained(one: Decision, engine: Engine | None = None) -> Explained:
    return explain_event(decode_event(encode_event(one)), lambda digest, plan: engine or Stub(digest, plan))


@pytest.mark.ml_test_score("infra5")
def test_a_decision_is_made_again_to_the_last_bit_with_each_number_between() -> None:
    found = explained(decided())
    assert (found.same, found.why_not) == (True, "")
    assert [one["id"] for one in found.candidates] == ["a", "b"]
    for one in found.candidates:
        assert one["again"] == {name: one[name] for name in ("bid_micros", "score", "reason")}
        assert one["intermediates"]["bid_micros"] == one["bid_micros"]
    assert found.candidates[0]["reason"] == "defaults"
    assert found.candidates[0]["intermediates"]["z"] is None
    assert found.facts["arm_name"] == "baseline" and found.facts["share"] == 0.05


@pytest.mark.ml_test_score("infra5")
@pytest.mark.parametrize(
    ("field", "spoil"),
    [
        ("bids", lambda s: s.bid_micros.__setitem__(1, s.bid_micros[1] + 1)),
        ("scores", lambda s: s.score.__setitem__(0, float(np.nextafter(s.score[0], 9)))),
        ("reasons", lambda s: s.reasons.__setitem__(1, int(Reason.GUARD))),
        ("missing features", lambda s: setattr(s, "missing", 9)),
    ],
)
def test_the_smallest_difference_is_named(field: str, spoil: Any) -> None:
    one = decided()
    spoil(one.scored)
    found = explained(one)
    assert found.same is False
    assert found.why_not == f"{field} differ from what was logged"


def test_the_logged_pacing_and_instant_are_those_it_is_made_again_with() -> None:
    assert explained(decided(pacing=0.5)).same is False
    assert explained(decided(at_us=1_772_798_400_000_004)).same is False


def test_an_answer_of_another_warm_bundle_is_the_same_although_the_ladder_renamed_its_reason() -> None:
    one = decided(step=2)
    one.scored.reasons = [int(Reason.FALLBACK_MODEL)] * 2
    assert explained(one).same is True


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (lambda: decided(digest=""), "no model decided it"),
        (lambda: decided(body=b"{"), "the request cannot be read"),
        (
            lambda: Decision(body=BODY, scored=Scored([1, 2], [0.1, 0.2], [0, 0], 0, b"\0" * 8)),
            "2 features were logged",
        ),
    ],
)
def test_what_cannot_be_made_again_is_shown_with_the_reason(one: Any, why: str) -> None:
    found = explained(one())
    assert found.same is None
    assert why in found.why_not


def test_a_bundle_that_is_refused_is_a_finding_and_the_logged_decision_is_still_shown() -> None:
    def refused(digest: str, plan: str) -> Engine:
        raise CorruptArtefact("the bundle is not signed")

    found = explain_event(decode_event(encode_event(decided())), refused)
    assert found.same is None and "not signed" in found.why_not
    assert len(found.candidates) == 2


def test_a_trace_id_is_told_from_a_digest() -> None:
    assert is_trace_id("0" * 32)
    assert not any(is_trace_id(text) for text in ("0" * 64, "3fa9c1", "0" * 31 + "g", "A" * 32))


def test_a_decision_that_nobody_logged_is_no_data(tmp_path: Path) -> None:
    lake = Lake(LocalBlobs(tmp_path / "lake"), "m")
    with pytest.raises(NoData, match="no decision"):
        explain_decision(lake, tmp_path / "events", "0" * 32, Stub)


def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["bidwright", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capsys.readouterr().out


@pytest.mark.parametrize("factor", [0.1, 0.11])
def test_the_command_shows_it_and_fails_where_it_is_not_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setattr("ml.serving.explain.built_in_engine", lambda _: lambda *_: Stub(factor=factor))
    segment(events_folder(tmp_path, "simulator") / "0.a-000001.log", [decided(trace_id="ab" * 16)])
    code, out = command(capsys, monkeypatch, "explain", "ab" * 16, "--json")
    told = json.loads(out)
    assert (code, told["same"]) == ((0, True) if factor == 0.1 else (1, False))
    assert told["request"] == msgspec.json.decode(BODY)
    code, out = command(capsys, monkeypatch, "explain", "ab" * 16)
    assert code == (0 if factor == 0.1 else 1)
    assert ("the same to the last bit" in out) == (factor == 0.1)
    assert "pacing" in out and "logged bid_micros" in out
