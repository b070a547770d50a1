"""The main job, in a real browser: from a link in an LMS to a grade in its gradebook."""

import re

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from tests.browser.chromium import Browser, Cookies, tool_frame
from tests.browser.conftest import OpenBrowser
from tests.browser.cookie_probe import CookieProbe
from tests.browser.stack import Stack
from tests.browser.test_pages import overflow, violations, widest
from tests.browser.walks import grade_and_release, grade_in_table, release_in_table, submit, write_draft

NOTES = "Notes on the Analytical Engine"
COMPILER = "A compiler, explained to a friend"


def gradebook_cell(browser: Browser, cell: str) -> str:
    """What the teacher sees in a cell of the demo LMS's gradebook."""
    page = browser.be("Alan")
    page.get_by_role("link", name="Gradebook").click()
    return page.locator(f"[data-cell='{cell}']").inner_text()


def look_into_the_gradebook(page: Page, place: FrameLocator) -> None:
    """The course's own gradebook in the frame: what it says, by mouse and by keyboard, and where it leads."""
    place.get_by_role("navigation", name="Pages of this course").get_by_role("link", name="Gradebook").click()
    expect(place.get_by_role("heading", name="Gradebook", exact=True)).to_be_visible()
    row = place.get_by_role("row").filter(has=place.get_by_role("rowheader", name="Ada Lovelace"))
    expect(row).to_contain_text("8.5")
    expect(row).to_contain_text("in the LMS since")
    expect(place.get_by_role("columnheader", name=NOTES)).to_be_visible()
    frame = tool_frame(page)
    found = violations(frame)
    assert overflow(frame) <= 0, widest(frame)
    # One cell takes the tab key, the arrow keys lead from there.
    assert frame.locator("tbody td a:not([tabindex='-1'])").count() == 1
    row.locator("td a").first.focus()
    page.keyboard.press("ArrowRight")
    assert frame.evaluate("document.activeElement.closest('td').cellIndex") == 2
    page.keyboard.press("Home")
    assert frame.evaluate("document.activeElement.textContent") == "Ada Lovelace"
    page.keyboard.press("Enter")
    expect(place.get_by_role("heading", name="Ada Lovelace")).to_be_visible()
    place.get_by_text(re.compile(r"History \(\d+\)")).first.click()
    expect(place.get_by_text("Alan Turing").first).to_be_visible()
    found += violations(tool_frame(page))
    assert not found, "\n".join(found)


def test_from_launch_to_gradebook(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse("allowed")
    ada = browser.be("Ada")
    frame = browser.open_link(ada, NOTES)
    expect(frame.get_by_role("heading", name=NOTES)).to_be_visible()
    expect(frame.get_by_role("banner")).to_contain_text("Ada Lovelace")
    write_draft(frame, "It could be told what to do.\n\nA first draft.")
    ada.reload()
    expect(frame.get_by_label("Your answer")).to_have_value(re.compile("A first draft"))
    frame.get_by_label("Your answer").fill("It could be told what to do. <script>alert(1)</script>")
    frame.get_by_label("Link to your work").fill("https://example.org/notes")
    submit(frame)
    expect(frame.get_by_text("Waiting for your teacher")).to_be_visible()
    assert stack.grade("ada", "notes") is None

    alan = browser.be("Alan")
    table = browser.open_link(alan, NOTES)
    grade_in_table(table, "Ada Lovelace", "8.5", "Very good: think about the loop again.")
    assert stack.grade("ada", "notes") is None, "a grade was sent before it was released"
    # The student's page is in another tab, and another person has been chosen since: it stays the student's.
    frame.get_by_role("link", name="Back to course").wait_for()
    expect(frame.get_by_text("Very good")).to_have_count(0)

    release_in_table(table, "Ada Lovelace")
    grade = stack.wait_for_grade("ada", "notes", 0.85)
    assert (grade["points"], grade["maximum"], len(grade["history"])) == (8.5, 10, 1)
    expect(table.get_by_role("row").filter(has_text="Ada Lovelace")).to_contain_text("In the LMS", ignore_case=True)
    look_into_the_gradebook(alan, table)
    assert "8.5" in gradebook_cell(browser, "ada/notes")
    assert "85 %" in gradebook_cell(browser, "ada/notes")

    ada = browser.be("Ada")
    frame = browser.open_link(ada, NOTES)
    expect(frame.get_by_text("8.5 of 10 points")).to_be_visible()
    expect(frame.get_by_text("think about the loop again")).to_be_visible()
    expect(frame.get_by_text("In your course's gradebook since")).to_be_visible()
    frame.get_by_role("link", name="Back to course").click()
    ada.wait_for_url("**/course/")


@pytest.mark.parametrize("cookies", ["allowed", "third_party_blocked"])
def test_the_profile_does_to_cookies_what_it_says(browse: OpenBrowser, cookies: Cookies) -> None:
    with CookieProbe() as probe:
        kept = probe.cookies_kept_in_frame(browse(cookies))
    assert ("ordinary" in kept) == (cookies == "allowed")
    assert "partitioned" in kept


def test_the_main_job_with_third_party_cookies_blocked(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse("third_party_blocked")
    with CookieProbe() as probe:
        assert "ordinary" not in probe.cookies_kept_in_frame(browser), "third-party cookies are not blocked"
    grace = browser.be("Grace")
    frame = browser.open_link(grace, NOTES)
    write_draft(frame, "A compiler would have helped.")
    submit(frame)
    alan = browser.be("Alan")
    grade_and_release(browser.open_link(alan, NOTES), "Grace Hopper", "9", "Excellent.")
    grade = stack.wait_for_grade("grace", "notes", 0.9)
    assert grade["points"] == 9
    assert "9 (90 %)" in gradebook_cell(browser, "grace/notes").replace("\n", " ")


def test_a_new_window_where_the_frame_has_no_cookies(browse: OpenBrowser) -> None:
    browser = browse("refused_in_frame")
    # A launch of a browser that did not prove to be its own is answered 404.
    browser.expected = ("404 (Not Found)",)
    ada = browser.be("Ada")
    frame = browser.open_link(ada, COMPILER)
    expect(frame.get_by_role("heading", name="Open in a new window")).to_be_visible()
    with browser.context.expect_page() as opened:
        frame.get_by_role("button", name="Open in a new window").click()
    window = opened.value
    expect(window.get_by_role("heading", name=COMPILER)).to_be_visible()
    expect(window.get_by_role("banner")).to_contain_text("Ada Lovelace")
    assert "ticket" not in window.url
    assert "#" not in window.url
    expect(frame.get_by_text("Opened in a new window.")).to_be_visible()
    write_draft(window, "It translates, and a friend understands.")
    window.reload()
    expect(window.get_by_label("Your answer")).to_have_value("It translates, and a friend understands.")
    submit(window)


def test_two_people_in_one_browser_stay_two(browse: OpenBrowser) -> None:
    browser = browse("third_party_blocked")

    def open_tour(name: str) -> tuple[Page, FrameLocator]:
        page = browser.be(name)
        frame = browser.open_link(page, "Lab safety")
        frame.get_by_role("link", name="A tour of the machine room").click()
        return page, frame

    ada_page, ada = open_tour("Ada")
    grace_page, grace = open_tour("Grace")
    write_draft(ada, "Ada saw a mill and a store.")
    write_draft(grace, "Grace saw a moth.")
    for frame, name, other in ((ada, "Ada Lovelace", "moth"), (grace, "Grace Hopper", "mill")):
        expect(frame.get_by_role("banner")).to_contain_text(name)
        expect(frame.get_by_label("Your answer")).not_to_have_value(re.compile(other))
    # Each frame goes on as the person it was opened as, whoever was chosen since.
    for page, frame, text in ((ada_page, ada, "Ada saw"), (grace_page, grace, "Grace saw")):
        tool = page.frame(name="tool")
        assert tool is not None
        tool.goto(tool.url)
        expect(frame.get_by_label("Your answer")).to_have_value(re.compile(text))


def test_hand_off_to_a_content_application(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse("third_party_blocked")
    grace = browser.be("Grace")
    frame = browser.open_link(grace, "The nanosecond puzzle")
    expect(frame.get_by_text("Demo content application")).to_be_visible()
    expect(frame.get_by_text("Grace Hopper (student)")).to_be_visible()
    expect(frame.get_by_text("difficulty")).to_be_visible()
    frame.get_by_role("button", name="Finish with 8 of 10 points").click()
    grace.wait_for_url("**/course/")
    assert stack.wait_for_grade("grace", "puzzle", 0.8)["points"] == 8
    grace.get_by_role("link", name="My grades").click()
    expect(grace.locator("[data-cell='grace/puzzle']")).to_contain_text("8 (80 %)")


def test_a_grade_arrives_after_the_gradebook_recovers(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse()
    grace = browser.be("Grace")
    frame = browser.open_link(grace, COMPILER)
    write_draft(frame, "They told me computers could only do arithmetic.")
    submit(frame)
    stack.behave("failing")
    failures = len(stack.messages("outcome"))
    alan = browser.be("Alan")
    table = browser.open_link(alan, COMPILER)
    grade_and_release(table, "Grace Hopper", "97", "It runs.")
    # The table follows by itself.
    table.get_by_role("link", name=COMPILER).click()
    row = table.get_by_role("row").filter(has=table.get_by_role("rowheader", name="Grace Hopper"))
    expect(row).to_contain_text(re.compile("next try", re.IGNORECASE), timeout=30_000)
    assert stack.grade("grace", "compiler") is None
    assert len(stack.messages("outcome")) > failures
    stack.behave("normal")
    grade = stack.wait_for_grade("grace", "compiler", 0.97, seconds=60)
    assert len(grade["history"]) == 1
    expect(row).to_contain_text("In the LMS since", timeout=30_000)


def test_enroll_only_dashboard(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse()
    ada = browser.be("Ada")
    frame = browser.open_link(ada, "Lab safety")
    expect(frame.get_by_role("heading", name="Lab safety")).to_be_visible()
    frame.get_by_role("link", name="The rules of the machine room").click()
    frame.get_by_label("Your answer").fill("No coffee near the relays.")
    submit(frame)
    frame.get_by_role("link", name="All assignments").click()
    expect(frame.get_by_role("listitem").filter(has_text="The rules")).to_contain_text("Submitted")
    sent = stack.messages("launch")[0]["sent"]
    assert "/enroll" in sent
    assert "lis_outcome_service_url" not in sent


def test_a_link_that_nobody_has_set_up(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse()
    browser.expected = ("409 (Conflict)",)
    title = "A link that nobody has set up yet"
    ada = browser.be("Ada")
    frame = browser.open_link(ada, title)
    expect(frame.get_by_text(re.compile("teacher has not set this link up yet"))).to_be_visible()
    # The LMS shows what the tool says, in the frame, and leads on.
    frame.get_by_role("link", name="Back to course").click()
    expect(frame.get_by_role("heading", name="Back in Introduction to Computing")).to_be_visible()
    expect(frame.get_by_role("alert")).not_to_be_empty()
    frame.get_by_role("link", name="Go to the course").click()
    ada.wait_for_url("**/course/")
    alan = browser.be("Alan")
    picker = browser.open_link(alan, title)
    picker.get_by_role("link", name=COMPILER).click()
    picker.get_by_role("button", name="Connect and open").click()
    expect(picker.get_by_role("heading", name=COMPILER)).to_be_visible()
    ada = browser.be("Ada")
    frame = browser.open_link(ada, title)
    expect(frame.get_by_role("heading", name=COMPILER)).to_be_visible()


def test_a_refused_launch_says_what_to_do(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse()
    browser.expected = ("401 (Unauthorized)",)
    stack.behave("wrong_secret", switch="launches", times=1)
    ada = browser.be("Ada")
    frame = browser.open_link(ada, NOTES)
    expect(frame.get_by_role("heading", name="What to do")).to_be_visible()
    reference = frame.locator(".reference").first.inner_text()
    refused = stack.api("/launches?error=authentication_failed")["items"][0]
    assert refused["reference"] == reference
    assert "signature" not in frame.get_by_role("main").inner_text().lower()
