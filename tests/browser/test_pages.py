"""The pages themselves: accessible by axe's rules, quiet on the console, and usable in a narrow frame."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Frame, Page, expect

from tests.browser.chromium import Browser, tool_frame
from tests.browser.conftest import OpenBrowser
from tests.browser.stack import Stack
from tests.browser.walks import sign_in, submit, write_draft

NOTES = "Notes on the Analytical Engine"
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "resultTypes": ["violations"]}


def violations(place: Page | Frame) -> list[str]:
    """What axe finds in this document and not in frames within it, one line each."""
    response: dict[str, Any] = Axe().run(place, options={**RULES, "iframes": False}).response
    return [
        f"{place.url.partition('#')[0]}: {found['id']} ({found['impact']}): {node['html'][:200]}"
        for found in response["violations"]
        for node in found["nodes"]
    ]


def overflow(place: Page | Frame) -> int:
    """By how many pixels the document is wider than its window."""
    return int(place.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def widest(place: Page | Frame) -> str:
    """The elements that stick out, to name them in a failure."""
    script = """() => [...document.querySelectorAll("body *")]
        .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .slice(0, 5).map((one) => one.outerHTML.slice(0, 120)).join(" | ")"""
    return str(place.evaluate(script))


def test_demo_lms_is_accessible(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse()
    page = browser.context.new_page()
    page.goto(f"{stack.lms_url}/people/")
    found = violations(page)
    browser.be("Alan", page)
    for path in ("course/", "links/notes/", "gradebook/", "tools/", "manners/", "messages/"):
        page.goto(f"{stack.lms_url}/{path}")
        found += violations(page)
    assert not found, "\n".join(found)


def test_pages_of_a_student_are_accessible(browse: OpenBrowser) -> None:
    browser = browse()
    page = browser.be("Grace")
    frame = browser.open_link(page, "Lab safety")
    expect(frame.get_by_role("heading", name="Lab safety")).to_be_visible()
    found = violations(tool_frame(page))
    frame.get_by_role("link", name="The rules of the machine room").click()
    expect(frame.get_by_label("Your answer")).to_be_visible()
    found += violations(tool_frame(page))
    write_draft(frame, "The one about the moth.")
    found += violations(tool_frame(page))
    frame.get_by_role("button", name="Submit", exact=True).click()
    found += violations(tool_frame(page))
    frame.get_by_role("button", name="Keep working").click()
    submit(frame)
    found += violations(tool_frame(page))
    assert not found, "\n".join(found)


def test_pages_of_a_teacher_are_accessible(browse: OpenBrowser) -> None:
    browser = browse()
    ada = browser.be("Ada")
    expect(browser.open_link(ada, NOTES).get_by_role("heading", name=NOTES)).to_be_visible()
    page = browser.be("Alan")
    frame = browser.open_link(page, NOTES)
    expect(frame.get_by_role("rowheader", name="Ada Lovelace")).to_be_visible()
    found = violations(tool_frame(page))
    frame.get_by_role("link", name="Ada Lovelace").click()
    expect(frame.get_by_role("heading", name="Ada Lovelace")).to_be_visible()
    found += violations(tool_frame(page))
    assert not found, "\n".join(found)


def test_pages_for_when_things_go_wrong_are_accessible(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse("refused_in_frame")
    browser.expected = ("404 (Not Found)", "401 (Unauthorized)")
    page = browser.be("Grace")
    frame = browser.open_link(page, NOTES)
    expect(frame.get_by_role("heading", name="Open in a new window")).to_be_visible()
    found = violations(tool_frame(page))
    stack.behave("clock_behind", switch="launches", times=1)
    browser.be("Alan", page)
    frame = browser.open_link(page, NOTES)
    expect(frame.get_by_role("heading", name="What to do")).to_be_visible()
    found += violations(tool_frame(page))
    assert not found, "\n".join(found)


def test_signing_in_is_accessible(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse()
    page = browser.context.new_page()
    page.goto(f"{stack.platform_url}/")
    found = violations(page)
    sign_in(page, stack, "owner")
    expect(page.get_by_role("heading", level=1).first).to_be_visible()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("width", [320, 768])
def test_nothing_sticks_out_of_a_narrow_frame(browse: OpenBrowser, stack: Stack, width: int) -> None:
    browser = browse(viewport={"width": width, "height": 640})

    def open_alone(name: str, slug: str) -> Page:
        page = browser.be(name)
        assert overflow(page) <= 0, f"{page.url}: {widest(page)}"
        page.goto(f"{stack.lms_url}/links/{slug}/launch?container=window")
        page.wait_for_url(f"{stack.platform_url}/**")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        return page

    for name, slug in (("Ada", "notes"), ("Ada", "safety"), ("Alan", "notes"), ("Alan", "puzzle")):
        page = open_alone(name, slug)
        assert overflow(page) <= 0, f"{name}, {slug}: {widest(page)}"
    page = browser.be("Alan")
    for path in ("gradebook/", "tools/", "messages/", "manners/"):
        page.goto(f"{stack.lms_url}/{path}")
        assert overflow(page) <= 0, f"{path}: {widest(page)}"
    page = open_alone("Alan", "notes")
    page.get_by_role("link", name="Ada Lovelace").click()
    expect(page.get_by_role("heading", name="Ada Lovelace")).to_be_visible()
    assert overflow(page) <= 0, f"grading view: {widest(page)}"


def test_what_a_page_may_not_do_is_heard(browse: OpenBrowser) -> None:
    """The other tests trust that a violation of the content security policy would be noticed."""
    browser: Browser = browse()
    browser.expected = ("Content Security Policy",)
    page = browser.be("Ada")
    expect(browser.open_link(page, NOTES).get_by_role("heading", name=NOTES)).to_be_visible()
    tool_frame(page).evaluate(
        "() => { const one = document.createElement('script'); one.textContent = '1'; document.body.append(one); }"
    )
    page.wait_for_timeout(300)
    assert any("Content Security Policy" in problem for problem in browser.problems)
