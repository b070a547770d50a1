"""Statements made once must find, convert and write what Django's own would."""

from datetime import timedelta
from decimal import Decimal
from threading import Thread
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from courses.models import Assignment, Course, Enrolment, ResourceLink
from organizations.models import Installation, LtiKey, Organization
from organizations.prepared_query import PreparedQuery
from organizations.upsert import insert, update_where, upsert
from tests import factories

pytestmark = pytest.mark.django_db

KEY = PreparedQuery(
    lambda consumer_key: LtiKey.objects.select_related("installation__organization").filter(consumer_key=consumer_key),
    consumer_key=str,
)
LINK = PreparedQuery(
    lambda installation, resource_link_id: ResourceLink.objects.select_related(
        "lms_course", "assignment__course", "course"
    ).filter(lms_course__installation=installation, resource_link_id=resource_link_id),
    installation=UUID,
    resource_link_id=str,
)


def test_it_finds_what_django_finds(django_assert_num_queries):
    made = factories.LtiKeyFactory()
    factories.LtiKeyFactory()
    KEY.first(consumer_key="warm-up")

    with django_assert_num_queries(1):
        key = KEY.first(consumer_key=made.consumer_key)
        organization = key.installation.organization

    assert key == made
    assert key.secret == made.secret  # decrypted
    assert key.created_at == made.created_at
    assert organization == made.installation.organization
    assert organization.branding == {}
    assert key.installation.service_hosts == []
    assert not key._state.adding
    assert key.get_deferred_fields() == set()


def test_it_finds_nothing():
    factories.LtiKeyFactory()

    assert KEY.first(consumer_key="another") is None
    assert KEY.first(consumer_key="' OR 1=1 --") is None


def test_a_missing_relation_is_none_and_a_present_one_is_read(django_assert_num_queries):
    bare = factories.ResourceLinkFactory()
    assignment = factories.AssignmentFactory(points_possible=Decimal("7.50"))
    mapped = factories.ResourceLinkFactory(assignment=assignment)
    LINK.first(installation=uuid4(), resource_link_id="warm-up")

    with django_assert_num_queries(2):
        first = LINK.first(installation=bare.lms_course.installation_id, resource_link_id=bare.resource_link_id)
        second = LINK.first(installation=mapped.lms_course.installation_id, resource_link_id=mapped.resource_link_id)
        assert first.assignment is None
        assert first.course is None
        assert second.assignment.points_possible == Decimal("7.50")
        assert second.assignment.course.code == assignment.course.code
        assert second.lms_course.context_id == mapped.lms_course.context_id


def test_rows_do_not_leak_from_one_call_into_the_next():
    one, other = factories.LtiKeyFactory(), factories.LtiKeyFactory()

    found = [KEY.first(consumer_key=key.consumer_key) for key in (one, other, one)]

    assert [key.id for key in found] == [one.id, other.id, one.id]
    assert found[0] is not found[2]


def test_a_found_row_can_be_changed_and_saved():
    made = factories.LtiKeyFactory()
    key = KEY.first(consumer_key=made.consumer_key)
    key.enabled = False
    key.save(update_fields=["enabled"])

    assert not LtiKey.objects.get(pk=made.pk).enabled


def test_an_argument_that_does_not_reach_the_statement_is_refused():
    lossy = PreparedQuery(lambda name: Organization.objects.filter(name__icontains=name), name=str)

    with pytest.raises(TypeError, match="does not reach"):
        lossy.first(name="x")


@pytest.mark.django_db(transaction=True)
def test_threads_share_one_statement():
    keys = [factories.LtiKeyFactory() for _ in range(4)]
    query = PreparedQuery(lambda key: LtiKey.objects.select_related("installation").filter(consumer_key=key), key=str)
    found: dict[UUID, bool] = {}

    def look_up(made):
        try:
            found[made.id] = all(query.first(key=made.consumer_key).id == made.id for _ in range(20))
        finally:
            connection.close()

    threads = [Thread(target=look_up, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {key.id: True for key in keys}


def test_upsert_inserts_then_updates():
    course, person = factories.CourseFactory(), factories.PersonFactory()
    unique = {"course_id": course.id, "person_id": person.id}

    first, inserted = upsert(Enrolment, unique, {"role": "student"})
    second, inserted_again = upsert(Enrolment, unique, {"role": "teacher"})

    assert (inserted, inserted_again) == (True, False)
    assert first == second
    enrolment = Enrolment.objects.get()
    assert (enrolment.role, enrolment.state) == ("teacher", "active")


def test_upsert_keeps_what_it_was_not_told_to_overwrite():
    installation = factories.InstallationFactory(name="Moodle", service_hosts=["lms.example"])
    unique = {"organization_id": installation.organization_id, "name": "Moodle"}

    found, inserted = upsert(Installation, unique, {"service_hosts": ["other.example"]}, update=[])

    assert (found, inserted) == (installation.id, False)
    installation.refresh_from_db()
    assert installation.service_hosts == ["lms.example"]


def test_upsert_refuses_unknown_fields():
    with pytest.raises(TypeError, match="colour"):
        upsert(Organization, {"slug": "a"}, {"colour": "blue"})


def test_insert_writes_every_field_and_keeps_constraints():
    course = Course(organization=factories.OrganizationFactory(), code="c", name="C", constant_urls=True)
    insert(course)

    assert not course._state.adding
    stored = Course.objects.get(pk=course.pk)
    assert (stored.code, stored.constant_urls, stored.created_at) == ("c", True, course.created_at)
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(Course(organization=course.organization, code="c", name="Again"))


def test_update_where_changes_matching_rows_only():
    one, other = factories.AssignmentFactory(title="Old"), factories.AssignmentFactory(title="Old")
    due = timezone.now() + timedelta(days=1)

    changed = update_where(Assignment, {"id": one.id, "title": "Old"}, {"title": "New", "due_at": due})

    assert changed == 1
    one.refresh_from_db()
    other.refresh_from_db()
    assert (one.title, one.due_at, other.title) == ("New", due, "Old")
    assert update_where(Assignment, {"id": one.id, "title": "Old"}, {"title": "Newer"}) == 0
    with pytest.raises(TypeError, match="colour"):
        update_where(Assignment, {"id": one.id}, {"colour": "blue"})
