"""Whom a mentor sees: the learners that their launch named (A29, codio.md 1.5)."""

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Lower

from courses.models import Course
from launches.visits import Visit
from organizations.models import LmsAccount

MENTOR_FOR = ("mentor_for", "codio_custom_mentor_for", "codio_mentor_for")
_QUOTES = "\"'`“”„«»\u2018\u2019"
_NAMED_LIMIT = 1000


def named_in(text: str) -> list[str]:
    """The learners of a custom parameter `mentor_for`: e-mail addresses or LMS user ids between commas or semicolons,
    each of them or all together in quotes or not."""
    items = (item.strip().strip(_QUOTES).strip() for item in text.replace(";", ",").split(","))
    return list(dict.fromkeys(item for item in items if item))[:_NAMED_LIMIT]


def seen_by_mentor(visit: Visit, course: Course, person: str) -> Q:
    """Whether the visitor may see the person (named by the field `person` of the query), as far as mentors go; nobody
    else is held back.

    `role_scope_mentor` always limits. Where the course filters learners for mentors, `mentor_for` counts besides it,
    and a mentor for whom nobody is named sees nobody. Names are those of the visit's own LMS: its user ids, and the
    addresses of people who have an account there.
    """
    if visit.launch.role != "mentor":
        return Q()
    scope = list(visit.launch.mentor_for)
    if not course.filter_learners_for_mentors:
        return Q(Exists(_accounts(visit, person).filter(lms_user_id__in=scope))) if scope else Q()
    named = named_in(str(visit.launch.custom.get("mentor_for", "")))
    # Letters beyond ASCII may turn into others when their case changes, and databases differ in it: those as they are.
    addresses = [name for name in named if "@" in name]
    plain = [address.lower() for address in addresses if address.isascii()]
    accounts = _accounts(visit, person).annotate(address=F("person__email"), plain_address=Lower("person__email"))
    by_name = Q(lms_user_id__in=[*scope, *named])
    by_name |= Q(plain_address__in=plain) | Q(address__in=[one for one in addresses if not one.isascii()])
    return Q(Exists(accounts.filter(by_name)))


def _accounts(visit: Visit, person: str) -> QuerySet[LmsAccount]:
    return LmsAccount.objects.filter(person=OuterRef(person), installation=visit.installation)


def is_limited(visit: Visit) -> bool:
    """Whether the visitor is a mentor who sees some of the learners only."""
    filters = visit.course is not None and visit.course.filter_learners_for_mentors
    return visit.launch.role == "mentor" and bool(filters or visit.launch.mentor_for)


def names_nobody(visit: Visit) -> bool:
    """Whether the visitor is a mentor who sees nobody, since the course filters and the launch named no learner."""
    return (
        visit.launch.role == "mentor"
        and visit.course is not None
        and visit.course.filter_learners_for_mentors
        and not visit.launch.mentor_for
        and not named_in(str(visit.launch.custom.get("mentor_for", "")))
    )
