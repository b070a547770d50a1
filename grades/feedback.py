"""The public feedback link: a score with its comment, for anybody who has the link (codio.md 1.4, B19).

The link is signed, not stored: whoever has none cannot guess one, and it says nothing of whose it is. It opens as long
as the course's switch is on and the score is released.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from uuid import UUID

from django.conf import settings
from django.core import signing

from grades.models import Score

_SALT = "grades.feedback"
_TOKEN_LIMIT = 200


def _signer() -> signing.Signer:
    return signing.Signer(salt=_SALT, sep=".")


def feedback_token(score: Score) -> str:
    """What names a score's feedback in its address: the same for good, letters, digits, `-`, `_` and one dot."""
    return _signer().sign(urlsafe_b64encode(score.pk.bytes).decode().rstrip("="))


def feedback_url(score: Score) -> str:
    """The public address of a score's feedback; "" while it opens nothing. Needs `assignment.course`."""
    if not (score.assignment.course.public_feedback_link and score.graded and score.released):
        return ""
    return f"{settings.BASE_URL}/feedback/{feedback_token(score)}"


def feedback_of(token: str) -> Score | None:
    """The score that a token names, with assignment, course and organization, where its feedback is public now."""
    if len(token) > _TOKEN_LIMIT:
        return None
    try:
        encoded = _signer().unsign(token)
        score_id = UUID(bytes=urlsafe_b64decode(f"{encoded}=="))
    except (signing.BadSignature, NotBase64, ValueError):
        return None
    return (
        Score.objects.select_related("assignment__course__organization")
        .filter(
            pk=score_id,
            graded=True,
            released=True,
            assignment__course__public_feedback_link=True,
            assignment__course__organization__enabled=True,
        )
        .first()
    )
