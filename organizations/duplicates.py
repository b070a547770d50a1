"""People who look like one and the same: a hint for the owner, and never more than that (J4)."""

from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, QuerySet
from django.db.models.functions import Lower

from organizations.models import LmsAccount, Person

SHOWN = 10


@dataclass(frozen=True)
class Likeness:
    """Two people who look alike, the one known longer first; `more` others do, too. `reason` says why."""

    first: Person
    second: Person
    more: int
    reason: str


def likely_duplicates(people: QuerySet[Person], limit: int = SHOWN) -> list[Likeness]:
    """Of the people, those with one verified address, and those with one name and one address; at most `limit` groups.

    An address alone says little: families and schools share them. Whoever has no LMS account is left out: that is what
    remains of somebody who was merged.
    """
    accounts = LmsAccount.objects.filter(person=OuterRef("pk"))
    people = people.filter(Exists(accounts)).exclude(email="").annotate(address=Lower("email"), called=Lower("name"))
    verified = people.filter(email_verified=True)
    found = _groups(verified, ["organization", "address"], "the same verified e-mail address", limit)
    known = {likeness.first.pk for likeness in found} | {likeness.second.pk for likeness in found}
    named = _groups(
        people.exclude(name=""), ["organization", "address", "called"], "the same name and e-mail address", limit
    )
    return (found + [row for row in named if not {row.first.pk, row.second.pk} <= known])[:limit]


def likely_twins(person: Person, limit: int = SHOWN) -> list[Person]:
    """People of the organization with this person's address, or with the very same name."""
    others = Person.objects.filter(organization=person.organization_id).exclude(pk=person.pk)
    others = others.filter(Exists(LmsAccount.objects.filter(person=OuterRef("pk")))).prefetch_related(
        "accounts__installation"
    )
    found: list[Person] = []
    if person.email:
        same_address = others.annotate(address=Lower("email")).filter(address=person.email.lower())
        found += same_address.order_by("id")[:limit]
    if person.name and len(found) < limit:
        found += others.filter(name=person.name).exclude(pk__in=[row.pk for row in found]).order_by("id")[:limit]
    return found[:limit]


def _groups(people: QuerySet[Person], alike: list[str], reason: str, limit: int) -> list[Likeness]:
    groups = people.order_by().values(*alike).annotate(count=Count("pk")).filter(count__gt=1)
    found = []
    for group in groups.order_by(*alike)[:limit]:
        members = people.filter(**{name: group[name] for name in alike}).order_by("created_at", "id")
        first, second = members.prefetch_related("accounts__installation")[:2]
        found.append(Likeness(first, second, group["count"] - 2, reason))
    return found
