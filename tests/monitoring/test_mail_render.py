"""HTML and plain text say the same, escape what they show, and need nothing from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser

import pytest

from monitoring.causes import CAUSES, meaning
from monitoring.mail.notice import Bar, Gate, Notice, bar, gate, subject_line
from monitoring.mail.render import COLOURS, render

COLUMN = {
    "name": "bookings.net_value_micros", "score": 0.5, "limit": 0.2, "before": 300e6, "now": 400e6, "numeric": True,
    "window_days": 7,
}  # fmt: skip
SHARE = {
    "name": "b.segment",
    "score": 0.1,
    "limit": 0.2,
    "before": 0.1,
    "now": 0.3,
    "numeric": False,
    "category": "Groups",
}


def notice() -> Notice:
    drawn = bar(COLUMN), bar(SHARE)
    return Notice(
        state="opened", severity="warning", kind="Drift", title="rate moved", market="hotels", day=date(2026, 5, 20),
        since=date(2026, 5, 18), summary="rate moved a lot", reasons=["rate moved by 0.5"], did="A retrain is due.",
        todo="Look at the columns.", buttons=[("Open", "http://airflow.example/dags/check_drift")],
        bars=[one for one in drawn if one], gates=[gate({"gate": "bid_change", "verdict": "FAIL", "reason": "too much", "number": 0.4, "threshold": 0.3})],
        facts=[("rows", "1,234")], number=7,
    )  # fmt: skip


class Page(HTMLParser):
    """The text of a page, its tags and its addresses."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"href", "src"} and value]
        if tag not in {"meta", "br", "wbr", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_both_parts_say_the_same() -> None:
    text, html, _ = render(notice())
    page = Page(html).text
    for said in (
        "rate moved", "hotels", "2026-05-20", "2026-05-18", "warning", "rate moved by 0.5", "2.5 times the limit",
        "0.50 against 0.20", "mean 300 → 400, last 7 days", "Groups: 10% → 30%", "A retrain is due.", "Look at the columns.",
        "bid change", "too much", "1,234", "Incident 7",
    ):  # fmt: skip
        assert said in text, said
        assert said in page, said
    assert "http://airflow.example/dags/check_drift" in text
    assert Page(html).addresses == ["http://airflow.example/dags/check_drift"]


def test_the_html_is_well_formed_tables_without_scripts_or_anything_from_elsewhere() -> None:
    page = Page(render(notice())[1])
    assert page.open == []
    assert not {"script", "link", "iframe", "form", "svg"} & set(page.tags)
    assert page.tags.count("table") > 5


def test_what_names_and_errors_contain_is_escaped_in_html_and_plain_in_text() -> None:
    nasty = "<script>alert('x')</script> & \"co\""
    evil = replace(
        notice(), title=nasty, reasons=[nasty], market=nasty, summary=nasty, did=nasty, todo=nasty, facts=[(nasty, nasty)],
        bars=[Bar(nasty, "0.1", "0.2", "2.0 times", nasty, 33, 10)], gates=[Gate(nasty, nasty, "1", "2", nasty)],
        buttons=[("Open", 'http://x/"><script>')], kind=nasty, state=nasty,
    )  # fmt: skip
    text, html, _ = render(evil)
    assert "<script" not in html
    assert nasty in text


@pytest.mark.parametrize(
    ("score", "within", "beyond"),
    [(0.0, 0, 0), (0.1, 17, 0), (0.2, 33, 0), (0.21, 33, 2), (0.4, 33, 33), (50.0, 33, 67)],
)
def test_a_bar_stays_on_its_scale(score: float, within: int, beyond: int) -> None:
    drawn = bar(COLUMN | {"score": score})
    assert drawn is not None
    assert (drawn.within, drawn.beyond) == (within, beyond)
    assert drawn.within + (33 - drawn.within) + drawn.beyond + (67 - drawn.beyond) == 100


def test_a_hair_beyond_the_limit_is_visible() -> None:
    drawn = bar(COLUMN | {"score": 0.2001})
    assert drawn is not None
    assert drawn.exceeds


@pytest.mark.parametrize("change", [{"score": None}, {"limit": None}, {"limit": 0}])
def test_a_column_without_a_limit_has_no_bar(change: dict[str, None]) -> None:
    assert bar(COLUMN | change) is None


def test_a_missing_mean_leaves_the_change_out() -> None:
    drawn = bar(COLUMN | {"before": None})
    assert drawn is not None
    assert drawn.change == "last 7 days"


def test_a_gate_without_a_number_shows_none() -> None:
    shown = gate(
        {"gate": "leakage", "verdict": "HOLD", "reason": "no evidence", "number": None, "threshold": float("nan")}
    )
    assert (shown.number, shown.limit) == ("", "")


def test_subjects_are_one_line_and_cut_with_a_mark() -> None:
    assert subject_line("warning", "a\r\n b") == "[warning] a b"
    assert subject_line("warning", "x" * 500).endswith("…")


def test_white_on_each_colour_can_be_read() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in COLOURS.values():
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5, colour


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_says_what_the_platform_did_and_what_to_do(cause: str) -> None:
    said = meaning(cause)
    assert all(len(part) > 20 for part in (said.did, said.todo))
    assert said.did.endswith(".")
    assert said.todo.endswith(".")


def test_every_stage_of_the_pipeline_has_the_dag_that_failed() -> None:
    from ml.ledger.stages import STAGES

    assert all(re.fullmatch(r"[a-z_]+", meaning(f"task:{stage}").dag) for stage in STAGES)
