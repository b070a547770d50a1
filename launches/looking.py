"""A look: a launch that says somebody else is in front of the page than the person it is about (codio.md 1.5, I6).

An LMS lets a teacher open a student's work this way, and an administrator of Canvas act as somebody. The launch carries
the student; who looks stands in custom parameters. A look shows and changes nothing (docs/decisions.md).
"""

from dataclasses import asdict, dataclass
from typing import Any

from launches.destinations import Destination
from lti.errors import LaunchError, LaunchErrorCode
from lti.message import LaunchMessage, displayed_name
from lti.roles import parse_roles
from organizations.models import Installation, LmsAccount, Person

# As LTI 1.1 and as LTI 1.3 call them (codio.md 1.5), and what Canvas's variables $Canvas.masqueradingUser.id and
# .userId are called where they arrive: they stay unresolved, thus missing, when nobody acts as another.
_ID = (
    "actual_user_id",
    "codio_actual_user_id",
    "canvas_masquerading_user_id",
    "canvas_masqueradinguser_id",
    "masquerading_user_id",
    "canvas_masquerading_user_user_id",
    "canvas_masqueradinguser_userid",
)
_EMAIL = ("actual_user_email", "codio_actual_user_email")
_ROLE = ("actual_user_role", "codio_actual_user_role")
_GIVEN = (
    "actual_user_name_given",
    "actual_user_given_name",
    "codio_actual_user_name_given",
    "codio_actual_user_given_name",
)
_FAMILY = (
    "actual_user_name_family",
    "actual_user_family_name",
    "codio_actual_user_name_family",
    "codio_actual_user_family_name",
)
_FULL = (
    "actual_user_name_full",
    "actual_user_full_name",
    "codio_actual_user_name_full",
    "codio_actual_user_full_name",
)
_LIMIT = 255
# What a refused look was refused for; launches/refusal_texts.py has words of their own for it.
NOBODY_TO_LOOK_AT = "the person looked at is known"
MAY_NOT_LOOK = "the role may look at another's work"
# Who has no other roles than these has no business in other people's work.
_STUDENT_LIKE = frozenset(
    ("alumni", "guest", "learner", "member", "none", "observer", "other", "prospectivestudent", "student", "user")
)


@dataclass(frozen=True)
class ActualUser:
    """Who really looks, as the LMS says it; empty texts where it does not. `name` is never empty."""

    id: str
    email: str
    role: str
    name: str


def actual_user_of(message: LaunchMessage) -> ActualUser | None:
    """Who looks, if it is somebody else than the launch is about.

    Without an id and an e-mail address nobody is named. An LMS may fill these fields in every launch: who looks at
    themselves is a normal launch, and so is a test person's (Canvas's student view is a masquerade to Canvas).
    """
    user_id, email = _value(message, _ID), _value(message, _EMAIL)
    if message.roles.is_test_user or not (user_id or email):
        return None
    if user_id == message.user_id or (not user_id and email.lower() == message.email.lower()):
        return None
    name = displayed_name(full=_value(message, _FULL), given=_value(message, _GIVEN), family=_value(message, _FAMILY))
    return ActualUser(
        id=user_id, email=email, role=_value(message, _ROLE), name=name[:_LIMIT] or email or f"LMS user {user_id}"
    )


def _value(message: LaunchMessage, names: tuple[str, ...]) -> str:
    return message.custom_value(*names).strip()[:_LIMIT]


def as_kept(actual: ActualUser | None) -> dict[str, Any]:
    """What `Launch.actual_user` keeps: the fields of an `ActualUser`; nothing in a normal launch."""
    return asdict(actual) if actual is not None else {}


def person_looked_at(installation: Installation, message: LaunchMessage, actual: ActualUser) -> Person:
    """Whose work it is, as we know them: a look makes nobody, and brings nobody's data up to date.

    Raises `LaunchError` ROLE_NOT_ALLOWED for a role that is only a student's, UNKNOWN_DESTINATION for somebody who has
    never been here. A role that the LMS does not name is not judged: Canvas names none.
    """
    roles = parse_roles(actual.role)
    if roles.items and all(role.name.lower() in _STUDENT_LIKE for role in roles.items):
        raise LaunchError(
            LaunchErrorCode.ROLE_NOT_ALLOWED,
            MAY_NOT_LOOK,
            expected="an actual_user_role that is not a student's",
            received=actual.role,
            cause="The LMS said that a student opened another person's work (actual_user_role).",
        )
    account = (
        LmsAccount.objects.select_related("person")
        .filter(installation=installation, lms_user_id=message.user_id)
        .first()
    )
    if account is None:
        raise LaunchError(
            LaunchErrorCode.UNKNOWN_DESTINATION,
            NOBODY_TO_LOOK_AT,
            expected="somebody who has opened a link of this LMS",
            received=message.user_id,
            cause="This person has never opened anything here, so there is no work to look at. A look makes nobody.",
        )
    return account.person


def check_something_to_look_at(message: LaunchMessage, destination: Destination) -> None:
    """Raises `LaunchError` ROLE_NOT_ALLOWED for a picker, LINK_NOT_SET_UP where the launch leads to no course yet: a
    look chooses no content, maps no link, answers no question and copies no course."""
    if message.selection is not None:
        raise LaunchError(
            LaunchErrorCode.ROLE_NOT_ALLOWED,
            "content is chosen in one's own name",
            cause="The LMS said that somebody acts as this person (actual_user); then nothing can be changed.",
        )
    if destination.course is None:
        raise LaunchError(
            LaunchErrorCode.LINK_NOT_SET_UP,
            "there is something to look at",
            expected="a link that is connected to an assignment or course",
            cause="Somebody looks at another person's work through a link that nobody has set up yet.",
        )
