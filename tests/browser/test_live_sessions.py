"""A live session from end to end: started by a teacher, entered by a waiting student, recorded, attended, graded."""

import re

from playwright.sync_api import FrameLocator, Page, expect

from tests.browser.chromium import Browser, tool_frame
from tests.browser.conftest import OpenBrowser
from tests.browser.stack import Stack
from tests.browser.test_pages import overflow, violations, widest

SESSION = "Debugging together"
# Beat and the meeting server's own delays: minutes at worst, on a busy machine.
LATE = 60_000


def enter(browser: Browser, place: FrameLocator, button: str) -> Page:
    """Click the button in the frame; the window with the session that opens."""
    with browser.context.expect_page() as opened:
        place.get_by_role("button", name=button).click()
    window = opened.value
    expect(window.get_by_role("heading", name=re.compile("In this session"))).to_be_visible(timeout=LATE)
    return window


def test_a_session_is_attended_recorded_and_graded(browse: OpenBrowser, stack: Stack) -> None:
    teachers, students = browse("third_party_blocked"), browse("third_party_blocked")
    # The sandbox tells whoever asks after the end that there is no session.
    for browser in (teachers, students):
        browser.expected = ("/sandbox/state",)
    ada = students.be("Ada")
    waiting = students.open_link(ada, SESSION)
    expect(waiting.get_by_role("heading", name="Starts when your teacher arrives")).to_be_visible()
    expect(waiting.get_by_role("button", name="Waiting for your teacher")).to_be_disabled()

    alan = teachers.be("Alan")
    room = teachers.open_link(alan, SESSION)
    # The link in the LMS asks for a colour that is none.
    expect(room.get_by_text("must be a colour")).to_be_visible()
    expect(room.get_by_text("does not let it share your screen")).to_be_visible()
    teachers_window = enter(teachers, room, "Start the session")
    expect(teachers_window.get_by_role("listitem").filter(has_text="Alan Turing")).to_be_visible()
    expect(room.get_by_role("heading", name=re.compile("Live since"))).to_be_visible(timeout=LATE)

    # The student's page notices by itself.
    students_window = enter(students, waiting, "Join now")
    for window in (teachers_window, students_window):
        for name in ("Ada Lovelace", "Alan Turing"):
            expect(window.get_by_role("listitem").filter(has_text=name)).to_be_visible(timeout=LATE)
    expect(room.get_by_text(re.compile("2 people in the session"))).to_be_visible(timeout=LATE)
    expect(room.get_by_text("Ada Lovelace")).to_be_visible()

    # As long as it took the student to come: then they were there for half of the session, a fifth is asked for.
    began = ada.evaluate("performance.now()")
    alan.wait_for_timeout(min(began, 30_000))

    room.get_by_role("button", name="End for everybody…").click()
    room.get_by_role("button", name="End the session").click()
    expect(room.get_by_text("The session has ended.")).to_be_visible(timeout=LATE)
    expect(waiting.get_by_role("heading", name="Starts when your teacher arrives")).to_be_visible(timeout=LATE)

    grade = stack.wait_for_grade("ada", "live", 1.0, seconds=LATE / 1000)
    assert (grade["points"], grade["maximum"]) == (5, 5)

    room.get_by_role("link", name="show it").click(timeout=LATE)
    recording = room.get_by_role("table", name=f"Recordings of {SESSION}").get_by_role("row").nth(1)
    expect(recording).to_contain_text("Hidden")
    recording.get_by_role("button", name="Publish").click()
    expect(room.get_by_text("Published: students of the course can play it.")).to_be_visible()
    room.get_by_role("link", name=re.compile("^Who was there")).first.click()
    expect(room.get_by_role("rowheader", name="Ada Lovelace")).to_be_visible()
    expect(room.get_by_role("rowheader", name=re.compile("Alan Turing"))).to_be_visible()

    waiting.get_by_role("link", name="show it").click(timeout=LATE)
    expect(waiting.get_by_text("1 of 1 session attended")).to_be_visible()
    waiting.locator("summary", has_text="Play").click()
    video = waiting.locator("video")
    expect(video).to_have_js_property("paused", False)
    expect(video).to_have_js_property("error", None)
    video.evaluate("(one) => one.pause()")


def test_pages_of_a_session_are_accessible_and_fit(browse: OpenBrowser) -> None:
    browser = browse(viewport={"width": 360, "height": 700})
    found, wide = [], []

    def look(page: Page) -> None:
        place = tool_frame(page)
        found.extend(violations(place))
        if overflow(place):
            wide.append(f"{place.url}: {widest(place)}")

    for name in ("Grace", "Alan"):
        page = browser.be(name)
        frame = browser.open_link(page, "Office hours")
        expect(frame.get_by_role("heading", name="Office hours")).to_be_visible()
        look(page)
    frame.get_by_role("link", name="Change settings").click()
    expect(frame.get_by_role("heading", name="Settings", exact=True)).to_be_visible()
    look(page)
    frame.get_by_role("link", name="Live sessions").first.click()
    expect(frame.get_by_role("heading", name="Live sessions", exact=True)).to_be_visible()
    look(page)
    assert not found, "\n".join(found)
    assert not wide, "\n".join(wide)


def test_a_frame_that_may_use_everything_shows_the_session_itself(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse()
    browser.expected = ("/sandbox/state",)
    alan = browser.be("Alan")
    browser.open_link(alan, "Office hours")
    allow = f"; camera {stack.platform_url}; microphone {stack.platform_url}; display-capture {stack.platform_url}"
    alan.locator("iframe.tool").evaluate("(frame, allow) => { frame.allow += allow; frame.src = frame.src; }", allow)
    room = alan.frame_locator("iframe.tool")
    expect(room.get_by_text("The session opens in this page.")).to_be_visible()
    room.get_by_role("button", name="Start the session").click()
    session = room.frame_locator("iframe[name=session]")
    expect(session.get_by_role("listitem").filter(has_text="Alan Turing")).to_be_visible(timeout=LATE)
    expect(room.get_by_role("heading", name=re.compile("Live since"))).to_be_visible(timeout=LATE)
    assert len(browser.context.pages) == 2, "no window was opened"
    room.get_by_role("button", name="Close here").click()
    expect(room.locator("iframe[name=session]")).to_have_count(0)
    room.get_by_role("button", name="End for everybody…").click()
    room.get_by_role("button", name="End the session").click()
    expect(room.get_by_text("The session has ended.")).to_be_visible(timeout=LATE)
