"""What people write, as HTML: Markdown without HTML of its own, and a sanitizer behind it all the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

SHORT = 2000
"""Characters. Many texts that are no longer are kept rendered, and some of the longer ones."""

TAGS = {
    "p", "br", "em", "strong", "s", "a", "code", "pre", "blockquote", "ul", "ol", "li", "hr",
    "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip

# A line break stays one: that is how people write.
_markdown = MarkdownIt("commonmark", {"html": False, "breaks": True, "linkify": True}).enable(
    ["table", "strikethrough", "linkify"]
)
_sanitizer = nh3.Cleaner(
    tags=TAGS,
    attributes={"a": {"href"}, "ol": {"start"}, "*": set()},
    url_schemes={"http", "https", "mailto"},
    link_rel="nofollow ugc noopener noreferrer",
)


def markdown(text: str) -> Markup:
    """`text` rendered: safe to put into a page."""
    return _short(text) if len(text) <= SHORT else _long(text)


def _render(text: str) -> Markup:
    tokens = _markdown.parse(text)
    for token in tokens:
        _lower(token)
    # Safe: nothing is left but TAGS and the addresses of links.
    return Markup(_sanitizer.clean(_markdown.renderer.render(tokens, _markdown.options, {})))  # noqa: S704


def _lower(token: Token) -> None:
    """The page has its one h1 already."""
    if token.type in ("heading_open", "heading_close"):
        token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"


def _image(_: RendererHTML, tokens: Sequence[Token], index: int, *__: object) -> str:
    """A link: an image would tell another site who reads here."""
    address = tokens[index].attrGet("src")
    return str(Markup('<a href="{}">{}</a>').format(address, tokens[index].content or address))


_markdown.add_render_rule("image", _image)
_short, _long = lru_cache(2048)(_render), lru_cache(128)(_render)


@lru_cache(2048)
def _plain_short(text: str) -> str:
    return _plain(text)


def plain(text: str) -> str:
    """The words of `text` on one line, without the marks."""
    return _plain_short(text) if len(text) <= SHORT else _plain(text)


def _plain(text: str) -> str:
    words = []
    for token in _markdown.parse(text):
        if token.type == "inline":
            words += ["".join(child.content or " " * child.type.endswith("break") for child in token.children or [])]
        elif token.type in ("fence", "code_block"):
            words += [token.content]
    return " ".join(" ".join(words).split())
