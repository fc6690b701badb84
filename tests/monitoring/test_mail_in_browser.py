"""Mails as Chromium shows them: nothing cut, everything readable, the first screen enough, no request to anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from local.web import FLAGS, chromium
from tests.monitoring.picture_mails import KINDS, PHONE, TURNED, WIDE, page_of, page_of_mail
from tests.monitoring.test_mail_kinds import made

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(
    shutil.which("chromium") is None,
    reason="there is no chromium on this machine; `make test` installs it where it may",
)

DESK_HEIGHT, PHONE_HEIGHT = 900, 844

CONTRASTS = """() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((s, c, i) => s + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => { for (let e = element; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c; } return [255, 255, 255, 1]; };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const bad = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement, style = getComputedStyle(element);
    if (!node.textContent.trim() || element.offsetHeight < 2 || style.opacity === '0') continue;
    const [a, b] = [light(parse(style.color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push([node.textContent.trim().slice(0, 40), style.color, ratio.toFixed(2)]);
  }
  return bad;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@contextmanager
def opened(
    browser: Browser, html: str, *, width: int, height: int = DESK_HEIGHT, scheme: Any = "light"
) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, offline=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_content(html)
    yield page
    assert [url for url in asked if not url.startswith(("data:", "about:"))] == []
    context.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_nothing_is_cut_or_wider_than_the_screen_and_every_picture_is_there(
    browser: Browser, kind: str, width: int
) -> None:
    with opened(browser, page_of(kind), width=width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).length") == 0
        sizes = page.evaluate("[...document.images].map(i => [i.width, i.height])")
        assert all(200 < wide <= 320 and 40 < high < 100 for wide, high in sizes)


@pytest.mark.parametrize("kind", ["opened", "approval", "digest"])
def test_words_without_a_space_do_not_make_a_phone_scroll_sideways(browser: Browser, kind: str) -> None:
    with opened(browser, page_of_mail(*made(kind, "w" * 250)), width=PHONE) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_can_be_read_in_light_and_dark(browser: Browser, kind: str, scheme: str) -> None:
    """Contrast of 4.5 to 1 or more (WCAG AA)."""
    with opened(browser, page_of(kind), width=WIDE, scheme=scheme) as page:
        assert page.evaluate(CONTRASTS) == []


@pytest.mark.parametrize("kind", ["opened", "worsened", "escalated", "approval", "stopped"])
def test_the_first_screen_answers_and_has_the_buttons(browser: Browser, kind: str) -> None:
    with opened(browser, page_of(kind), width=WIDE) as page:
        low = page.evaluate("Math.max(...[...document.links].slice(0, 2).map(a => a.getBoundingClientRect().bottom))")
        assert low <= DESK_HEIGHT
    with opened(browser, page_of(kind), width=PHONE, height=PHONE_HEIGHT) as page:
        box = page.get_by_text("What you should do").bounding_box()
        assert box is not None
        assert box["y"] <= PHONE_HEIGHT


def test_a_button_is_large_enough_for_a_thumb(browser: Browser) -> None:
    with opened(browser, page_of("opened"), width=PHONE) as page:
        heights = page.evaluate("[...document.links].slice(0, 4).map(a => a.getBoundingClientRect().height)")
        assert min(heights) >= 38


def test_a_mail_that_is_turned_dark_by_its_reader_keeps_pictures_and_width(browser: Browser) -> None:
    turned = browser.browser_type.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, TURNED])
    with opened(turned, page_of("opened"), width=PHONE) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
        assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    turned.close()
