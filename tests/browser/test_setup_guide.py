"""The set-up guide waits for the first launch of a real LMS: it says why one was refused, and turns green."""

from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenBrowser
from tests.browser.stack import Stack
from tests.browser.test_pages import overflow, violations, widest
from tests.browser.walks import sign_in

SAFETY = "Lab safety"


def open_guide(page: Page, stack: Stack) -> None:
    """The owner's guide of the demo LMS, waiting for what comes from now on."""
    sign_in(page, stack, "owner")
    page.goto(f"{stack.platform_url}/admin/organizations/installation/")
    page.get_by_role("link", name="Open the guide of Demo LMS").click()
    expect(page.get_by_role("heading", name="First launch")).to_be_visible()
    # Launches of the tests before may have turned it green.
    again = page.get_by_role("link", name="Wait for the next launch")
    if again.count():
        again.click()
    elif page.locator("#first-launch[data-state=refused]").count():
        page.goto(f"{page.url.partition('?')[0]}?since={page.evaluate('Date.now()')}")


def violations_in_the_admin(page: Page) -> list[str]:
    """Without the landmarks that the admin's own frame leaves out."""
    return [one for one in violations(page) if ": region (" not in one and ": landmark-one-main (" not in one]


def test_the_guide_turns_green_with_the_first_launch(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse()
    # A launch that is refused is answered 401.
    browser.expected = ("401 (Unauthorized)",)
    guide = browser.context.new_page()
    open_guide(guide, stack)
    panel = guide.locator("#first-launch")
    expect(panel).to_have_attribute("data-state", "nothing")
    expect(panel).to_contain_text("Waiting for the first launch…")
    found = violations_in_the_admin(guide)

    stack.behave("wrong_secret", switch="launches", times=1)
    lms = browser.be("Alan")
    expect(browser.open_link(lms, SAFETY).get_by_role("heading", name="What to do")).to_be_visible()
    expect(panel).to_have_attribute("data-state", "refused")
    expect(panel).to_contain_text("Authentication failed")
    expect(panel).to_contain_text("keeps looking")
    found += violations_in_the_admin(guide)

    browser.be("Alan", lms)
    expect(browser.open_link(lms, SAFETY).get_by_role("heading", name=SAFETY)).to_be_visible()
    expect(panel).to_have_attribute("data-state", "arrived")
    expect(panel).to_contain_text("Alan Turing arrived from Demo LMS")
    found += violations_in_the_admin(guide)
    panel.get_by_role("link", name="See it in the launch log").click()
    expect(guide.get_by_text("Alan Turing").first).to_be_visible()
    assert not found, "\n".join(found)


def test_a_teachers_guide_copies_values_and_tells_no_keys(browse: OpenBrowser, stack: Stack) -> None:
    browser = browse(viewport={"width": 360, "height": 740}, permissions=["clipboard-read", "clipboard-write"])
    page = browser.be("Alan")
    page.goto(f"{stack.lms_url}/links/notes/launch?container=window")
    page.wait_for_url(f"{stack.platform_url}/**")
    page.get_by_role("link", name="Set-up guide").click()
    page.get_by_role("link", name="Canvas", exact=True).click()
    expect(page.get_by_role("heading", name="Set-up guide for Canvas")).to_be_visible()
    assert overflow(page) <= 0, widest(page)
    page.locator("summary").filter(has_text="By URL").click()
    page.get_by_role("button", name="Copy Config URL").click()
    expect(page.get_by_role("button", name="Copy Config URL")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == f"{stack.platform_url}/lti/v1/demo/config.xml"
    assert "demo-lms" not in page.content()
    expect(page.locator("#first-launch")).to_contain_text("You came here by a launch from Demo LMS")
    found = violations(page)
    assert not found, "\n".join(found)
