"""What a person reads of an incident and does with it; and what is refused, to whom, with every word kept."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from ml.ledger import incidents, outbox
from ml.platform import Platform
from tests.plugins.conftest import AT, DAY, EVIL

BASE = "/bid-models/incidents"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def token(client: Any, number: int = 1) -> str:
    found = re.search(r'name="form_token" value="(\w+)"', client.get(f"{BASE}/{number}").text)
    assert found, "this user sees no form"
    return found[1]


def send(client: Any, action: str, number: int = 1, **fields: str) -> Any:
    fields.setdefault("form_token", token(client))
    return client.post(f"{BASE}/{number}/{action}", data=fields, follow_redirects=False)


def story(platform: Platform, number: int = 1) -> list[tuple[str, str, str]]:
    return [(note.kind, note.by, note.text) for note in incidents.notes(platform.db, platform.market, number)][1:]


def now(platform: Platform) -> incidents.Incident:
    return incidents.get(platform.db, platform.market, 1)


def test_an_incident_is_acknowledged_in_the_name_of_whoever_is_signed_in(api: Any, lived: Platform) -> None:
    done = send(api, "acknowledge", note="I look", by="somebody else")
    assert (done.status_code, done.headers["location"]) == (303, "../1#story")
    assert (now(lived).acknowledged_by, now(lived).acknowledged_at) == ("tester", AT)
    page = api.get(f"{BASE}/1").text
    assert "acknowledged by tester" in page and "I look" in page


def test_a_snooze_ends_when_the_form_says_in_utc_and_can_be_ended_before(api: Any, lived: Platform) -> None:
    assert send(api, "snooze", until="2026-03-04T08:00", why="feed is being mended").status_code == 303
    assert str(now(lived).snoozed_until) == "2026-03-04 08:00:00+00:00"
    assert "2026-03-04 08:00 UTC" in api.get(f"{BASE}/1").text
    assert send(api, "wake").status_code == 303
    assert now(lived).snoozed_until is None


def test_an_owner_is_assigned_and_a_comment_is_said_once_even_if_sent_twice(api: Any, lived: Platform) -> None:
    assert send(api, "assign", owner="anna").status_code == 303
    for _ in range(2):
        assert send(api, "comment", text="the feed\r\nis late").status_code == 303
    assert now(lived).owner == "anna"
    assert story(lived) == [("assigned", "tester", "anna"), ("comment", "tester", "the feed\nis late")]


def test_an_incident_is_ended_by_hand_with_a_reason_even_if_no_mail_server_answers(api: Any, lived: Platform) -> None:
    incidents.raise_incident(
        lived.db, lived.market, "calibration", day=DAY, severity="warning", title="Off", details={}, at=AT
    )
    assert "with a reason" in send(api, "resolve", 2, why=" ").text
    assert send(api, "resolve", 2, why="the partner mended its feed").status_code == 303
    ended = incidents.get(lived.db, lived.market, 2)
    assert ended.resolution == "the partner mended its feed"
    assert story(lived, 2)[-1] == ("resolved", "tester", "the partner mended its feed")
    assert "is resolved already" in send(api, "resolve", 2, why="again").text


def test_a_form_of_another_session_or_person_or_of_none_changes_nothing_and_gives_the_words_back(
    api: Any, lived: Platform, client_of: Any
) -> None:
    other = token(client_of("op"))
    for forged in ("", "0" * 64, other):
        answer = send(api, "comment", form_token=forged, text="do not lose me")
        assert answer.status_code == 403
        assert "nothing was saved" in answer.text and "do not lose me" in answer.text
    assert story(lived) == []


def test_a_web_server_whose_clock_is_off_writes_nothing_gives_the_words_back_and_goes_on_once_it_is_right(
    api: Any, lived: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as off:
        off.setattr(lived.db, "server_time", lambda: AT + timedelta(hours=1))
        answer = send(api, "comment", text="do not lose me")
        assert answer.status_code == 503
        assert "clock is 1:00:00 behind that of the database" in answer.text and "do not lose me" in answer.text
        assert story(lived) == []
    assert send(api, "comment", text="do not lose me").status_code == 303
    assert story(lived) == [("comment", "tester", "do not lose me")]


def test_a_form_from_another_port_of_the_same_site_is_refused(api: Any, lived: Platform) -> None:
    fields = {"form_token": token(api), "text": "from elsewhere"}
    for site in ("same-site", "cross-site"):
        answer = api.post(f"{BASE}/1/comment", data=fields, headers={"Sec-Fetch-Site": site}, follow_redirects=False)
        assert answer.status_code == 403
    assert story(lived) == []


def test_a_comment_of_two_megabytes_is_refused_and_given_back_whole(api: Any, lived: Platform) -> None:
    text = "é" * 1_000_000
    answer = send(api, "comment", text=text)
    assert answer.status_code == 400
    assert "1,000,000 characters" in answer.text and "shorten it to 10,000" in answer.text.lower()
    assert text in answer.text
    assert story(lived) == []


def test_a_body_beyond_reading_is_refused_before_it_is_read(api: Any, lived: Platform) -> None:
    answer = api.post(f"{BASE}/1/comment", content=b"text=" + b"a" * (9 * 2**20), headers=FORM)
    assert answer.status_code == 413 and "too large" in answer.text
    piece = b"a" * 2**20
    streamed = api.post(f"{BASE}/1/comment", content=(piece for _ in range(9)), headers=FORM)
    assert streamed.status_code == 413
    assert story(lived) == []


@pytest.mark.parametrize(
    ("action", "fields", "said"),
    [
        ("comment", {"text": "  "}, "without words"),
        ("snooze", {"until": "tomorrow"}, "is no end of a snooze"),
        ("snooze", {"until": "2026-03-01T08:00"}, "must end later than now"),
        ("snooze", {"until": "2027-03-01T08:00"}, "within 30 days"),
        ("snooze", {}, "is no end of a snooze"),
        ("assign", {"owner": ""}, "name is missing"),
        ("assign", {"owner": "x" * 500}, "500 characters"),
        ("delete", {}, "cannot be done"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence_and_changes_nothing(
    action: str, fields: dict[str, str], said: str, api: Any, lived: Platform
) -> None:
    answer = send(api, action, **fields)
    assert answer.status_code == 400
    assert said in answer.text
    assert story(lived) == []


def test_a_resolved_incident_takes_comments_and_nothing_that_would_quiet_it(api: Any, lived: Platform) -> None:
    incidents.resolve(lived.db, lived.market, "drift", day=DAY, at=AT, reason="it ended")
    page = api.get(f"{BASE}/1").text
    assert "it ended" in page and 'id="acknowledge-title"' not in page and 'id="comment-title"' in page
    assert "is resolved since" in send(api, "acknowledge").text
    assert send(api, "comment", text="it was the feed").status_code == 303


@pytest.mark.parametrize("number", [2, 0, 2**31, 10**30])
@pytest.mark.parametrize("path", ["{}", "../api/incidents/{}"])
def test_an_incident_that_does_not_exist_is_a_sentence(number: int, path: str, api: Any, lived: Platform) -> None:
    answer = api.get(f"{BASE}/{path.format(number)}")
    assert answer.status_code == 404
    assert f"there is no incident {number}" in answer.text
    assert send(api, "comment", number, text="hello").status_code == 404


def test_who_may_not_edit_runs_reads_everything_sees_no_form_and_is_refused(lived: Platform, client_of: Any) -> None:
    viewer = client_of("viewer")
    page = viewer.get(f"{BASE}/1")
    assert page.status_code == 200
    assert "<textarea" not in page.text and "form_token" not in page.text
    answer = viewer.post(f"{BASE}/1/comment", data={"text": "hello", "form_token": token(client_of("admin"))})
    assert answer.status_code == 403
    assert "right to edit runs" in answer.text
    assert story(lived) == []


def test_what_a_person_does_is_in_airflows_audit_log(api: Any, lived: Platform) -> None:
    assert send(api, "assign", owner="anna").status_code == 303
    logs = api.get("/api/v2/eventLogs", params={"event": "bidwright_incident", "order_by": "-event_log_id"}).json()
    newest = logs["event_logs"][0]
    assert newest["owner"] == "tester"
    assert '"action": "assign"' in newest["extra"] and "form_token" not in newest["extra"]


def test_markup_in_a_title_a_comment_or_the_evidence_is_shown_and_not_obeyed(api: Any, lived: Platform) -> None:
    details = {"reasons": [EVIL], EVIL: {EVIL: EVIL}, "charts": [series() | {"name": EVIL, "unit": EVIL}]}
    incidents.raise_incident(
        lived.db, lived.market, "drift", day=DAY, severity="critical", title=EVIL, details=details, at=AT
    )
    send(api, "comment", text=EVIL + "</textarea>")
    send(api, "assign", owner=EVIL)
    broken = send(api, "comment", form_token="", text="</textarea>" + EVIL)
    for page in (api.get(f"{BASE}/1"), api.get(BASE), broken):
        assert "<script>alert" not in page.text and "</textarea>&lt;" not in page.text.replace("</textarea>\n", "")
        assert "&lt;script&gt;alert" in page.text


def series() -> dict[str, Any]:
    return {
        "name": "Clicks",
        "unit": "a day",
        "days": ["2026-03-01", "2026-03-02"],
        "values": [4.0, None],
        "low": [3.0, 3.0],
        "high": [5.0, 5.0],
        "marked": "2026-03-02",
    }


def test_charts_money_and_evidence_are_shown_and_a_broken_chart_hides_nothing(api: Any, lived: Platform) -> None:
    broken: list[Any] = [None, {"name": "half"}, series() | {"values": None}, series() | {"days": 3}]
    details = {"reasons": ["clicks fell"], "charts": [*broken, series()], "psi": 0.31}
    incidents.raise_incident(
        lived.db, lived.market, "drift", day=DAY, severity="critical", title="Clicks fell", details=details, at=AT,
        at_stake_micros=1_234_560_000,
    )  # fmt: skip
    found = api.get(f"{BASE}/../api/incidents/1").json()
    assert [chart["title"] for chart in found["charts"]] == ["Clicks"]
    page = api.get(f"{BASE}/1").text
    for said in ("1 234.56 EUR", "clicks fell", "0.31", "Clicks", "critical"):
        assert said in page, said
    assert "1 234.56" in api.get(BASE).text


def test_the_last_mail_says_whether_it_arrived_and_how_often_it_was_tried(api: Any, lived: Platform) -> None:
    put = {"to": "ops@example.com", "text": "secret text", "html": "", "incident_id": 1, "at": AT}
    outbox.put(lived.db, key="opened", subject=f"opened {EVIL}", **put)
    [mail] = outbox.due(lived.db, AT)
    outbox.claim(lived.db, mail.id, AT)
    outbox.mark_failed(lived.db, mail.id, f"refused {EVIL}", AT)
    page = api.get(f"{BASE}/1").text
    assert "retrying" in page and "after 1 try, next 2026-03-03 01:31 UTC: refused" in page
    outbox.claim(lived.db, mail.id, AT + timedelta(hours=2))
    outbox.mark_sent(lived.db, mail.id, "<2@x>", AT + timedelta(hours=2))
    page = api.get(f"{BASE}/1").text
    assert "delivered" in page and "2026-03-03 03:30 UTC" in page
    assert "secret text" not in page and "<script>alert" not in page


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [2, 1]),
        ("state=open", [2]),
        ("state=resolved", [1]),
        ("severity=critical", [2]),
        ("cause=drift", [1]),
        ("state=open&cause=drift", []),
        ("cause=" + "x" * 5_000, []),
    ],
)
def test_the_list_is_filtered(query: str, numbers: list[int], api: Any, lived: Platform) -> None:
    incidents.resolve(lived.db, lived.market, "drift", day=DAY, at=AT, reason="over")
    incidents.raise_incident(
        lived.db, lived.market, "calibration", day=DAY, severity="critical", title="Off", details={}, at=AT
    )
    found = api.get(f"/bid-models/api/incidents?{query}").json()
    assert [one["id"] for one in found["incidents"]] == numbers
    page = api.get(f"{BASE}?{query}")
    assert page.status_code == 200
    assert ("No incident is like that" in page.text) is (not numbers)


@pytest.mark.parametrize("query", ["state=asleep", "severity=mild"])
def test_a_filter_that_there_is_not_is_said(query: str, api: Any, lived: Platform) -> None:
    answer = api.get(f"{BASE}?{query}")
    assert answer.status_code == 400 and "is no state or severity" in answer.text


def test_without_a_database_nothing_can_be_done_and_that_is_said(api: Any, platform: Platform) -> None:
    for path in ("", "/1"):
        answer = api.get(BASE + path)
        assert answer.status_code == 503 and "bidwright migrate" in answer.text
    answer = api.post(f"{BASE}/1/comment", data={"text": "hello"})
    assert answer.status_code == 503
