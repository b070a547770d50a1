"""The home page of the admin: what happened in 14 days of the organization's own calendar, why, and whom it touched."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.mails import Letter, write_mails
from events.models import Delivery, Mail
from launches.models import Launch, RefusalTally
from organizations import overview
from organizations.identifiers import uuid7
from organizations.tests.admin_client import operator_client, owner_client, text_of
from organizations.time_zones import last_days
from tests.factories import AssignmentFactory, CourseFactory, GradebookCellFactory, OrganizationFactory, PersonFactory

pytestmark = pytest.mark.django_db

# A Wednesday morning in New York, and not yet past midnight in Auckland's next day.
NOW = datetime(2030, 6, 12, 15, 0, tzinfo=UTC)
NOT_ENROLLED = "The student is not enrolled there any more."


@pytest.fixture(autouse=True)
def now():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def organization() -> Any:
    return OrganizationFactory(name="Acme")


@pytest.fixture
def owner(organization: Any) -> Any:
    return owner_client(organization)


def launched(organization: Any, at: datetime = NOW, result: str = Launch.ACCEPTED, **values: Any) -> None:
    with time_machine.travel(at, tick=False):
        Launch.objects.create(organization=organization, credential=uuid7(), result=result, **values)


def delivery(organization: Any, state: str = "failed", kind: str = "grade", at: datetime = NOW, **values: Any) -> None:
    reason = {"last_error_code": "user_unknown", "last_error": NOT_ENROLLED} if state == "failed" else {}
    with time_machine.travel(at, tick=False):
        Delivery.objects.create(
            **{
                "organization": organization,
                "kind": kind,
                "state": state,
                "target_id": uuid7(),
                "source_id": uuid7(),
                "sequence": 1,
                "give_up_at": at + timedelta(days=3),
                **reason,
                **values,
            }
        )


def home(client: Any, query: str = "") -> str:
    response = client.get(f"/admin/{query}")
    assert response.status_code == 200
    return unescape(text_of(response))


def table_of(html: str, title: str) -> dict[str, list[str]]:
    """The numbers of a chart's table by day."""
    part = html.split(f'<caption class="p-sr">{title} per day</caption>')[1].split("</table>")[0]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', part)
    return {day: re.findall(r'<td class="p-number">(.*?)</td>', cells) for day, cells in rows}


def link_in(html: str, words: str) -> str:
    """Where the link before these words leads: a figure's, or the one of a row."""
    found = re.findall(r'<a href="([^"]+)">', html.split(words)[0])
    assert found, words
    return found[-1]


# Days


def test_days_begin_and_end_in_the_organizations_time_zone(organization, owner):
    launched(organization, datetime(2030, 6, 12, 3, 59, tzinfo=UTC))  # a minute before midnight in New York
    launched(organization, datetime(2030, 6, 12, 4, 0, tzinfo=UTC), "timestamp_expired")
    assert table_of(home(owner), "Launches")["12 Jun 2030"] == ["1", "1"]
    organization.time_zone = "America/New_York"
    organization.save()
    html = home(owner)
    assert table_of(html, "Launches")["11 Jun 2030"] == ["1", "0"]
    assert table_of(html, "Launches")["12 Jun 2030"] == ["0", "1"]
    assert "Day (America/New_York)" in html


def test_it_is_tomorrow_already_in_auckland(organization, owner):
    organization.time_zone = "Pacific/Auckland"
    organization.save()
    launched(organization)
    days = table_of(home(owner), "Launches")
    assert (next(iter(days)), len(days)) == ("13 Jun 2030", 14)
    assert days["13 Jun 2030"] == ["1", "0"]


def test_days_are_23_and_25_hours_long_where_clocks_change():
    from zoneinfo import ZoneInfo

    for today, hours in (((2030, 3, 31), 23), ((2030, 10, 27), 25)):
        days = list(last_days(datetime(*today, 12, tzinfo=UTC), ZoneInfo("Europe/Berlin"), 3))
        lengths = [(ends.astimezone(UTC) - begins.astimezone(UTC)) / timedelta(hours=1) for _, begins, ends in days]
        assert lengths == [24, 24, hours]
        assert all(day.isoformat() == begins.date().isoformat() for day, begins, _ in days)


def test_what_is_older_than_the_first_day_is_not_counted(organization, owner):
    launched(organization, datetime(2030, 5, 30, 0, 0, tzinfo=UTC))
    launched(organization, datetime(2030, 5, 29, 23, 59, 59, tzinfo=UTC))
    html = home(owner)
    assert "Launches per day: 1 accepted, 0 refused" in html
    assert table_of(html, "Launches")["30 May 2030"] == ["1", "0"]


# Charts


def test_grades_and_webhooks_are_counted_apart(organization, owner):
    for kind, state, count in (
        ("grade", "delivered", 3),
        ("grade", "pending", 2),
        ("grade", "failed", 1),
        ("grade", "superseded", 1),
        ("grade", "cancelled", 1),
        ("webhook", "delivered", 1),
        ("webhook", "failed", 4),
    ):
        for _ in range(count):
            delivery(organization, state, kind)
    html = home(owner)
    assert "Grades per day: 3 delivered, 2 waiting, 1 failed" in html
    assert "Webhooks per day: 1 delivered, 0 waiting, 4 failed" in html
    assert table_of(html, "Grades")["12 Jun 2030"] == ["3", "2", "1"]


def test_refusals_that_were_only_counted_are_in_the_chart(organization, owner):
    launched(organization, result="authentication_failed")
    for minute in (NOW, NOW - timedelta(minutes=1)):
        RefusalTally.objects.create(organization=organization, credential=uuid7(), minute=minute, count=20)
    RefusalTally.objects.create(organization=OrganizationFactory(), credential=uuid7(), minute=NOW, count=500)
    assert "Launches per day: 0 accepted, 41 refused" in home(owner)


def test_columns_are_in_proportion_and_loosen_no_policy(organization, owner):
    for at, count in ((NOW, 4), (NOW - timedelta(days=1), 2)):
        for _ in range(count):
            launched(organization, at)
    launched(organization, NOW, "malformed")
    html = home(owner)
    chart = html.split('<svg class="p-chart"')[1].split("</svg>")[0]
    heights = re.findall(r'class="p-bar-(good|bad)" x="(\d+)" y="([\d.]+)" width="14" height="([\d.]+)"', chart)
    assert heights == [
        ("good", "243", "60.00", "40.00"),
        ("good", "263", "20.00", "80.00"),
        ("bad", "263", "0.00", "20.00"),
    ]
    assert "style=" not in chart
    assert "<script" not in chart


def test_a_quiet_organization_is_told_what_to_do(owner):
    html = home(owner)
    assert "Nobody has come from an LMS." in html
    assert "No grade was to be sent." in html
    assert "No event was to be told." in html
    assert "<svg" not in html.split('class="p-charts"')[1].split("</main>")[0]
    assert "Why " not in html


# Reasons


def test_reasons_are_counted_with_who_is_affected_and_lead_to_the_rows(organization, owner):
    course: Any = CourseFactory(organization=organization)
    assignments = [AssignmentFactory(course=course), AssignmentFactory(course__organization=organization)]
    person = PersonFactory(organization=organization)
    for assignment in assignments:
        cell: Any = GradebookCellFactory(assignment=assignment, person=person)
        delivery(organization, target_id=cell.pk)
    other: Any = GradebookCellFactory(assignment=assignments[0])
    delivery(organization, target_id=other.pk)
    delivery(organization, last_error_code="failure", last_error='The LMS refused it. It says "Ada is unknown".')
    html = home(owner)
    reasons = html.split("Why grades failed")[1].split("</table>")[0]
    assert reasons.index(NOT_ENROLLED) < reasons.index("The LMS refused it.")
    assert "2 people in 2 courses" in reasons
    assert "Ada" not in reasons
    listed = text_of(owner.get(link_in(reasons, "The LMS refused it.")))
    assert "Ada is unknown" in unescape(listed)
    assert NOT_ENROLLED not in listed


def test_refused_launches_by_reason(organization, owner):
    person: Any = PersonFactory(organization=organization)
    course: Any = CourseFactory(organization=organization)
    for _ in range(2):
        launched(organization, result="role_not_allowed", person=person, course=course)
    launched(organization, result="timestamp_expired")
    html = home(owner)
    reasons = html.split("Why launches were refused")[1].split("</table>")[0]
    assert "1 person in 1 course" in reasons
    address = link_in(reasons, "Timestamp expired")
    assert address == "/admin/launches/launch/?result=timestamp_expired&since=fortnight"
    assert "1 launch" in re.sub(r"\s+", " ", text_of(owner.get(address)))


def test_webhooks_by_host_and_answer(organization, owner):
    delivery(organization, kind="webhook", host="hooks.example", last_error="The webhook answered 500.")
    delivery(organization, kind="webhook", host="other.example", last_error="The webhook answered 500.")
    reasons = home(owner).split("Why webhooks failed")[1].split("</table>")[0]
    assert "hooks.example" in reasons
    assert "other.example" in reasons


def test_mails_that_do_not_leave_are_pointed_at(organization, owner):
    write_mails(organization, [Letter("grade_digest", uuid7(), "x", "a@acme.example", "Hello", "Text")])
    assert "mail has not left" not in home(owner)
    Mail.objects.update(attempts=2, last_error="ConnectionRefusedError")
    html = home(owner)
    assert "1 mail has not left" in html
    assert "ConnectionRefusedError" in text_of(owner.get("/admin/events/mail/"))


# Whose


def test_nobody_sees_another_organizations_numbers(organization, owner):
    foreign: Any = OrganizationFactory(name="Zyxquirk")
    cell: Any = GradebookCellFactory(assignment__course__organization=foreign)
    launched(foreign)
    launched(foreign, result="malformed")
    delivery(foreign, target_id=cell.pk, last_error="Zyxquirk's LMS refused it.")
    delivery(foreign, kind="webhook", host="zyxquirk.example")
    delivery(foreign, "pending")
    for query in ("", f"?organization={foreign.pk}"):
        html = home(owner, query)
        assert "Nobody has come from an LMS." in html
        assert "zyxquirk" not in html.lower()
        assert "Why " not in html
        assert "did not arrive" not in html
        assert 'id="sums-title"' not in html


def test_an_owner_of_two_sees_one_at_a_time_and_lists_of_that_one(organization):
    second: Any = OrganizationFactory(name="Beta", time_zone="Asia/Tokyo")
    owner = owner_client(organization, second)
    launched(organization)
    launched(organization)
    launched(second)
    assert "Launches per day: 2 accepted" in home(owner, f"?organization={organization.pk}")
    html = home(owner, f"?organization={second.pk}")
    assert "Launches per day: 1 accepted" in html
    assert "Day (Asia/Tokyo)" in html
    assert f"result=accepted&since=fortnight&organization={second.pk}" in html


def test_operators_see_sums_and_no_words_or_people_of_tenants(organization):
    quiet: Any = OrganizationFactory(name="Quiet")
    cell: Any = GradebookCellFactory(assignment__course__organization=organization, person__name="Ada Lovelace")
    for _ in range(3):
        launched(organization)
    launched(quiet)
    delivery(organization, target_id=cell.pk)
    delivery(organization, "delivered", "webhook", host="hooks.example")
    OrganizationFactory(name="Asleep")
    html = home(operator_client())
    table = html.split('id="sums-title"')[1].split("</table>")[0]
    rows = re.findall(r"<tr><th.*?>(?:<a[^>]*>)?([^<]+)(?:</a>)?</th>(.*?)</tr>", table, re.DOTALL)
    numbers = {name: re.findall(r">(\d+)<", cells) for name, cells in rows}
    assert list(numbers)[1:] == ["Acme", "Quiet"]
    assert numbers["Acme"] == ["3", "0", "0", "0", "1", "1", "0", "0"]
    assert numbers["Quiet"] == ["1", "0", "0", "0", "0", "0", "0", "0"]
    assert "Why " not in html
    for words in (NOT_ENROLLED, "Ada Lovelace", "hooks.example"):
        assert words not in html
    assert "Launches per day: 4 accepted" in html


def test_organizations_beyond_the_first_fifty_are_counted(monkeypatch):
    monkeypatch.setattr(overview, "ORGANIZATIONS_SHOWN", 2)
    for _ in range(4):
        launched(OrganizationFactory())
    assert "2 more with fewer failures." in home(operator_client())


# Cost


@pytest.mark.parametrize("who", ["owner", "operator"])
def test_the_statements_do_not_grow_with_the_rows(organization, who):
    client = owner_client(organization) if who == "owner" else operator_client()

    def statements() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            home(client)
        return len(captured)

    def happen(count: int) -> None:
        for number in range(count):
            cell: Any = GradebookCellFactory(assignment__course__organization=organization)
            delivery(organization, target_id=cell.pk, last_error_code=f"code_{number}")
            delivery(organization, kind="webhook", host=f"{number}.example")
            for result in (Launch.ACCEPTED, "malformed", "timestamp_expired"):
                launched(organization, NOW - timedelta(days=number), result)
            launched(OrganizationFactory())

    happen(1)
    home(client)
    first = statements()
    happen(8)
    assert statements() == first <= 60
