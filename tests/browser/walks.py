"""What people do on the pages, by the words they see: shared by the tests and the pictures."""

import re

from playwright.sync_api import FrameLocator, Page, expect

from tests.browser.stack import Stack

Place = FrameLocator | Page


def write_draft(place: Place, text: str) -> None:
    place.get_by_label("Your answer").fill(text)
    place.get_by_role("button", name="Save draft").click()
    expect(place.get_by_text("Draft saved")).to_be_visible()


def submit(place: Place) -> None:
    place.get_by_role("button", name="Submit", exact=True).click()
    place.get_by_role("button", name="Yes, submit").click()
    expect(place.get_by_role("heading", name="What you submitted")).to_be_visible()


def grade_in_table(place: Place, student: str, points: str, comment: str) -> None:
    """Type score and comment into the student's row and save them; not released yet."""
    row = place.get_by_role("row").filter(has=place.get_by_role("rowheader", name=student))
    row.get_by_label(f"Points for {student}").fill(points)
    row.get_by_label(f"Comment for {student}").fill(comment)
    row.get_by_role("button", name=f"Save the score of {student}").click()
    expect(row.get_by_text("Saved", exact=True)).to_be_visible()


def release_in_table(place: Place, student: str) -> None:
    place.get_by_role("checkbox", name=f"Select {student}").check()
    place.get_by_role("button", name=re.compile(r"Release selected \( ?1 ?\)")).click()
    expect(place.get_by_text("1 score released.")).to_be_visible()


def grade_and_release(place: Place, student: str, points: str, comment: str) -> None:
    """In the grading view of one student."""
    place.get_by_role("link", name=student).click()
    place.get_by_label("Points").fill(points)
    place.get_by_label("Comment").fill(comment)
    place.get_by_role("button", name="Save and release").click()
    expect(place.get_by_text("Saved, and released.")).to_be_visible()


def sign_in(page: Page, stack: Stack, role: str) -> None:
    """Sign in directly; ends in the admin."""
    email, password = stack.sign_ins[role]
    page.goto(f"{stack.platform_url}/admin/")
    page.get_by_label(re.compile("e-?mail", re.IGNORECASE)).fill(email)
    page.get_by_label("Password").first.fill(password)
    page.get_by_role("button", name=re.compile("sign in|log in", re.IGNORECASE)).click()
    page.wait_for_url("**/admin/**")
