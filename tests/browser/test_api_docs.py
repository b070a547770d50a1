"""The API's description is a page of this host alone, and can be tried out."""

import json
from urllib.parse import urlsplit

from playwright.sync_api import expect

from tests.browser.conftest import OpenBrowser
from tests.browser.stack import Stack


def test_the_description_opens_and_tries_a_call(browse: OpenBrowser, stack: Stack) -> None:
    page = browse().context.new_page()
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.goto(f"{stack.platform_url}/api/v1/docs")
    expect(page.get_by_role("heading", name="LTI platform")).to_be_visible()
    page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".modal-ux")
    dialog.locator("input").fill(stack.api_token)
    dialog.locator("button.authorize").click()
    dialog.locator("button.btn-done").click()
    call = page.locator("#operations-Courses-list_courses")
    call.get_by_role("button").first.click()
    call.get_by_role("button", name="Try it out").click()
    call.get_by_role("button", name="Execute").click()
    answer = call.locator(".live-responses-table .highlight-code code").first
    expect(answer).to_contain_text('"cs101"')
    assert {item["code"] for item in json.loads(answer.inner_text())["items"]} >= {"cs101", "safety"}
    assert {one for one in asked if one} == {urlsplit(stack.platform_url).netloc}
