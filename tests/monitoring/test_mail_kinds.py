"""Every kind of mail: both parts say everything, nothing is obeyed, nothing is endless, nothing comes from elsewhere."""

from __future__ import annotations

import io
import re
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP, default
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from ml.ledger.outbox import Mail
from monitoring.mail import charts, digest, render
from monitoring.mail.bounds import MAIL_BYTES, cut, mail_bytes, safe_links
from monitoring.mail.charts import chart, shown
from monitoring.mail.digest import Against, Digest, Item, MarketLine, digest_subject, render_digest
from monitoring.mail.message import build
from monitoring.mail.notice import Bar, Gate, subject_line
from monitoring.mail.render import Rendered
from monitoring.series import Series
from tests.monitoring import sample_mails
from tests.monitoring.sample_mails import DIGESTS, NOTICES, drift, series, subject_and_mail

KINDS = [*NOTICES, *DIGESTS]
TICK_NOTE = "The tick is the limit: how far the column moved by itself in the weeks before, with a margin."
NASTY = "<script>alert('x')</script><img src=x onerror=y> & \"co\" \r\nBcc: all@example.com\x00\x1b[31m"


def written(rendered: Rendered, subject: str = "subject", to: str = "team@example.com", **given: Any) -> Mail:
    text, html, attachments = rendered
    at = datetime(2026, 3, 7, tzinfo=UTC)
    values: dict[str, Any] = {
        "id": 1, "key": "incident/ab12/opened", "to": to, "subject": subject, "text": text, "html": html,
        "attachments": tuple(attachments), "incident_id": 7, "market_day": None, "message_id": "<1@bidwright>", "created_at": at,
        "next_at": at, "attempts": 0, "last_error": "", "sent_at": None,
    }  # fmt: skip
    return Mail(**(values | given))


class Page(HTMLParser):
    """The words of a page, and each tag with its attributes, as a program reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag != "wbr":
            self.pieces.append(" ")

    def handle_endtag(self, _tag: str) -> None:
        self.pieces.append(" ")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] != "style":
            self.pieces.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.pieces).split())


def words(html: str) -> str:
    return Page(html).words


def poisoned(value: Any, poison: str, *, name: str = "") -> Any:
    """The same with poison in every text; severities, colours and days stay what they are."""
    if isinstance(value, str):
        return value if name in {"severity", "tone"} else poison
    if isinstance(value, tuple | list):
        return type(value)(poisoned(one, poison, name=name) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {field.name: poisoned(getattr(value, field.name), poison, name=field.name) for field in fields(value)}
        return replace(value, **changed)
    return value


def made(kind: str, poison: str) -> tuple[str, Rendered]:
    if kind in DIGESTS:
        evil = poisoned(DIGESTS[kind](), poison)
        return digest_subject(evil), render_digest(evil)
    notice = poisoned(NOTICES[kind](), poison)
    return subject_line(notice.state, f"{notice.kind} in {notice.market}: {notice.title}"), render.render(notice)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_the_html_says_the_plain_text_says_too(kind: str) -> None:
    _, (text, html, _) = subject_and_mail(kind)
    page = words(html)
    for own in (charts.CHART_NOTE, TICK_NOTE, "Also moved", "Also"):
        page = page.replace(own, "")

    def said(part: str) -> set[str]:
        return {word.strip(".,;:()+") for word in re.split(r"[\s·]+", part.lower())}

    assert said(page) - said(text) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mail_asks_nothing_of_another_host_and_runs_nothing(kind: str) -> None:
    _, (_, html, attachments) = subject_and_mail(kind)
    page = Page(html)
    assert not {"script", "link", "iframe", "form", "svg", "object", "video", "base"} & {tag for tag, _ in page.tags}
    assert not [name for _, given in page.tags for name in given if name.startswith("on")]
    assert not re.search(r"url\(|@import|@font-face", html)
    assert [given["src"] for _, given in page.tags if "src" in given] == [f"cid:{cid}" for cid, _, _ in attachments]
    assert all(len(given["alt"]) > 20 for tag, given in page.tags if tag == "img")


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_style_sheet_a_mail_loses_only_its_own_dark_colours(kind: str) -> None:
    """Gmail and Outlook drop it: every colour and size is on the tags."""
    _, (_, html, _) = subject_and_mail(kind)
    sheet = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)[0]
    assert set(re.findall(r"@[\w-]+[^{]*", sheet)) == {"@media (prefers-color-scheme: dark) "}
    for tag, given in Page(html).tags:
        if "class" in given:
            assert "color" in given["style"], (tag, given)


@pytest.mark.parametrize("kind", KINDS)
def test_names_errors_and_comments_are_shown_and_never_obeyed(kind: str) -> None:
    subject, (text, html, attachments) = made(kind, NASTY)
    assert "<script" not in html
    assert not [name for _, given in Page(html).tags for name in given if name.startswith("on")]
    assert "&lt;script&gt;" in html
    assert "<script>" in text
    assert "\x00" not in text + html
    assert "\x1b" not in text + html
    message = build(written((text, html, attachments), subject=subject), sender="bidwright@localhost")
    back = message_from_bytes(message.as_bytes(policy=SMTP), policy=default)
    assert back["Bcc"] is None
    assert "\n" not in str(back["Subject"])


@pytest.mark.parametrize("field", ["subject", "to", "key"])
def test_no_field_of_a_mail_can_add_a_header(field: str) -> None:
    evil = {
        "subject": "x\r\nBcc: all@example.com",
        "to": "a@example.com\r\nBcc: all@example.com",
        "key": "x\r\nBcc: b@c/1/2",
    }
    mail = written(("text", "<p>html</p>", []), **{field: evil[field]})
    try:
        back = message_from_bytes(build(mail, sender="b@localhost\r\nBcc: b@c").as_bytes(policy=SMTP), policy=default)
    except ValueError:
        return  # refused: such a mail waits and says why
    assert back["Bcc"] is None
    assert len(back.get_all("To")) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "poison", ["x" * 2_000_000, "<&>'\"" * 400_000, "ü→" * 1_000_000], ids=["long", "escaped", "wide"]
)
def test_a_text_of_two_megabytes_makes_no_mail_above_the_bound(kind: str, poison: str) -> None:
    subject, rendered = made(kind, poison)
    message = build(written(rendered, subject=subject), sender="bidwright@localhost")
    assert len(message.as_bytes(policy=SMTP)) <= mail_bytes(*rendered) <= MAIL_BYTES
    assert len(subject) <= 160
    assert "…" in rendered[0]


def test_pictures_are_left_out_before_words_are(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = render.render(drift())
    assert len(whole[2]) == 3
    monkeypatch.setattr(render, "MAIL_BYTES", mail_bytes(whole[0], whole[1], []) + 10_000)
    text, html, attachments = render.render(drift())
    assert attachments == []
    assert "cid:" not in html
    assert text == whole[0]
    assert "usual 1,861 to 2,275" in words(html)
    monkeypatch.setattr(digest, "MAIL_BYTES", 60_000)
    assert render_digest(sample_mails.digest())[2] == []


def test_a_hundred_of_everything_is_cut_and_says_so() -> None:
    many = replace(
        drift(),
        reasons=[f"reason {n}" for n in range(5_000)],
        facts=[(f"fact {n}", "x" * 500) for n in range(5_000)],
        gates=[Gate(f"gate {n}", "PASS", "1", "2", "y" * 500) for n in range(5_000)],
        bars=[Bar(f"bar {n}", "1", "2", "3", "z", 10, 0) for n in range(5_000)],
        charts=[series(f"chart {n}", "", 1, 2) for n in range(50)],
    )
    rendered = render.render(many)
    assert mail_bytes(*rendered) <= MAIL_BYTES
    items = [Item("critical", "critical", f"incident {n}") for n in range(500)]
    text, html, _ = render_digest(Digest(date(2026, 3, 7), [], incidents=items))
    for part in (text, html):
        assert "… and 460 more" in part
    assert "500 incidents open, 500 critical" in digest_subject(Digest(date(2026, 3, 7), [], incidents=items))


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "x",
        "",
        "https://x/\r\nBcc: y",
        "https://" + "x" * 3_000,
    ],
)
def test_a_button_leads_to_the_web_or_is_not_there(address: str) -> None:
    assert safe_links([("Open", address)]) == []
    _, html, _ = render.render(replace(drift(), buttons=[("Trap", address)], runbook=("Trap", address)))
    assert "Trap" not in html


def test_first_comes_what_it_costs_what_moved_what_was_done_what_to_do_and_where() -> None:
    page = words(render.render(drift())[1]).partition("At stake")[2]
    order = ["1,240 EUR", "Rivals are 7 % cheaper than in the same weeks before; clicks fell, what our own feeds say did not. What moved",
             "usual 0.92 to 1.07", "clicks 1,468 a day", "What the platform did by itself", "What you should do", "Incident 7",
             "Drift report", "Open the run in Airflow", "Runbook", "Also"]  # fmt: skip
    places = [page.index(said) for said in order]
    assert places == sorted(places)


def test_a_short_reason_before_the_cause_does_not_push_it_off_the_first_screen() -> None:
    short = replace(drift(), reasons=["Nobody answered for 60 minutes.", *drift().reasons])
    page = words(render.render(short)[1])
    assert page.index("Nobody answered") < page.rindex("Rivals are 7 %") < page.index("What moved")
    assert page.index("2 of 19 columns") > page.index("Drift report")


def test_what_stops_a_candidate_comes_before_what_passed() -> None:
    gates = [Gate(verdict.lower(), verdict, "", "", "") for verdict in ("PASS", "HOLD", "PASS", "FAIL", "odd")]
    text, _, _ = render.render(replace(drift(), gates=gates))
    assert re.findall(r"^- (PASS|HOLD|FAIL|odd) ", text, flags=re.MULTILINE) == ["FAIL", "HOLD", "odd", "PASS", "PASS"]


def test_a_chart_is_a_small_picture_without_a_ground_of_its_own() -> None:
    """It lies on the reader's ground, light or dark; the same numbers give the same bytes."""
    drawn = [chart(series("clicks", "", 2_000, 0.7), severity="critical") for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] is not None
    assert len(drawn[0]) < 40_000
    with Image.open(io.BytesIO(drawn[0])) as picture:
        assert picture.size == (2 * charts.WIDTH, 2 * charts.HEIGHT)
        assert picture.convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize(
    "series",
    [
        Series("none", "", [], []),
        Series("one", "", [date(2026, 3, 1)], [1.0]),
        Series("gaps", "", [date(2026, 3, 1), date(2026, 3, 2)], [None, None]),
        Series("odd", "", [date(2026, 3, 1), date(2026, 3, 2)], [float("nan"), float("inf")]),
    ],
    ids=lambda series: series.name,
)
def test_a_series_with_nothing_to_draw_is_said_in_words(series: Series) -> None:
    assert chart(series, severity="info") is None
    said = shown(series, position=1, severity="info")
    assert said.png is None
    assert said.cid == ""
    text, html, attachments = render.render(replace(drift(), charts=[series]))
    assert attachments == []
    assert series.name in text
    assert series.name in words(html)


def test_a_flat_series_a_band_without_ends_and_a_mark_elsewhere_are_drawn() -> None:
    days = [date(2026, 3, 1) + timedelta(days=n) for n in range(30)]
    flat = Series("flat", "", days, [0.0] * 30, [None] * 30, [1.0] * 30, marked=date(2020, 1, 1))
    assert chart(flat, severity="critical") is not None
    assert shown(flat, position=1, severity="critical").usual == ""


def test_the_marked_day_is_told_where_it_has_a_number_else_the_last_day_that_has() -> None:
    days = [date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)]
    for marked, told in (
        (days[1], "2.00 on 2026-03-02"),
        (days[2], "2.00 on 2026-03-02"),
        (days[0], "1.00 on 2026-03-01"),
    ):
        series = Series("x", "", days, [1.0, 2.0, None], marked=marked)
        assert shown(series, position=1, severity="info", drawn=False).said == told


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (Against(110_000_000, 100_000_000), "+10% of plan 100 EUR"),
        (Against(110_000_000, None), "no plan"),
        (Against(None, 100_000_000), "plan 100 EUR"),
        (Against(110_000_000, 0), "plan 0.00 EUR"),
        (Against(-50_000_000, -100_000_000), "+50% of plan -100 EUR"),
    ],
)
def test_a_digest_says_what_was_done_against_the_plan(pair: Against, said: str) -> None:
    none = Against(None)
    text, html, _ = render_digest(Digest(date(2026, 3, 7), [MarketLine("m", "EUR", pair, none, none)]))
    assert said in text
    assert said in words(html)


def test_a_digest_has_the_colour_of_its_gravest_incident() -> None:
    def band(tones: list[str]) -> str:
        made = Digest(date(2026, 3, 7), [], incidents=[Item(tone, tone, "x") for tone in tones])
        return re.findall(r'<td align="left" bgcolor="(#\w+)"', render_digest(made)[1])[0]

    assert band([]) == render.COLOURS["resolved"]
    assert band(["info", "critical", "warning"]) == render.COLOURS["critical"]


def test_a_mail_says_that_a_machine_wrote_it_and_to_which_list_it_belongs() -> None:
    message = build(written(render.render(drift())), sender="Bidwright <bids@example.com>")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["List-Id"] == "Bidwright incident mails <incident.bidwright.example.com>"
    assert message["References"] == message["In-Reply-To"] == "<incident-ab12@bidwright>"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_mail_is_the_same_bytes_however_often_it_is_built(kind: str) -> None:
    subject, rendered = subject_and_mail(kind)
    mail = written(rendered, subject=subject)
    assert build(mail, sender="b@localhost").as_bytes(policy=SMTP) == build(mail, sender="b@localhost").as_bytes(
        policy=SMTP
    )


def test_every_line_on_the_wire_is_one_that_servers_take() -> None:
    """998 bytes at most (RFC 5322); a word of 2,000 characters included."""
    subject, rendered = made("opened", "w" * 2_000)
    message = build(written(rendered, subject=subject), sender="b@localhost").as_bytes(policy=SMTP)
    assert max(map(len, message.split(b"\r\n"))) <= 998


def test_what_is_cut_is_marked_and_what_no_mail_may_hold_is_left_out() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"
    assert cut("a\x00b\x07c\n", 10) == "abc\n"
    assert cut(7, 3) == "7"
