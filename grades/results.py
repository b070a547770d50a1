"""Grades read back from the LMS: what its gradebook shows for a link (F11)."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from courses.models import ResourceLink
from grades.line_items import wanted_scopes
from grades.models import GradebookCell
from lti.v1p3.ags import read_results
from lti.v1p3.services import refused
from organizations.models import Deployment, LmsAccount, Person
from organizations.platforms import services_of


@dataclass(frozen=True, slots=True)
class GradeInLms:
    """A grade as the LMS has it: `points` of `maximum`, None where its cell is empty.

    `person` is None for somebody whom we do not know; `comment` is plain text of the LMS.
    """

    person: Person | None
    lms_user_id: str
    points: Decimal | None
    maximum: Decimal
    comment: str


def results_of(resource_link: ResourceLink) -> list[GradeInLms]:
    """The grades in the link's gradebook column, in the LMS's order.

    Asks the LMS: not in a transaction. Raises `lti.v1p3.services.ServiceFailed`, whose judgement says in plain words
    why there are none: the link has no column that we know, was never opened by LTI 1.3, or the LMS refused.
    """
    cell = (
        GradebookCell.objects.filter(resource_link=resource_link, deployment__isnull=False)
        .select_related("deployment__registration__organization", "deployment__installation")
        .order_by("-updated_at")
        .first()
    )
    if cell is None or cell.deployment is None or not resource_link.line_item_url:
        raise refused("no_gradebook_column", "No gradebook column of this link is known, from which to read grades.")
    deployment = cell.deployment
    if not deployment.registration.is_usable or deployment.state != Deployment.State.APPROVED:
        raise refused("registration_inactive", "The LTI 1.3 registration or deployment of this LMS is not active.")
    results = read_results(services_of(deployment, wanted_scopes(cell)), resource_link.line_item_url)
    people = _people(cell.installation_id, {result.user_id for result in results})
    return [
        GradeInLms(people.get(result.user_id), result.user_id, result.score, result.maximum, result.comment)
        for result in results
    ]


def _people(installation_id: UUID, lms_user_ids: set[str]) -> dict[str, Person]:
    accounts = LmsAccount.objects.filter(installation=installation_id, lms_user_id__in=lms_user_ids)
    return {account.lms_user_id: account.person for account in accounts.select_related("person")}
