"""An owner's pages for merging people: hints, search, preview, deed, list, undoing."""

import re
from decimal import Decimal

import pytest
from django.urls import reverse

from events.log import SYSTEM
from grades.scores import record_score
from launches.models import Merge
from organizations.models import LmsAccount, Person
from organizations.tests.admin_client import operator_client, owner_client, text_of
from tests.factories import InstallationFactory, OrganizationFactory, PersonFactory, UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("memory_queue")]


@pytest.fixture
def organization():
    return OrganizationFactory(name="Acme")


@pytest.fixture
def owner(organization):
    return owner_client(organization)


def known(organization, name, email="", lms="Moodle", user_id="", **fields):
    """A person who comes from an LMS."""
    person = PersonFactory(organization=organization, name=name, email=email, **fields)
    installation = organization.installations.filter(name=lms).first()
    installation = installation or InstallationFactory(organization=organization, name=lms)
    LmsAccount.objects.create(
        installation=installation, lms_user_id=user_id or f"id-of-{person.pk}", person=person, username=f"login-{name}"
    )
    return person


@pytest.fixture
def ada(organization):
    return known(organization, "Ada Lovelace", "ada@example.org", user_id="student-1")


@pytest.fixture
def twin(organization):
    return known(organization, "A. King", "ada@work.example", "Canvas", user_id="c-99")


def page_of(person, **query):
    return reverse("admin:person-merge", args=[person.pk], query=query)


def words(response):
    return " ".join(re.sub(r"(?s)<(script|style).*?</\1>|<[^>]*>", " ", text_of(response)).split())


@pytest.mark.parametrize("term", ["A. King", "king", "work.example", "c-99", "login-A. King"])
def test_the_other_one_is_found_by_name_address_and_lms_id(owner, ada, twin, term):
    text = text_of(owner.get(page_of(ada), {"q": term}))
    assert f"?with={twin.pk}" in text
    assert f"?with={ada.pk}" not in text


def test_nobody_found_and_too_many_found(owner, ada, organization):
    assert "Nobody of Acme is called “nobody”" in words(owner.get(page_of(ada), {"q": "nobody"}))
    assert "An LMS user id has to be written in full" in words(owner.get(page_of(ada), {"q": "nobody"}))
    for number in range(21):
        known(organization, f"Namesake {number}")
    page = owner.get(page_of(ada), {"q": "Namesake"})
    assert text_of(page).count("?with=") == 20
    assert "more than these 20" in words(page)


@pytest.mark.parametrize("term", ["\x00", "a\x00b", "x" * 5000, "%", "'; --", "<script>", "\ud800"])
def test_odd_searches_find_nobody_and_break_nothing(owner, ada, term):
    quoted = "".join(f"%{byte:02x}" for byte in term.encode("utf-8", "surrogatepass"))
    assert owner.get(f"{page_of(ada)}?q={quoted}").status_code == 200


def test_without_a_search_those_with_the_same_name_or_address_are_offered(owner, ada, organization):
    same_address = known(organization, "Somebody", "ADA@example.org")
    same_name = known(organization, "Ada Lovelace", "other@example.org")
    PersonFactory(name="Ada Lovelace", email="ada@example.org")
    text = text_of(owner.get(page_of(ada)))
    assert set(re.findall(r"with=([0-9a-f-]{36})", text)) == {str(same_address.pk), str(same_name.pk)}


def test_the_preview_says_what_each_has_and_what_would_happen(owner, ada, twin, assignment):
    assignment.course.organization = ada.organization
    assignment.course.save()
    record_score(assignment, ada, points=Decimal(9), actor=SYSTEM)
    record_score(assignment, twin, points=Decimal("3.5"), actor=SYSTEM)
    page = owner.get(page_of(ada), {"with": twin.pk})
    text = words(page)
    assert "Moodle: student-1" in text
    assert "Canvas: c-99" in text
    assert "In 1 assignment both have worked" in text
    assert re.search(r"Essay Rhetoric 9 points 3\.5 points", text)
    assert "Let the other one stay" in text
    assert page_of(twin, **{"with": ada.pk}) in text_of(page)
    assert not Merge.objects.exists()


def test_merged_listed_and_undone(owner, ada, twin):
    done = owner.post(page_of(ada), {"with": twin.pk}, follow=True)
    merged = Merge.objects.get()
    assert done.redirect_chain[0][0] == reverse("admin:launches_merge_change", args=[merged.pk])
    assert "Merged: 1 person joined" in words(done)
    assert not Person.objects.filter(pk=twin.pk).exists()
    listed = words(owner.get(reverse("admin:launches_merge_changelist")))
    assert "A. King · ada@work.example" in listed
    assert str(merged.applied_by) in listed
    assert "A. King" in words(owner.get(reverse("admin:organizations_person_change", args=[ada.pk])))
    assert "Merged" in words(owner.get(reverse("admin:organizations_person_history", args=[ada.pk])))
    undo = reverse("admin:merge-undo", args=[merged.pk])
    assert undo in text_of(done)
    assert "Undo the merge" in words(owner.get(undo))
    assert Merge.objects.get().undone_at is None, "GET asks only"
    undone = owner.post(undo, follow=True)
    assert "the two are two people again" in words(undone)
    assert Person.objects.filter(pk=twin.pk, name="A. King").exists()
    assert "undone already" in words(owner.get(undo))
    assert owner.post(undo).status_code == 409
    assert undo not in text_of(owner.get(reverse("admin:launches_merge_change", args=[merged.pk])))


def test_why_it_cannot_be_undone_is_said(owner, ada, twin, assignment):
    assignment.course.organization = ada.organization
    assignment.course.save()
    owner.post(page_of(ada), {"with": twin.pk})
    record_score(assignment, ada, points=Decimal(9), actor=SYSTEM)
    response = owner.post(reverse("admin:merge-undo", args=[Merge.objects.get().pk]))
    assert response.status_code == 409
    assert "Ada Lovelace has been graded in “Essay” since" in words(response)


def test_why_they_cannot_be_merged_is_said(owner, ada, twin):
    for person in (ada, twin):
        person.user = UserFactory()
        person.save()
    page = owner.get(page_of(ada), {"with": twin.pk})
    assert "as two users" in words(page)
    assert ">Merge</button>" not in text_of(page)
    response = owner.post(page_of(ada), {"with": twin.pk})
    assert (response.status_code, Merge.objects.count()) == (409, 0)
    assert "as two users" in words(response)


def test_what_remains_of_somebody_says_so(owner, ada, twin, assignment):
    assignment.course.organization = ada.organization
    assignment.course.save()
    for person in (ada, twin):
        record_score(assignment, person, points=Decimal(9), actor=SYSTEM)
    owner.post(page_of(ada), {"with": twin.pk})
    page = owner.get(reverse("admin:organizations_person_change", args=[twin.pk]))
    assert "Was merged into Ada Lovelace" in words(page)
    assert "Merge with…" not in words(page)


def test_people_of_two_organizations_are_never_merged(owner, ada, organization):
    elsewhere = OrganizationFactory()
    stranger = known(elsewhere, "Stranger")
    both = owner_client(organization, elsewhere)
    for client in (owner, both, operator_client()):
        for person, other in ((ada, stranger), (ada, ada)):
            assert client.get(page_of(person), {"with": other.pk}).status_code == 404
            assert client.post(page_of(person), {"with": other.pk}).status_code == 404
        assert "with=" not in text_of(client.get(page_of(ada), {"q": "Stranger"}))
    assert owner.get(page_of(stranger)).status_code == 404
    assert owner.post(page_of(stranger), {"with": ada.pk}).status_code == 404
    for wrong in ("x", "", "0", "\x00"):
        assert owner.post(page_of(ada), {"with": wrong}).status_code in (302, 404)
    assert not Merge.objects.exists()


def test_one_who_is_merged_meanwhile_is_not_merged_again(owner, ada, twin):
    owner.post(page_of(ada), {"with": twin.pk})
    assert owner.post(page_of(ada), {"with": twin.pk}).status_code == 404
    assert Merge.objects.count() == 1


def duplicates_on(client, **query):
    text = text_of(client.get(reverse("admin:organizations_person_changelist"), query))
    return set(re.findall(r"person/([0-9a-f-]{36})/merge/\?with=([0-9a-f-]{36})", text))


def test_likely_duplicates_are_hinted_at_and_left_alone(owner, organization, ada):
    named = known(organization, "ada lovelace", "Ada@Example.org", "Canvas")
    known(organization, "Byron", "ada@example.org", "Canvas")
    first = known(organization, "Bo", "bo@example.org", email_verified=True)
    second = known(organization, "Bob", "BO@example.org", "Canvas", email_verified=True)
    known(organization, "Bobby", "bo@example.org", "Sakai", email_verified=False)
    known(OrganizationFactory(), "Ada Lovelace", "ada@example.org")
    PersonFactory(organization=organization, name="Ada Lovelace", email="ada@example.org")  # no account: set aside
    assert duplicates_on(owner) == {(str(ada.pk), str(named.pk)), (str(first.pk), str(second.pk))}
    assert duplicates_on(owner, q="Ada") == set()
    assert duplicates_on(operator_client()) == set()
    assert not Merge.objects.exists()
    text = words(owner.get(reverse("admin:organizations_person_changelist")))
    assert "the same verified e-mail address" in text
    assert "the same name and e-mail address" in text


def test_the_list_of_people_asks_little_more_where_many_look_alike(owner, organization, django_assert_max_num_queries):
    for number in range(30):
        for lms in ("Moodle", "Canvas"):
            known(organization, f"Person {number}", f"{number}@example.org", lms)
    with django_assert_max_num_queries(75):
        assert len(duplicates_on(owner)) == 10
