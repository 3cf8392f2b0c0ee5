"""A model's card for the page."""

from __future__ import annotations

from bcdseg.extras import require
from bcdseg.model.model import Model


def card_html(model: Model) -> str:
    """The card as HTML. A card comes with its model: markup in it stays text, and pictures are left out."""
    markdown = require("markdown_it", extra="app", purpose="The page").MarkdownIt("commonmark", {"html": False})
    text = model.card.partition("---\n")[2].partition("---\n")[2]  # without the hub's metadata
    html: str = markdown.enable("table").disable("image").render(text)
    return html
