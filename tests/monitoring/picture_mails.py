"""Pictures of every kind of mail, taken in Chromium: to be looked at by whoever changes a mail, and for the docs.

`python -m tests.monitoring.picture_mails FOLDER` takes each kind at both widths, light, dark, and turned dark by the
reader's program. `--docs docs/images` takes the two pictures that the documentation shows.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from local.mailbox_page import html_of
from local.web import chromium
from ml.ledger.outbox import Mail
from monitoring.mail.message import build
from monitoring.mail.render import Rendered
from tests.monitoring.sample_mails import DAY, DIGESTS, NOTICES, subject_and_mail

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDE, PHONE = 640, 390
HEIGHT = 800
TURNED = "--blink-settings=forceDarkModeEnabled=true"
"""What Gmail on a phone and Outlook do: light and dark are swapped, and the mail is not asked."""

KINDS = (*NOTICES, *DIGESTS)


def page_of(kind: str) -> str:
    """The HTML of a kind of mail as a reader's program shows it."""
    return page_of_mail(*subject_and_mail(kind))


def page_of_mail(subject: str, rendered: Rendered) -> str:
    """The same of any mail: built as a message, its pictures put in."""
    text, html, attachments = rendered
    at = datetime(DAY.year, DAY.month, DAY.day, 23, tzinfo=UTC)
    mail = Mail(
        id=1, key="incident/ab12/opened", to="team@example.com", subject=subject, text=text, html=html,
        attachments=tuple(attachments), incident_id=None, market_day=DAY, message_id="<1@bidwright>", created_at=at, next_at=at,
        attempts=0, last_error="", sent_at=None,
    )  # fmt: skip
    shown = html_of(build(mail, sender="bidwright@localhost"))
    assert shown is not None
    return shown


def take(browser: Browser, kind: str, file: Path, *, width: int, scheme: str = "light", height: int = 0) -> None:
    """A picture of a mail, or of its first `height` pixels, without scripts and without a network as mail programs show it."""
    context = browser.new_context(
        viewport={"width": width, "height": height or HEIGHT},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=False,
        offline=True,
        device_scale_factor=1,
    )
    page = context.new_page()
    page.set_content(page_of(kind))
    page.screenshot(path=file, full_page=not height)
    context.close()


def take_all(folder: Path, kinds: Sequence[str] = KINDS) -> None:
    """Every kind at both widths, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for kind in kinds:
            for scheme in ("light", "dark"):
                for width in (WIDE, PHONE):
                    take(browser, kind, folder / f"{kind}-{width}-{scheme}.png", width=width, scheme=scheme)
    with chromium(TURNED) as browser:
        for kind in kinds:
            take(browser, kind, folder / f"{kind}-{PHONE}-turned.png", width=PHONE)


def take_docs(folder: Path) -> None:
    """The two pictures of the documentation: an incident's first mail, and the daily digest."""
    with chromium() as browser:
        take(browser, "opened", folder / "mail-incident.png", width=WIDE, height=745)
        take(browser, "digest", folder / "mail-digest.png", width=WIDE)


def main() -> None:
    """Take what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.monitoring.picture_mails", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", action="store_true", help="only the documentation's pictures")
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    options = parser.parse_args()
    if options.docs:
        take_docs(options.folder)
    else:
        take_all(options.folder, options.kinds)


if __name__ == "__main__":
    main()
