"""The lifecycle through a real scheduler, seen where people see it: the web UI, the mailbox, the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local import web
from local.mailbox_page import mails, read_mail
from ml.core.verdict import Verdict

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from ml.ledger.decisions import Decision

DAYS = (date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4))
FIRST, LAST = DAYS[0], DAYS[-1]
ROOT = Path(__file__).parents[2]

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def page(demo: Any) -> Iterator[Page]:
    """A browser, signed in as the demo's user."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine; `make test` installs it where it may")
    with web.chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        page.goto(demo.url)
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", demo.password)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Bid models")
        yield page


EVERY_DAY = [
    "check_drift",
    "ingest_market",
    "materialize_features",
    "publish_bids",
    "settle_outcomes",
    "train_bid_model",
]


def judged(demo: Any) -> list[Decision]:
    """Every decision of the days; the last one made a champion, those before it held their candidates."""
    from ml.ledger import decisions

    platform = demo.platform()
    ordered = sorted(decisions.latest(platform.db, platform.market, 9), key=lambda decision: decision.day)
    assert [decision.verdict for decision in ordered[:-1]] == [Verdict.HOLD] * (len(ordered) - 1)
    assert ordered[-1].verdict is Verdict.PASS
    return ordered


@pytest.mark.ml_test_score("infra3")
def test_every_dag_ran_once_for_each_day_and_publication_again_for_a_new_champion(demo: Any) -> None:
    decided = {decision.day: decision.verdict for decision in judged(demo)}
    with demo.client() as client:
        runs = {day: client.runs(day.isoformat()) for day in DAYS}
    assert {run.state for day in runs.values() for run in day} == {"success"}
    for day in DAYS:
        promotion = ["promote_bid_model"] if day in decided else []
        again = ["publish_bids"] if decided.get(day) is Verdict.PASS else []
        assert sorted(run.dag_id for run in runs[day]) == sorted([*EVERY_DAY, *promotion, *again])


def test_the_ledger_says_who_is_champion_since_when_and_why(demo: Any) -> None:
    from ml.ledger import champion, decisions

    platform = demo.platform()
    live = champion.on_day(platform.db, platform.market, LAST)
    assert live is not None
    last = judged(demo)[-1]
    assert (live.generation, live.since, live.digest, live.decision_id) == (1, last.day, last.candidate, last.id)
    decision = decisions.get(platform.db, live.decision_id)
    assert {gate["verdict"] for gate in decision.gates} == {"PASS"}


@pytest.mark.ml_test_score("infra3")
def test_the_bids_of_each_day_are_the_champions_and_before_there_is_one_nothing_is_published(demo: Any) -> None:
    from ml.ledger import champion, publications

    platform = demo.platform()
    live = champion.current(platform.db, platform.market)
    assert live is not None
    for day in DAYS:
        published = publications.for_day(platform.db, platform.market, day)
        if day < live.since:
            assert published == []
            continue
        assert sorted(one.partner for one in published) == ["google", "tripadvisor", "trivago"]
        for one in published:
            assert (one.version, one.generation) == (live.digest, live.generation)
            lines = platform.blobs.get(f"{one.uri}/bids.csv").decode().splitlines()
            assert len(lines) == one.rows + 1 > 100
            assert platform.blobs.list(f"{one.uri}/partner/")


def test_every_decision_was_told_by_mail_once(demo: Any) -> None:
    """Through a real SMTP server; what the outbox holds as sent is what arrived."""
    from ml.ledger import outbox

    platform = demo.platform()
    arrived = [read_mail(file) for file in mails(demo.stack.mail)]
    assert outbox.pending(platform.db) == []
    assert sorted(str(m["Message-ID"]) for m in arrived) == sorted(m.message_id for m in outbox.sent(platform.db))
    promotions = [m for m in arrived if "romot" in str(m["Subject"])]
    assert len(promotions) == len(judged(demo))
    html = promotions[0].get_body(("html",))
    assert html is not None
    assert f"{demo.url}/" in html.get_content()


def test_the_page_in_the_web_ui_shows_champion_days_and_evidence(demo: Any, page: Page) -> None:
    from ml.ledger import champion

    platform = demo.platform()
    live = champion.current(platform.db, platform.market)
    assert live is not None
    page.click("text=Bid models")
    page.wait_for_url("**/plugin/bid-models**")
    frame = page.frame_locator("iframe")
    frame.locator(f"text={live.digest[:10]}").first.wait_for()
    for day in DAYS:
        assert frame.locator(f"a:has-text('{day}')").count() >= 1
    for figure in ("Spend", "Bookings", "Profit", "Share of O2"):
        drawn = frame.get_by_role("img", name=f"{figure}:")
        drawn.locator("canvas").wait_for()  # the script draws after the page has come
        assert drawn.is_visible() and drawn.locator("canvas").count() == 1
    frame.locator(f"a:has-text('decision {live.decision_id}')").first.click()
    frame.locator(f"h1:has-text('Decision {live.decision_id}')").wait_for()
    rows = frame.locator("tr:has(.badge)")
    assert rows.count() >= 5


def test_the_drift_report_is_drawn_inside_the_page(demo: Any, page: Page) -> None:
    page.goto(f"{demo.url}/plugin/bid-models/bid-models/reports/{LAST}")
    report = page.frame_locator("iframe").frame_locator("iframe")
    report.locator("text=Drift").first.wait_for()


def test_a_task_links_to_the_page(demo: Any) -> None:
    with demo.client() as client:
        [run] = [run for run in client.runs(LAST.isoformat()) if run.dag_id == "check_drift"]
        run_id = run.run_id.replace("+", "%2B")
        links = client.get(f"/dags/check_drift/dagRuns/{run_id}/taskInstances/drift/links")
    assert links["extra_links"] == {"Bid models": "/plugin/bid-models"}


def test_the_mailbox_page_shows_the_mail(demo: Any, page: Page) -> None:
    page.goto(f"http://127.0.0.1:{demo.stack.ports().mailbox}/")
    page.click("table a >> nth=0")
    page.frame_locator("iframe").locator("body").wait_for()


def test_status_on_the_command_line_tells_the_same(demo: Any) -> None:
    argv = [sys.executable, "-m", "ml.cli", "status", "--json"]
    done = subprocess.run(argv, cwd=ROOT, env=demo.env(), capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert [row["day"] for row in told["days"]] == [day.isoformat() for day in DAYS]
    assert told["champion"]["generation"] == 1
    assert told["mail"]["waiting"] == 0
    for row in told["days"]:
        assert row["spend_micros"] > 0 and row["bookings"] > 0 and isinstance(row["profit_micros"], int)
        assert 0.3 < row["share_of_o2"] < 1.1


def test_the_same_command_again_finds_everything_done_and_says_where_it_is(demo: Any) -> None:
    before = demo.stack.supervisor.running()
    with demo.client() as client:
        runs = len(client.runs(FIRST.isoformat()))
    with demo.command("demo", "--days", "3") as command:
        said, _ = command.communicate(timeout=300)
    assert command.returncode == 0, said
    assert demo.url in said
    assert demo.stack.supervisor.running() == before
    with demo.client() as client:
        assert len(client.runs(FIRST.isoformat())) == runs
