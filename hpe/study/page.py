"""One self-contained HTML file: the files of page/ put together, with sections and data filled in."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "page"


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    name: str
    """Its anchor."""
    title: str
    """Its heading."""
    body: str
    """HTML."""

    def html(self) -> str:
        """The section."""
        return f'<section id="{self.name}"><h2>{html.escape(self.title)}</h2>{self.body}</section>'


def make_page(title: str, lead: str, sections: Sequence[Section], models: str, footer: str) -> str:
    """The page. `lead`, `footer`: HTML; `models`: the JSON of hpe.study.page_data."""
    links = [("ship", "Which one do I ship?"), *((section.name, section.title) for section in sections)]
    parts = {
        "title": html.escape(title),
        "lead": lead,
        "links": "".join(f'<a href="#{name}">{html.escape(text)}</a>' for name, text in links),
        "style": _read("page.css"),
        "script": _read("page.js"),
        "sections": "\n".join(section.html() for section in sections),
        "models": models,
        "footer": footer,
    }
    return fill(_read("page.html"), parts)


def fill(template: str, parts: Mapping[str, str]) -> str:
    """The template with each {{name}} replaced by its part, once: what a part holds is not looked at again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda hit: parts[hit[1]], template)


def paragraphs(*texts: str) -> str:
    """Plain texts as paragraphs; empty ones are left out."""
    return "".join(f"<p>{html.escape(text)}</p>" for text in texts if text)


def bullets(texts: Sequence[str]) -> str:
    """Plain texts as a list."""
    return '<ul class="plain">' + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>"


def figure(title: str, svg: str) -> str:
    """A drawing under its title; the title is also what a screen reader says."""
    named = svg.replace('role="img"', f'role="img" aria-label="{html.escape(title)}"', 1)
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{named}</figure>"


def picture(path: Path, title: str) -> str:
    """A PNG as part of the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(title)}" src="data:image/png;base64,{data}">'


def folded(title: str, body: str) -> str:
    """HTML that opens on a click."""
    return f"<details><summary>{html.escape(title)}</summary>{body}</details>"


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
