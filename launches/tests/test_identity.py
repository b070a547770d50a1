"""Who somebody is (J4): by LMS and user id; by address only among LMSs of one organization that are vouched for."""

import pytest

from launches.models import Merge
from organizations.models import Installation, LmsAccount, Person
from tests.factories import AssignmentFactory, LtiKeyFactory
from tests.visiting import student

pytestmark = pytest.mark.django_db
ADDRESS = "ada@example.edu"


@pytest.fixture
def elsewhere(key):
    """The key of another LMS of the same organization."""
    return LtiKeyFactory(installation__organization=key.installation.organization)


def vouch(*keys, verified=True):
    Installation.objects.filter(keys__in=keys).update(verified_emails=verified)


def arrives(key, assignment, user_id, email=ADDRESS, **changes):
    return student(key, assignment, user_id=user_id, lis_person_contact_email_primary=email, **changes).person


def test_nobody_vouches_nobody_is_linked(key, elsewhere, assignment):
    assert arrives(key, assignment, "a") != arrives(elsewhere, assignment, "b")
    assert arrives(key, assignment, "c") != arrives(key, assignment, "d"), "nor within one LMS"
    assert Person.objects.filter(email_verified=True).count() == 0


@pytest.mark.parametrize("first_is_vouched", [True, False])
def test_vouching_for_one_of_two_lmss_links_nobody(key, elsewhere, assignment, first_is_vouched):
    vouch(key if first_is_vouched else elsewhere)
    first, second = arrives(key, assignment, "a"), arrives(elsewhere, assignment, "b")
    assert first != second
    assert arrives(key, assignment, "a") == first
    assert arrives(elsewhere, assignment, "b") == second


def test_vouching_for_both_links_by_address_whatever_its_case(key, elsewhere, assignment):
    vouch(key, elsewhere)
    assert arrives(key, assignment, "a") == arrives(elsewhere, assignment, "b", "ADA@Example.edu")
    assert Person.objects.count() == 1


def test_vouching_later_links_nobody_who_is_known_already(key, elsewhere, assignment):
    first, second = arrives(key, assignment, "a"), arrives(elsewhere, assignment, "b")
    vouch(key, elsewhere)
    assert arrives(key, assignment, "a") == first
    assert arrives(elsewhere, assignment, "b") == second, "the owner merges them, nobody else"
    assert not Merge.objects.exists()


def test_across_organizations_nobody_is_ever_linked(key, assignment):
    foreign = LtiKeyFactory()
    vouch(key, foreign)
    there = AssignmentFactory(course__organization=foreign.installation.organization)
    first, second = arrives(key, assignment, "a"), arrives(foreign, there, "a")
    assert first != second
    assert (first.organization, second.organization) == (
        key.installation.organization,
        foreign.installation.organization,
    )


def test_no_address_is_nobodys(key, elsewhere, assignment):
    vouch(key, elsewhere)
    assert arrives(key, assignment, "a", "") != arrives(elsewhere, assignment, "b", "")


def test_an_address_that_changes_later_moves_nobody(key, elsewhere, assignment):
    vouch(key, elsewhere)
    ada = arrives(key, assignment, "a")
    bob = arrives(elsewhere, assignment, "b", "bob@example.edu")
    # The LMS now gives Bob's account Ada's address: two people with one address, and each keeps what is theirs.
    assert arrives(elsewhere, assignment, "b", ADDRESS) == bob
    assert arrives(key, assignment, "a") == ada
    assert set(Person.objects.values_list("email", flat=True)) == {ADDRESS}
    # And somebody new with the address that Bob had is not Bob.
    assert arrives(key, assignment, "c", "bob@example.edu") not in (ada, bob)


def test_an_unvouched_lms_cannot_give_somebody_an_address_that_links(key, elsewhere, assignment):
    vouch(key)
    victim = arrives(key, assignment, "a")
    attacker = arrives(elsewhere, assignment, "evil", "evil@example.edu")
    assert arrives(elsewhere, assignment, "evil", ADDRESS) == attacker
    vouch(elsewhere, verified=False)
    assert arrives(key, assignment, "a-second-account") == victim
    attacker.refresh_from_db()
    assert (attacker.email_verified, attacker.accounts.count()) == (False, 1)


def test_whom_nobody_vouches_for_any_more_is_not_believed(key, elsewhere, assignment):
    vouch(key)
    planted = arrives(key, assignment, "a")
    vouch(key, verified=False)
    vouch(elsewhere)
    assert arrives(elsewhere, assignment, "b") != planted
    assert LmsAccount.objects.get(lms_user_id="a").person == planted
