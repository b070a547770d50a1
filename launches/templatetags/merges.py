"""What a person's page in the admin says of merges; that room knows nothing of them."""

from typing import Any

from django import template
from django.db.models import Q

from launches.models import Merge
from organizations.models import Person

register = template.Library()
SHOWN = 5


@register.inclusion_tag("admin/launches/person_merges.html")
def person_merges(person: Person) -> dict[str, Any]:
    """The merges that stand, newest first: who was taken in here, or that this one was taken in."""
    standing = Merge.objects.filter(organization=person.organization_id, undone_at=None)
    rows = list(standing.filter(Q(kept_person=person.pk) | Q(other_person=person.pk))[: SHOWN + 1])
    taken_in = next((row for row in rows if row.other_person == person.pk), None)
    return {
        "person": person,
        "taken_in": taken_in,
        "rows": [row for row in rows if row != taken_in][:SHOWN],
        "has_more": len(rows) > SHOWN,
    }
