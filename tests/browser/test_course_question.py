"""A course is copied in the LMS, and its teacher says so: the proposal, the copy, and the student who waited."""

from playwright.sync_api import expect

from tests.browser.chromium import tool_frame
from tests.browser.conftest import OpenBrowser
from tests.browser.test_pages import overflow, violations, widest

FIRST = "The first machines"
NEXT_TERM = "The first machines, next term"


def test_a_copied_course_is_proposed_confirmed_and_opened(browse: OpenBrowser) -> None:
    browser = browse("third_party_blocked")
    browser.expected = ("409 (Conflict)",)
    alan = browser.be("Alan")
    expect(browser.open_link(alan, FIRST).get_by_role("heading", name=FIRST)).to_be_visible()

    ada = browser.be("Ada")
    frame = browser.open_link(ada, NEXT_TERM)
    expect(frame.get_by_role("heading", name="This course is not linked yet")).to_be_visible()

    alan = browser.be("Alan")
    frame = browser.open_link(alan, NEXT_TERM)
    expect(frame.get_by_role("heading", name="Is this a copy?")).to_be_visible()
    expect(frame.get_by_role("heading", name="This looks like a copy of “History of Computing”")).to_be_visible()
    expect(frame.get_by_text("was copied from “History of Computing (demo)”")).to_be_visible()
    found = violations(tool_frame(alan))
    frame.get_by_role("link", name="Open this very course").click()
    expect(frame.get_by_text("You see those of your own LMS course")).to_be_visible()
    found += violations(tool_frame(alan))
    frame.get_by_role("link", name="Choose something else").click()
    frame.get_by_role("link", name="Make a copy of it").click()
    expect(frame.get_by_label("Code of the copy")).to_have_value("HIST-101-B")
    expect(frame.get_by_label("Name of the copy")).to_have_value("History of Computing (demo), next term")
    found += violations(tool_frame(alan))
    alan.set_viewport_size({"width": 400, "height": 900})
    assert overflow(tool_frame(alan)) <= 0, widest(tool_frame(alan))
    frame.get_by_label("Code of the copy").fill("hist101")
    frame.get_by_role("button", name="Make the copy").click()
    browser.expected = ("409 (Conflict)", "422 (Unprocessable")
    expect(frame.get_by_text("The course hist101 exists already.")).to_be_visible()
    expect(frame.get_by_label("Name of the copy")).to_have_value("History of Computing (demo), next term")
    frame.get_by_label("Code of the copy").fill("hist101-next")
    frame.get_by_role("button", name="Make the copy").click()
    expect(frame.get_by_role("heading", name="is connected")).to_be_visible()
    expect(frame.get_by_role("link", name="Undo the copy")).to_be_visible()
    found += violations(tool_frame(alan))
    assert overflow(tool_frame(alan)) <= 0, widest(tool_frame(alan))
    frame.get_by_role("link", name="Go on to “The first machines”").click()
    expect(frame.get_by_role("heading", name=FIRST)).to_be_visible()
    expect(frame.get_by_role("banner")).to_contain_text("History of Computing (demo), next term")

    ada = browser.be("Ada")
    frame = browser.open_link(ada, NEXT_TERM)
    expect(frame.get_by_role("heading", name=FIRST)).to_be_visible()
    expect(frame.get_by_label("Your answer")).to_be_visible()
    expect(frame.get_by_role("banner")).to_contain_text("History of Computing (demo), next term")
    assert not found, "\n".join(found)
