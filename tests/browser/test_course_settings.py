"""The LTI/LMS page in the LMS's frame: a URL copied by clicking it, settings saved, and nothing lost on the way."""

import re

import pytest
from playwright.sync_api import FrameLocator, expect

from tests.browser.chromium import tool_frame
from tests.browser.conftest import OpenBrowser
from tests.browser.stack import Stack
from tests.browser.test_pages import overflow, violations, widest

NOTES = "Notes on the Analytical Engine"


def save(frame: FrameLocator) -> None:
    frame.get_by_role("button", name="Save", exact=True).click()


def test_the_lti_page_in_the_frame(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse()
    browser.expected = ("422 (Unprocessable",)
    page = browser.be("Alan")
    frame = browser.open_link(page, NOTES)
    pages = frame.get_by_role("navigation", name="Pages of this course")
    pages.get_by_role("link", name="LTI/LMS").click()
    expect(frame.get_by_role("heading", name="LTI/LMS", exact=True)).to_be_visible()
    assert not violations(tool_frame(page))

    url = frame.get_by_label(f"LTI integration URL of {NOTES}")
    url.click()
    expect(frame.get_by_text("Copied", exact=True)).to_be_visible()
    address = frame.get_by_label("Course LMS URL")
    address.click()
    page.keyboard.press("Control+A")
    page.keyboard.press("Control+V")
    pasted = address.input_value()
    assert pasted == url.input_value()
    assert re.fullmatch(re.escape(stack.platform_url) + r"/lti/assignments/[0-9a-f-]{36}", pasted)
    # Where a frame may not copy at all, the value is selected for the keyboard.
    tool_frame(page).evaluate("document.execCommand = () => false")
    url.click()
    expect(frame.get_by_text("Press Ctrl+C to copy")).to_be_visible()
    assert tool_frame(page).evaluate("getSelection().toString()") == pasted

    hide = frame.get_by_role("switch", name="Hide assignments that are not started")
    hide.check()
    address.fill("javascript:alert(1)")
    save(frame)
    expect(frame.get_by_text("Nothing was saved")).to_be_visible()
    expect(address).to_have_value("javascript:alert(1)")
    expect(address).to_have_attribute("aria-invalid", "true")
    expect(hide).to_be_checked()
    assert not violations(tool_frame(page))
    address.fill("https://lms.example/course/1")
    save(frame)
    expect(frame.get_by_text("Saved.", exact=True)).to_be_visible()
    expect(address).to_have_value("https://lms.example/course/1")

    frame.get_by_role("switch", name="LTI constant URLs").check()
    save(frame)
    expect(frame.get_by_text("Switch constant URLs on?")).to_be_visible()
    assert not violations(tool_frame(page))
    frame.get_by_role("link", name="Leave everything as it was").click()
    expect(frame.get_by_role("switch", name="LTI constant URLs")).not_to_be_checked()

    # As it was, for the other tests.
    address.fill("")
    hide.uncheck()
    save(frame)
    expect(frame.get_by_text("Saved.", exact=True)).to_be_visible()


@pytest.mark.parametrize("width", [320])
def test_the_lti_page_is_narrow_enough(browse: OpenBrowser, stack: Stack, width: int) -> None:
    browser = browse(viewport={"width": width, "height": 640})
    page = browser.be("Alan")
    page.goto(f"{stack.lms_url}/links/notes/launch?container=window")
    page.get_by_role("link", name="LTI/LMS").click()
    expect(page.get_by_role("heading", name="LTI/LMS", exact=True)).to_be_visible()
    assert overflow(page) <= 0, widest(page)
