"""A notice as HTML and as plain text that says the same."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from monitoring.mail.notice import Notice

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"

COLOURS = {"critical": "#b42318", "warning": "#b54708", "info": "#175cd3", "resolved": "#067647"}
"""Of the band at the top; white text on each has a contrast of 5 to 1 or more."""


def render(notice: Notice) -> tuple[str, str]:
    """The plain text and the HTML of a notice. Whatever a name or an error contains is escaped in the HTML."""
    environment = _environment()
    values = {"notice": notice, "colour": COLOURS.get(notice.severity, COLOURS["info"])}
    text = environment.get_template("notice.txt.j2").render(values)
    return text, environment.get_template("notice.html.j2").render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), disabled_extensions=("txt.j2",), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
