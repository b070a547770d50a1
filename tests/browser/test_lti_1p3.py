"""The same over LTI 1.3, in a real browser: every way in, chosen content, grades, rosters, registration."""

import contextlib
import re

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from tests.browser.chromium import Browser, Cookies, tool_frame
from tests.browser.conftest import OpenBrowser
from tests.browser.stack import Stack
from tests.browser.test_pages import violations
from tests.browser.walks import grade_and_release, sign_in, submit, write_draft

BUG = "The first bug"
COMPILER = "A compiler, explained to a friend"


def last_launch(stack: Stack) -> str:
    """The claims of the last id_token that the demo LMS sent."""
    sent = next(message["sent"] for message in stack.messages("launch") if "id_token" in message["sent"])
    return str(sent)


@pytest.mark.parametrize("cookies", ["allowed", "third_party_blocked"])
@pytest.mark.parametrize("way", ["moodle", "canvas", "blackboard", "brightspace"])
def test_launch_in_a_frame_of_another_site(browse: OpenBrowser, stack: Stack, cookies: Cookies, way: str) -> None:
    stack.launch_as("first-bug", way)
    browser = browse(cookies, frames_together=True)
    page = browser.be("Grace")
    for _ in range(2):
        frame = browser.open_link(page, BUG)
        expect(frame.get_by_role("heading", name=BUG)).to_be_visible()
        expect(frame.get_by_role("banner")).to_contain_text("Grace Hopper")
        assert "LtiResourceLinkRequest" in last_launch(stack)
        page.goto(f"{stack.lms_url}/course/")


@pytest.mark.parametrize(
    ("way", "spelling"),
    [(way, spelling) for spelling in ("normal", "older_names") for way in ("canvas", "blackboard", "brightspace")]
    # What is asked of a frame that is still loading is asked again.
    + [("canvas", "late")],
)
def test_launch_by_what_the_lms_keeps(browse: OpenBrowser, stack: Stack, way: str, spelling: str) -> None:
    """No cookie comes back in the frame; the LMS's storage proves the browser, and the page opens by its ticket."""
    stack.launch_as("first-bug", way)
    stack.behave(spelling, switch="storage")
    browser = browse("refused_in_frame", frames_together=True)
    browser.expected = ("401 (Unauthorized)", "404 (Not Found)")
    page = browser.be("Grace")
    before = len(stack.api("/launches?limit=100")["items"])
    frame = browser.open_link(page, BUG)
    # The launch has been accepted in the frame: what is left to do is to show its page.
    page.frame_locator("iframe.tool").get_by_role("heading", name="Open in a new window").wait_for()
    expect(frame.get_by_role("button", name="Open in a new window")).to_be_visible()
    accepted = stack.api("/launches?limit=100")["items"]
    assert len(accepted) == before + 1
    assert (accepted[0]["result"], accepted[0]["lti_version"]) == ("accepted", "1.3")
    with browser.context.expect_page() as opened:
        frame.get_by_role("button", name="Open in a new window").click()
    expect(opened.value.get_by_role("heading", name=BUG)).to_be_visible()
    expect(opened.value.get_by_role("banner")).to_contain_text("Grace Hopper")


def test_launch_with_neither_cookie_nor_storage(browse: OpenBrowser, stack: Stack) -> None:
    """The new window begins the login anew: nothing is believed on the state alone."""
    stack.launch_as("first-bug", "canvas")
    stack.behave("off", switch="storage")
    browser = browse("refused_in_frame", frames_together=True)
    browser.expected = ("401 (Unauthorized)", "404 (Not Found)")
    page = browser.be("Grace")
    before = stack.api("/launches?limit=100")["items"]
    frame = browser.open_link(page, BUG)
    expect(frame.get_by_role("heading", name="Open in a new window")).to_be_visible()
    assert stack.api("/launches?limit=100")["items"] == before
    with browser.context.expect_page() as opened:
        frame.get_by_role("link", name="Open in a new window").click()
    window = opened.value
    expect(window.get_by_role("heading", name=BUG)).to_be_visible()
    expect(window.get_by_role("banner")).to_contain_text("Grace Hopper")
    assert "id_token" not in window.url
    write_draft(window, "It was in the last place where I looked.")
    window.reload()
    expect(window.get_by_label("Your answer")).to_have_value("It was in the last place where I looked.")


def test_a_hint_that_works_once_is_kept_for_the_new_window(browse: OpenBrowser, stack: Stack) -> None:
    """Moodle keeps nothing for tools and takes its hint once: where no cookie comes back it is not asked (D27)."""
    stack.launch_as("first-bug", "moodle")
    browser = browse("refused_in_frame", frames_together=True)
    browser.expected = ("401 (Unauthorized)",)
    page = browser.be("Grace")
    frame = browser.open_link(page, BUG)
    with browser.context.expect_page() as opened:
        frame.get_by_role("link", name="Open in a new window").click()
    expect(opened.value.get_by_role("heading", name=BUG)).to_be_visible()
    expect(opened.value.get_by_role("banner")).to_contain_text("Grace Hopper")


def test_two_assignments_from_the_picker(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse("third_party_blocked")
    before = {link["slug"] for link in stack.links()}
    alan = browser.be("Alan")
    alan.get_by_label("Tool to add from").select_option(label="Demo University, as Canvas does it")
    alan.get_by_role("button", name="Add from the platform").click()
    picker = alan.frame_locator("iframe.tool")
    for title in (BUG, COMPILER):
        picker.get_by_label(title).check()
    assert not violations(tool_frame(alan))
    picker.get_by_role("button", name="Continue").click()
    expect(picker.get_by_role("heading", name="Add 2 links")).to_be_visible()
    picker.get_by_role("button", name="Insert").click()
    alan.wait_for_url("**/course/")
    added = [link for link in stack.links() if link["slug"] not in before]
    assert sorted((link["title"], link["maximum"]) for link in added) == [(COMPILER, 100), (BUG, 10)]
    assert all(link["lti_version"] == "1.3" for link in added)
    section = alan.get_by_role("region", name="Added from the platform")
    expect(section.get_by_role("link", name=BUG)).to_be_visible()

    grace = browser.be("Grace")
    section = grace.get_by_role("region", name="Added from the platform")
    section.get_by_role("link", name=BUG).click()
    frame = grace.frame_locator("iframe.tool")
    expect(frame.get_by_role("heading", name=BUG)).to_be_visible()
    expect(frame.get_by_role("banner")).to_contain_text("Grace Hopper")
    remove_added_links(browser.be("Alan"))


def remove_added_links(alan: Page) -> None:
    """Open links are found by their titles, so that no two may have the same one for long."""
    alan.get_by_role("link", name="Tools").click()
    # Tools that were added have such a button, too.
    links = alan.get_by_role("region", name="How links are launched")
    while links.get_by_role("button", name=re.compile("^Remove")).count():
        links.get_by_role("button", name=re.compile("^Remove")).first.click()
        alan.wait_for_load_state()


def test_choosing_nothing(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse("third_party_blocked")
    before = stack.links()
    alan = browser.be("Alan")
    alan.get_by_role("button", name="Add from the platform").click()
    alan.frame_locator("iframe.tool").get_by_role("button", name="Cancel").click()
    alan.wait_for_url("**/course/")
    assert stack.links() == before


def test_a_grade_by_ags(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse("third_party_blocked")
    ada = browser.be("Ada")
    frame = browser.open_link(ada, BUG)
    write_draft(frame, "A card was punched twice.")
    submit(frame)
    assert stack.grade("ada", "first-bug") is None
    alan = browser.be("Alan")
    grade_and_release(browser.open_link(alan, BUG), "Ada Lovelace", "7.5", "Look at the cards first.")
    grade = stack.wait_for_grade("ada", "first-bug", 0.75)
    assert (grade["points"], grade["comment"], len(grade["history"])) == (7.5, "Look at the cards first.", 1)
    message = stack.messages("outcome")[0]
    assert message["title"].startswith("score: Ada Lovelace")
    assert "application/vnd.ims.lis.v1.score+json" in message["sent"]
    assert "lineitem/scores?type_id=1" in message["sent"]

    alan = browser.be("Alan")
    alan.get_by_role("link", name="Gradebook").click()
    expect(alan.locator("[data-cell='ada/first-bug']")).to_contain_text("7.5 (75 %)")
    ada = browser.be("Ada")
    frame = browser.open_link(ada, BUG)
    expect(frame.get_by_text("In your course's gradebook since")).to_be_visible()
    alan = browser.be("Alan")
    alan.get_by_role("link", name="Gradebook").click()
    alan.get_by_role("link", name=f"Review the work of Ada Lovelace in {BUG}").click()
    review = alan.frame_locator("iframe.tool")
    expect(review.get_by_role("heading", name="Ada Lovelace")).to_be_visible()
    expect(review.get_by_text("A card was punched twice.")).to_be_visible()
    assert '"LtiSubmissionReviewRequest"' in last_launch(stack)


def test_roster(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse("third_party_blocked")
    alan = browser.be("Alan")
    frame = browser.open_link(alan, BUG)
    frame.get_by_role("navigation", name="Pages of this course").get_by_role("link", name="People").click()

    def sync_until(words: str) -> None:
        """The platform may be reading the roster by itself just now, so that one sync need not be a new one."""
        for _ in range(5):
            frame.get_by_role("button", name="Sync roster").click()
            with contextlib.suppress(AssertionError):
                return expect(frame.locator("#roster")).to_contain_text(re.compile(words), timeout=8000)
        raise AssertionError(f"no sync said {words}")

    people = frame.get_by_role("table", name="People of")
    sync_until(r"Read .*: \d added, 0 gone")
    for name in ("Ada Lovelace", "Grace Hopper", "Alan Turing"):
        expect(people.get_by_role("rowheader", name=name)).to_be_visible()
    grace = people.get_by_role("row").filter(has_text="Grace Hopper")
    stack.behave("without_grace", switch="rosters")
    sync_until(r"\b1 gone")
    frame.get_by_role("link", name="Gone", exact=True).click()
    expect(grace).to_contain_text("gone from the LMS course")
    stack.behave("normal", switch="rosters")
    sync_until(r"\b1 back")
    expect(grace).to_have_count(0)
    answered = next(message["answered"] for message in stack.messages("service") if message["title"] == "roster")
    assert '"Learner"' in answered


def invite(owner: Page, stack: Stack) -> str:
    """The owner makes an invite for another LMS; its registration URL."""
    owner.goto(f"{stack.platform_url}/admin/organizations/registrationinvite/add/")
    owner.get_by_label("Name").fill("The library's Moodle")
    owner.get_by_role("button", name=re.compile("make", re.IGNORECASE)).last.click()
    expect(owner.get_by_role("heading", name="The invite link is made")).to_be_visible()
    return owner.locator(f"text=/{re.escape('/register?')}/").first.inner_text()


def test_registration_from_invite_to_launch(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse("third_party_blocked")
    browser.expected = ("403 (Forbidden)", "404 (Not Found)")
    owner = browser.context.new_page()
    sign_in(owner, stack, "owner")
    url = invite(owner, stack)
    assert url.startswith(f"{stack.platform_url}/lti/1p3/demo/register?")

    def add_tool(page: Page) -> FrameLocator:
        page.goto(f"{stack.lms_url}/tools/")
        page.get_by_label("Registration URL").fill(url)
        page.get_by_role("button", name="Add tool").click()
        return page.frame_locator("iframe.tool")

    alan = browser.be("Alan")
    frame = add_tool(alan)
    expect(frame.get_by_role("heading", name="Connect")).to_be_visible()
    assert not violations(tool_frame(alan))
    frame.get_by_role("button", name="Register").click()
    expect(frame.get_by_role("heading", name="Registered")).to_be_visible()
    frame.get_by_role("button", name="Close").click()
    alan.wait_for_url("**/tools/")
    expect(alan.get_by_text("pending", exact=True)).to_be_visible()
    alan.get_by_role("button", name="Activate").click()
    link = alan.get_by_role("listitem").filter(has_text=BUG)
    choice = link.get_by_role("combobox")
    choice.select_option(index=choice.locator("option").count() - 1)
    link.get_by_role("button", name="Save").click()

    grace = browser.be("Grace")
    frame = browser.open_link(grace, BUG)
    expect(frame.get_by_role("heading", name="What to do")).to_be_visible()
    refused = stack.api("/launches?error=installation_disabled")["items"][0]
    assert refused["lti_version"] == "1.3"

    owner.goto(f"{stack.platform_url}/admin/organizations/registration/?state__exact=pending")
    owner.get_by_role("link", name=stack.lms_url).first.click()
    owner.get_by_role("link", name=re.compile("Activate")).first.click()
    owner.get_by_role("button", name="Activate").click()
    expect(owner.get_by_text("may launch now")).to_be_visible()
    grace = browser.be("Grace")
    frame = browser.open_link(grace, BUG)
    expect(frame.get_by_role("banner")).to_contain_text("Grace Hopper")

    # The invite is used up.
    used: Browser = browser
    frame = add_tool(used.be("Alan"))
    expect(frame.get_by_role("heading", level=1)).to_be_visible()
    expect(frame.get_by_role("button", name="Register")).to_have_count(0)
