"""Assignment bodies: Markdown to HTML that is safe to show (J11).

Two walls: markdown-it never passes raw HTML through, and nh3 (ammonia) lets only a short list of elements out, so that
a flaw in one of them alone shows nothing.
"""

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])

_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "img", "li", "ol", "p", "pre",
    "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_HEADINGS = ("h2", "h3", "h4", "h5", "h6")
_ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title"},
    "ol": {"start"},
    **{tag: {"id"} for tag in _HEADINGS},
}
# No id of a body can be one that our pages use themselves: what stands in a page finds its parts by them.
_ANCHOR = "section-"
_ANCHOR_LIMIT = 80
_NOT_OF_A_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Section:
    """A heading of a body: the id of its element, and its words."""

    anchor: str
    title: str


def _put_headings_in_order(tokens: list[Token]) -> None:
    """Headings from h2 on, without gaps: the page's own title is the h1, and screen readers walk by level."""
    headings = [token for token in tokens if token.type in ("heading_open", "heading_close")]
    ranks = {tag: rank for rank, tag in enumerate(sorted({token.tag for token in headings}), start=2)}
    before = 1
    for token in headings:
        level = min(ranks[token.tag], before + 1, 6) if token.type == "heading_open" else before
        token.tag = f"h{level}"
        before = level


def _slug(text: str) -> str:
    """The words of a text, lower case, with hyphens between them; letters of every script stay."""
    words = _NOT_OF_A_WORD.sub("-", unicodedata.normalize("NFKC", text).casefold()).strip("-")
    return words[:_ANCHOR_LIMIT].rstrip("-")


def _name_sections(tokens: list[Token]) -> list[Section]:
    """Gives each heading the id that its words say, with a number behind them where the same words come again."""
    found: dict[str, Section] = {}
    repeated: dict[str, int] = {}
    for heading, inline in pairwise(tokens):
        if heading.type != "heading_open":
            continue
        title = "".join(
            child.content if child.type in ("text", "code_inline", "image") else " " for child in inline.children or []
        )
        title = " ".join(title.split())
        base = _ANCHOR + (_slug(title) or "untitled")
        anchor = base
        while anchor in found:
            repeated[base] = repeated.get(base, 1) + 1
            anchor = f"{base}-{repeated[base]}"
        found[anchor] = Section(anchor, title)
        heading.attrSet("id", anchor)
    return list(found.values())


def section_of(markdown: str, name: str) -> Section | None:
    """The section that a name means: a heading's own words, in whatever case and punctuation, or its id."""
    sections = _name_sections(_PARSER.parse(markdown))
    wanted = _slug(name)
    bare = wanted.removeprefix(_slug(_ANCHOR) + "-")
    return next(
        (one for text in (wanted, bare) if text for one in sections if one.anchor == _ANCHOR + text),
        None,
    )


def _allowed(tag: str, attribute: str, value: str) -> str | None:
    """The value of an attribute, or nothing: pictures come by https only, no address is relative to our pages, and ids
    are those of sections."""
    if attribute == "id":
        return value if value.startswith(_ANCHOR) else None
    address = value.strip().lower()
    if tag == "img" and attribute == "src" and not address.startswith("https://"):
        return None
    if tag == "a" and attribute == "href" and not address.startswith(("http://", "https://", "mailto:")):
        return None
    return value


def render(markdown: str) -> SafeString:
    """The body as sanitised HTML: CommonMark with tables, links to http(s) and mailto in a new tab, https pictures.

    Headings have ids made of their words (`section_of`), the same as long as the words are the same.
    """
    tokens = _PARSER.parse(markdown)
    _put_headings_in_order(tokens)
    _name_sections(tokens)
    html = nh3.clean(
        _PARSER.renderer.render(tokens, _PARSER.options, {}),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_allowed,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}, "img": {"loading": "lazy"}},
    )
    return mark_safe(html)  # noqa: S308 - just sanitised, and the one place that may say so
