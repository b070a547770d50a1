"""Set-up guides: every LMS for owner and teacher, no key in a teacher's page, and the panel that waits for a launch."""

import re
import secrets
from datetime import timedelta
from html import unescape
from uuid import UUID

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from launches.first_launch import LOOK_BACK, WATCH_FOR
from launches.models import Launch
from launches.setup_docs import documents
from launches.setup_guides import FOLDER, LMSS, Fill, guide_of, guides, owners_in_words
from organizations.identifiers import first_uuid7_of, random_token
from organizations.models import Membership, Registration
from organizations.tests.admin_client import client_of, operator_client
from tests.factories import (
    AssignmentFactory,
    CourseFactory,
    InstallationFactory,
    LtiKeyFactory,
    MembershipFactory,
    RegistrationFactory,
    UserFactory,
)
from tests.launching import STUDENT, launch
from tests.visiting import mentor, path_of, student, teacher, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization(key):
    return key.installation.organization


@pytest.fixture
def owner(organization):
    user = UserFactory(name="Olga Owner", email="olga@example.org")
    MembershipFactory(organization=organization, user=user)
    return client_of(user)


@pytest.fixture
def member(organization):
    user = UserFactory(name="Tom Teacher")
    MembershipFactory(organization=organization, user=user, role=Membership.Role.TEACHER)
    return client_of(user)


def admin_url(key, name="installation-setup", **query):
    return reverse(f"admin:{name}", args=[key.installation.pk], query=query)


def course_url(assignment, name="course-setup", **query):
    return reverse(name, args=[assignment.course_id], query=query)


def values_in(response):
    return [
        unescape(value) for value in re.findall(r'<code class="setup-value">([^<]*)</code>', response.content.decode())
    ]


def poll_of(response):
    """The address that the panel asks by itself, or None."""
    found = re.search(r'id="first-launch"[^>]* hx-get="([^"]*)"', response.content.decode())
    return unescape(found.group(1)) if found else None


def state_of(response):
    return re.search(r'data-state="(\w+)"', response.content.decode()).group(1)


# ------------------------------------------------------------------------------------------------------- the guides


def test_every_lms_has_one_guide():
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted(LMSS)
    for guide in guides():
        assert {way.version for way in guide.ways} == {"1.1", "1.3"}
        slugs = [way.slug for way in (*guide.ways, *guide.in_course)]
        assert len(slugs) == len(set(slugs))
        boxes = [box for way in guide.ways for step in way.steps for box in step.boxes]
        assert all(bool(box.fill) != bool(box.choose) for box in boxes)
        for version, needed in (
            ("1.1", {Fill.CONSUMER_KEY, Fill.SHARED_SECRET}),
            ("1.3", {Fill.REGISTRATION, Fill.LTI_1P3_LAUNCH_URL, Fill.LOGIN_URL, Fill.JWKS_URL}),
        ):
            ways = [way for way in guide.ways if way.version == version]
            filled = {box.fill for way in ways for step in way.steps for box in step.boxes}
            assert needed <= filled or {Fill.REGISTRATION, Fill.CONFIG_URL} <= filled, (guide.lms, version)
    assert guide_of("", "klingon").lms == "other"
    assert [way.slug for way in guide_of("canvas").ways][1:] == ["app-center", "by-url", "paste-xml", "manual"]


@pytest.mark.parametrize("lms", LMSS)
def test_an_owner_reads_keys_and_never_the_secret(lms, owner, key, assignment):
    for page in (owner.get(admin_url(key, lms=lms)), owner.get(course_url(assignment, lms=lms))):
        assert page.status_code == 200
        text = page.content.decode()
        assert key.secret not in text
        assert key.consumer_key in values_in(page)
        assert reverse("admin:organizations_ltikey_reveal", args=[key.pk]) in text
        assert guide_of(lms).title in text_of(page)
        if lms not in ("chamilo", "openedx"):
            assert f"{settings.BASE_URL}/lti/1p3/{key.installation.organization.slug}/launch" in values_in(page)


@pytest.mark.parametrize("lms", LMSS)
def test_a_teacher_reads_whom_to_ask_and_no_key(lms, owner, member, key, assignment):
    visitor = teacher(key, assignment)
    RegistrationFactory(installation=key.installation, client_id="the-client-id")
    for page in (visitor.get("launch-course-setup", lms=lms), member.get(course_url(assignment, lms=lms))):
        assert page.status_code == 200
        text = page.content.decode()
        for secret in (key.consumer_key, key.secret, "the-client-id", "/admin/"):
            assert secret not in text, secret
        assert "Ask Olga Owner" in text_of(page)
        assert guide_of(lms).title in text_of(page)


def test_values_are_the_organizations_own(owner, key, organization):
    base = f"{settings.BASE_URL}/lti"
    found = set(values_in(owner.get(admin_url(key, lms="canvas"))))
    assert {
        organization.name,
        key.consumer_key,
        f"{base}/v1",
        f"{base}/v1/{organization.slug}/config.xml",
        f"{base}/1p3/{organization.slug}/config.json",
        f"{base}/1p3/{organization.slug}/launch",
        "https://canvas.instructure.com",
    } <= found
    page = owner.get(admin_url(key, lms="moodle"))
    assert {f"{base}/1p3/{organization.slug}/{name}" for name in ("login", "launch", "jwks.json")} <= set(
        values_in(page)
    )
    invite = f"{reverse('admin:organizations_registrationinvite_add')}?installation={key.installation.pk}"
    assert invite in page.content.decode()


def test_several_keys_and_none(owner, key):
    second = LtiKeyFactory(installation=key.installation)
    off = LtiKeyFactory(installation=key.installation, enabled=False)
    page = owner.get(admin_url(key))
    assert {key.consumer_key, second.consumer_key} <= set(values_in(page))
    assert off.consumer_key not in page.content.decode()
    assert f"Reveal the secret of {second.consumer_key}" in text_of(page)
    empty = InstallationFactory(organization=key.installation.organization)
    page = owner.get(reverse("admin:installation-setup", args=[empty.pk]))
    assert reverse("admin:organizations_ltikey_make", args=[empty.pk]) in page.content.decode()
    assert "neither a key nor a registration" in text_of(page)


def test_the_own_lms_is_the_default_and_its_way_is_open(owner, key, assignment):
    visitor = teacher(key, assignment)
    assert "Set-up guide for Moodle" in text_of(visitor.get("launch-course-setup"))
    page = owner.get(admin_url(key))
    assert "set-up guide for Moodle" in text_of(page)
    assert re.findall(r'id="([\w-]+)" open', page.content.decode()) == ["preconfigured", "activity"]
    RegistrationFactory(installation=key.installation)
    page = owner.get(admin_url(key))
    assert re.findall(r'id="([\w-]+)" open', page.content.decode())[0] == "dynamic-registration"
    for nonsense in ("klingon", "\x00", "x" * 5000):
        assert "Set-up guide for Moodle" in text_of(visitor.get("launch-course-setup", lms=nonsense))


def test_parameters_of_a_course(member, assignment):
    course = assignment.course
    assert "None are needed" in text_of(member.get(course_url(assignment, lms="sakai")))
    type(course).objects.update(constant_urls=True)
    found = values_in(member.get(course_url(assignment, lms="sakai")))
    assert f"course_target_id={course.code}" in found
    assert not [value for value in found if value.startswith("parent_course_id")]
    type(course).objects.update(course_copy=True, enroll_only=True)
    found = values_in(member.get(course_url(assignment, lms="sakai")))
    assert f"parent_course_id={course.code}" in found
    assert f"{settings.BASE_URL}/lti/courses/{course.pk}/enroll" in found


def test_whom_to_ask(organization):
    assert owners_in_words(organization, with_addresses=True) == f"an owner of {organization.name}"
    for name in ("Olga", "", "Otto", "Orla"):
        MembershipFactory(
            organization=organization, user=UserFactory(name=name, email=f"{name or 'nameless'}@example.org")
        )
    assert owners_in_words(organization, with_addresses=False) == "Olga, Otto or Orla"
    assert owners_in_words(organization, with_addresses=True) == "Olga, nameless@example.org or Otto"
    invited = UserFactory(
        name="Known Elsewhere", email="stranger@example.org", date_joined=timezone.now() - timedelta(days=9)
    )
    Membership.objects.all().delete()
    MembershipFactory(organization=organization, user=invited)
    assert owners_in_words(organization, with_addresses=True) == "stranger@example.org"
    assert owners_in_words(organization, with_addresses=False) == f"an owner of {organization.name}"


def test_who_may_see_a_guide(key, assignment, owner, member):
    assert student(key, assignment).get("launch-course-setup").status_code == 404
    assert mentor(key, assignment).get("launch-course-setup").status_code == 200
    assert Client().get(course_url(assignment)).status_code == 302
    assert member.get(admin_url(key)).status_code == 404
    stranger = LtiKeyFactory()
    assert owner.get(admin_url(stranger)).status_code == 404
    assert owner.get(admin_url(stranger, "installation-setup-arrival")).status_code == 404
    foreign = course_url(assignment, installation=str(stranger.installation.pk))
    assert member.get(foreign).status_code == 404
    assert member.get(course_url(assignment, installation="x\x00")).status_code == 404
    elsewhere = AssignmentFactory(course=CourseFactory(organization=stranger.installation.organization))
    assert member.get(course_url(elsewhere)).status_code == 404
    page = operator_client().get(admin_url(key))
    assert page.status_code == 200
    assert reverse("admin:organizations_ltikey_reveal", args=[key.pk]) not in page.content.decode()


def test_an_organization_without_an_lms(assignment, owner, member, key):
    type(key.installation).objects.all().delete()
    for client in (owner, member):
        page = client.get(course_url(assignment))
        assert "No LMS is connected to" in text_of(page)
        assert client.get(course_url(assignment, "course-setup-arrival")).status_code == 404
    assert reverse("admin:organizations_installation_add") in owner.get(course_url(assignment)).content.decode()


def test_the_installation_leads_to_its_guide(owner, key):
    assert admin_url(key) in owner.get(reverse("admin:organizations_installation_changelist")).content.decode()
    change = reverse("admin:organizations_installation_change", args=[key.installation.pk])
    assert admin_url(key) in owner.get(change).content.decode()
    assert admin_url(key) in owner.get(reverse("admin:index")).content.decode()
    registration = RegistrationFactory(installation=key.installation)
    change = reverse("admin:organizations_registration_change", args=[registration.pk])
    assert admin_url(key) in owner.get(change).content.decode()
    assert admin_url(key) in owner.get(reverse("admin:organizations_registration_add")).content.decode()


def test_docs_are_what_the_guides_say():
    folder = settings.BASE_DIR / "docs" / "setup"
    assert sorted(path.name for path in folder.iterdir()) == sorted(documents())
    for name, text in documents().items():
        assert (folder / name).read_text() == text, f"docs/setup/{name} is out of date: make guides"


# -------------------------------------------------------------------------------------------------------- the panel


def test_nothing_yet_then_it_arrives(owner, key, assignment):
    page = owner.get(admin_url(key))
    assert state_of(page) == "nothing"
    assert "Waiting for the first launch…" in text_of(page)
    assert "belongs to nobody" in text_of(page)
    poll = poll_of(page)
    assert owner.get(poll).status_code == 204
    launch(Client(), path_of(assignment), key, STUDENT)
    answer = owner.get(poll)
    assert state_of(answer) == "arrived"
    assert "Ada Lovelace arrived from" in text_of(answer)
    assert "in Essay" in text_of(answer)
    assert poll_of(answer) is None
    arrived = Launch.objects.get()
    assert reverse("admin:launches_launch_change", args=[arrived.pk]) in answer.content.decode()
    following = unescape(re.search(r'hx-get="([^"]*)"', answer.content.decode()).group(1))
    assert state_of(owner.get(following)) == "nothing"


def test_a_refused_launch_says_why_and_goes_on(owner, key, assignment):
    poll = poll_of(owner.get(admin_url(key)))
    wrong = type(key)(consumer_key=key.consumer_key, secret="wrong")
    launch(Client(), path_of(assignment), wrong, STUDENT)
    answer = owner.get(poll)
    refused = Launch.objects.get()
    assert state_of(answer) == "refused"
    assert "Authentication failed" in text_of(answer)
    assert "What to do: Open" in text_of(answer)
    assert "reference below" not in text_of(answer)
    assert refused.refusal["cause"] in text_of(answer)
    assert reverse("admin:launches_launch_change", args=[refused.pk]) in answer.content.decode()
    assert key.secret not in answer.content.decode()
    again = poll_of(answer)
    assert owner.get(again).status_code == 204
    launch(Client(), path_of(assignment), key, STUDENT)
    assert state_of(owner.get(again)) == "arrived"


def test_a_double_click_after_an_arrival_is_no_failure(owner, key, assignment):
    launch(Client(), path_of(assignment), key, STUDENT)
    refused(key, result="nonce_reused")
    assert state_of(owner.get(admin_url(key))) == "arrived"
    Launch.objects.filter(result="accepted").delete()
    assert state_of(owner.get(admin_url(key))) == "refused"


def refused(key, at=None, **fields):
    """A refusal in the launch log, with an id of that time."""
    at = at or timezone.now()
    return Launch.objects.create(
        id=UUID(int=first_uuid7_of(at).int + secrets.randbits(62)),
        organization=key.installation.organization,
        installation=key.installation,
        lti_key=key,
        credential=key.pk,
        at=at,
        **{"result": "authentication_failed", "refusal": {"hint": "Paste it again."}, **fields},
    )


def test_a_teacher_is_told_of_failures_without_people(key, assignment, owner):
    visitor = teacher(key, assignment)
    page = visitor.get("launch-course-setup")
    assert state_of(page) == "nothing"
    assert "so its connection works" in text_of(page)
    other = LtiKeyFactory(installation__organization=key.installation.organization)
    refused(other)
    assert visitor.client.get(poll_of(page)).status_code == 204
    row = refused(key, person=visitor.person, roles="Learner", refusal={"hint": "Paste it.", "cause": "private detail"})
    answer = visitor.client.get(poll_of(page))
    assert state_of(answer) == "refused"
    text = text_of(answer)
    assert row.reference in text
    assert "Paste it." in text
    assert "Tell Olga Owner the reference" in text
    for hidden in ("private detail", "Alan Turing", str(row.pk), "/admin/"):
        assert hidden not in answer.content.decode(), hidden


def test_whom_a_teacher_is_told_of(key, assignment, member):
    visitor = teacher(key, assignment)
    poll = poll_of(visitor.get("launch-course-setup"))
    launch(Client(), path_of(assignment), key, STUDENT)
    assert "Ada Lovelace arrived" in text_of(visitor.client.get(poll))
    # Of another LMS course that opens the same course, and of another course: no names.
    launch(Client(), path_of(assignment), key, STUDENT, context_id="other", resource_link_id="o", user_id="s2")
    assert "A student arrived" in text_of(visitor.client.get(poll))
    assert "Ada Lovelace arrived" in text_of(member.get(course_url(assignment)))
    elsewhere = AssignmentFactory(course__organization=key.installation.organization)
    launch(Client(), path_of(elsewhere), key, STUDENT, context_id="third", resource_link_id="t", user_id="s3")
    for page in (visitor.client.get(poll), member.get(course_url(assignment))):
        assert "A student arrived" in text_of(page)
        assert "Ada Lovelace" not in text_of(page)
        assert elsewhere.title not in text_of(page)
    launch(Client(), path_of(assignment), key, STUDENT)
    watching = mentor(key, assignment)
    page = watching.get("launch-course-setup")
    # In the frame the launches of the last hour are no news.
    assert state_of(page) == "nothing"
    launch(Client(), path_of(assignment), key, STUDENT)
    assert "A student arrived" in text_of(watching.client.get(poll_of(page)))


def test_a_foreign_launch_never_shows(owner, key, assignment):
    stranger = LtiKeyFactory()
    refused(stranger)
    assert state_of(owner.get(admin_url(key))) == "nothing"
    nobody = type(key)(consumer_key=random_token(), secret="x")
    launch(Client(), path_of(assignment), nobody, STUDENT)
    assert state_of(owner.get(admin_url(key))) == "nothing"


def test_what_is_old_does_not_count(owner, key):
    refused(key, at=timezone.now() - LOOK_BACK - timedelta(seconds=5))
    assert state_of(owner.get(admin_url(key))) == "nothing"
    refused(key, at=timezone.now() - LOOK_BACK / 2)
    assert state_of(owner.get(admin_url(key))) == "refused"


def test_it_stops_looking_and_looks_again(owner, key):
    opened = str(int((timezone.now() - WATCH_FOR).timestamp() * 1000) - 1000)
    since = str(int((timezone.now() - LOOK_BACK).timestamp() * 1000))
    page = owner.get(admin_url(key, "installation-setup-arrival", since=since, opened=opened, seen="nothing--on"))
    assert page.status_code == 200
    assert poll_of(page) is None
    assert "Look again" in text_of(page)
    again = unescape(re.search(r'hx-get="([^"]*)"', page.content.decode()).group(1))
    assert "Waiting for the first launch…" in text_of(owner.get(again))
    assert poll_of(owner.get(again)) is not None


@pytest.mark.parametrize("text", ["", "x", "-1", "9" * 14, "9" * 400, "1", "\x00", "١٢٣"])
def test_nonsense_in_the_address(owner, key, text):
    page = owner.get(admin_url(key, "installation-setup-arrival", since=text, opened=text, seen=text, lms=text))
    assert page.status_code == 200
    assert state_of(page) == "nothing"


def test_what_stands_in_the_way_is_said(owner, member, key, assignment):
    registration = RegistrationFactory(installation=key.installation, state=Registration.State.PENDING)
    key.delete()
    for client, url in ((owner, admin_url(key)), (member, course_url(assignment))):
        assert "waits to be activated" in text_of(client.get(url))
    Registration.objects.filter(pk=registration.pk).update(state=Registration.State.ACTIVE)
    assert "waits to be activated" not in text_of(owner.get(admin_url(key)))
    type(key.installation).objects.update(enabled=False)
    assert "switched off here" in text_of(owner.get(admin_url(key)))
    assert "Ask Olga Owner to switch it on" in text_of(member.get(course_url(assignment)))


def test_a_look_costs_few_statements(owner, key, assignment, django_assert_max_num_queries):
    for _ in range(5):
        launch(Client(), path_of(assignment), key, STUDENT)
    poll = admin_url(key, "installation-setup-arrival")
    owner.get(poll)
    with django_assert_max_num_queries(9):
        owner.get(poll)
