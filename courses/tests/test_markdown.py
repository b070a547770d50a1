"""Bodies of assignments: what is kept, and that nothing in them can act."""

from html.parser import HTMLParser

import pytest

from courses.markdown import render, section_of

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<math><mtext></p><style><img src=x onerror=alert(1)></style></mtext></math>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](java&#x0A;script:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:msgbox(1))",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,PHN2Zy8+)",
    "![x](http://plain.example/tracker.png)",
    '[x](https://a.example "onclick=alert(1)")',
    '[x](https://a.example "\\" onmouseover=alert(1) x=\\"")',
    '![a" onerror="alert(1)](https://a.example/i.png)',
    "[x](/launches/somebody-elses)",
    "[x](//evil.example)",
    "`<script>alert(1)</script>`",
    '```"><script>alert(1)</script>\nx\n```',
    "| <script>alert(1)</script> | b |\n|---|---|\n| <img src=x onerror=alert(1)> | <form action=//evil> |",
    "<form action=https://evil.example><input name=password></form>",
    "<style>body{display:none}</style>",
    "<base href=https://evil.example>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "x\n=\n<script>alert(1)</script>",
    "<!--><script>alert(1)</script>-->",
    "[a]: javascript:alert(1)\n\n[a]",
]

ALLOWED = {
    "a", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "img", "li", "ol", "p", "pre",
    "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip


class Collector(HTMLParser):
    def __init__(self):
        super().__init__()
        self.elements = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


def elements_of(markdown):
    collector = Collector()
    collector.feed(render(markdown))
    return collector.elements


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_acts(attack):
    for tag, attributes in elements_of(attack):
        assert tag in ALLOWED
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcdoc", "class")]
        assert attributes.get("id", "section-").startswith("section-")
        assert attributes.get("href", "https://").startswith(("http://", "https://", "mailto:"))
        assert attributes.get("src", "https://").startswith("https://")


def test_common_markup_is_kept():
    html = render(
        "# Title\n\nSome *words* and **more**, `code`.\n\n1. one\n2. two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    for part in (
        '<h2 id="section-title">Title</h2>',
        "<em>words</em>",
        "<strong>more</strong>",
        "<code>code</code>",
        "<ol>",
        "<td>1</td>",
    ):
        assert part in html


def test_headings_follow_the_pages_title_without_gaps():
    headings = [tag for tag, _ in elements_of("### a\n\n###### b\n\n# c\n\n### d\n")]
    assert headings == ["h2", "h3", "h2", "h3"]


def anchors(markdown):
    return [attributes["id"] for tag, attributes in elements_of(markdown) if tag.startswith("h")]


def test_headings_have_ids_of_their_words():
    assert anchors(
        "# Getting *started*: `make demo`\n\n## 第一章\n\n### Größe_2\n\n# ![A map](https://a.example/i.png)"
    ) == [
        "section-getting-started-make-demo",
        "section-第一章",
        "section-grösse-2",
        "section-a-map",
    ]


def test_the_same_words_again_get_a_number_and_no_two_ids_are_one():
    assert anchors("# Tasks\n\n# Tasks\n\n# Tasks 2\n\n# !!!\n\n# ???") == [
        "section-tasks",
        "section-tasks-2",
        "section-tasks-2-2",
        "section-untitled",
        "section-untitled-2",
    ]


@pytest.mark.parametrize(
    "heading",
    [
        '# "><script>alert(1)</script>',
        "# main",
        "# <b id=work>x</b>",
        "# " + "long " * 100,
        "# [x](javascript:alert(1))",
    ],
)
def test_ids_are_safe_whatever_the_heading_says(heading):
    (anchor,) = anchors(heading)
    assert anchor.startswith("section-")
    assert len(anchor) <= 90
    assert not set(anchor) & set("<>\"'&# ")
    assert f'id="{anchor}"' in render(heading)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Getting started", "Getting started!"),
        ("getting-started", "Getting started!"),
        ("  GETTING   STARTED ", "Getting started!"),
        ("#section-getting-started", "Getting started!"),
        ("section-getting-started", "Getting started!"),
        ("Tasks-2", "Tasks"),
        ("section tasks", "Section: Tasks"),
        ("第一章", "第一章"),
        ("", None),
        ("!!", None),
        ("Getting", None),
        ("no such page\x00", None),
    ],
)
def test_a_section_is_found_by_its_words_or_its_id(name, title):
    body = "# Getting started!\n\nx\n\n## Tasks\n\n## Tasks\n\n## Section: Tasks\n\n第一章\n===\n"
    found = section_of(body, name)
    assert (found.title if found else None) == title
    if found:
        assert f'id="{found.anchor}"' in render(body)


def test_links_open_apart_and_do_not_leak():
    [(_, _), (tag, attributes)] = elements_of("[site](https://a.example/x?y=1&z=2)")
    assert tag == "a"
    assert attributes["href"] == "https://a.example/x?y=1&z=2"
    assert attributes["target"] == "_blank"
    assert set(attributes["rel"].split()) >= {"noopener", "nofollow"}


def test_pictures_by_https_are_kept():
    assert ("img", {"src": "https://a.example/i.png", "alt": "A map", "loading": "lazy"}) in elements_of(
        "![A map](https://a.example/i.png)"
    )


def test_escaped_once():
    assert render("a < b & c") == "<p>a &lt; b &amp; c</p>\n"


def test_empty():
    assert render("") == ""
