"""Which person an LMS account is (A22, J4): by installation and LMS user id, and by nothing else unless the owner
vouched for it."""

from uuid import UUID

from django.db.models import Exists, OuterRef
from django.db.models.functions import Lower

from lti.message import LaunchMessage
from organizations.account_locks import hold_accounts
from organizations.models import Installation, LmsAccount, Person
from organizations.prepared_query import PreparedQuery
from organizations.upsert import upsert

_ACCOUNT = PreparedQuery(
    lambda installation, lms_user_id: LmsAccount.objects.select_related("person").filter(
        installation=installation, lms_user_id=lms_user_id
    ),
    _hold=True,
    installation=UUID,
    lms_user_id=str,
)


def person_of(installation: Installation, message: LaunchMessage) -> Person:
    """The person who launched, made or brought up to date. Call it in the launch's transaction.

    Until its end nobody merges this person with another one: what the launch writes is not left behind.
    """
    account = _ACCOUNT.first(installation=installation.id, lms_user_id=message.user_id)
    if account is None:
        return _new_account(installation, message)
    _update_account(account, message)
    _update_person(account.person, installation, message)
    return account.person


def _new_account(installation: Installation, message: LaunchMessage) -> Person:
    person = _person_of_verified_email(installation, message)
    made = person is None
    if person is None:
        person = Person.objects.create(
            organization=installation.organization,
            name=message.name[:255],
            given_name=message.given_name[:255],
            family_name=message.family_name[:255],
            email=message.email[:320],
            email_verified=bool(message.email) and installation.verified_emails,
            picture_url=message.picture_url[:2000],
        )
    account_id, inserted = upsert(
        LmsAccount,
        {"installation_id": installation.id, "lms_user_id": message.user_id},
        {
            "person_id": person.id,
            "username": message.username[:255],
            "sourcedid": message.person_sourcedid[:255],
            "is_test_user": message.roles.is_test_user,
        },
        update=[],
    )
    if inserted:
        return person
    # Another launch of the same person came first: theirs is the one.
    if made:
        person.delete()
    return LmsAccount.objects.select_related("person").get(pk=account_id).person


def _person_of_verified_email(installation: Installation, message: LaunchMessage) -> Person | None:
    """Whoever already has this address, if the owner vouched for this LMS's addresses and for where theirs came from
    (J4: an LMS that lets people choose their address must not lead to somebody else's work)."""
    if not installation.verified_emails or not message.email:
        return None
    people = Person.objects.filter(
        # Whom the owner does not vouch for any more is not believed for what was said before.
        Exists(LmsAccount.objects.filter(person=OuterRef("pk"), installation__verified_emails=True)),
        organization=installation.organization,
        email_verified=True,
    )
    if message.email.isascii():
        people = people.annotate(lower_email=Lower("email")).filter(lower_email=message.email.lower())
    else:
        # Letters beyond ASCII may turn into others when their case changes: the Kelvin sign is no k.
        people = people.filter(email=message.email)
    person, held = people.order_by("id").first(), None
    while person is not None and person.pk != held:
        # Somebody who is being merged at this moment is somebody else afterwards.
        held = person.pk
        hold_accounts(LmsAccount.objects.filter(person=held))
        person = people.order_by("id").first()
    return person


def _update_account(account: LmsAccount, message: LaunchMessage) -> None:
    given = {
        "username": message.username[:255] or account.username,
        "sourcedid": message.person_sourcedid[:255] or account.sourcedid,
        "is_test_user": message.roles.is_test_user,
    }
    changed = [name for name, value in given.items() if getattr(account, name) != value]
    if changed:
        for name in changed:
            setattr(account, name, given[name])
        account.save(update_fields=changed)


def _update_person(person: Person, installation: Installation, message: LaunchMessage) -> None:
    """Takes over what the LMS says now; what it no longer says stays (privacy settings change between launches)."""
    given: dict[str, object] = {}
    if message.name:
        given |= {
            "name": message.name[:255],
            "given_name": message.given_name[:255],
            "family_name": message.family_name[:255],
        }
    if message.picture_url:
        given["picture_url"] = message.picture_url[:2000]
    # An address that was vouched for is not overwritten by one that was not.
    if message.email and (installation.verified_emails or not person.email_verified):
        given |= {"email": message.email[:320], "email_verified": installation.verified_emails}
    changed = [name for name, value in given.items() if getattr(person, name) != value]
    if changed:
        for name in changed:
            setattr(person, name, given[name])
        person.save(update_fields=changed)
