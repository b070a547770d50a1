"""Gradebook cells: where the LMS wants a person's grade for one of its links (A34)."""

from typing import Any
from uuid import UUID

from django.utils import timezone

from courses.models import Assignment, ResourceLink
from events.deliveries import cancel_waiting
from grades.models import GradebookCell, Score
from grades.outbox import KIND, enqueue_scores, lock_passage
from lti.v1p3.claims import AgsClaim
from organizations.upsert import update_where

_ELSEWHERE = "link_opens_another_assignment"
_ELSEWHERE_WORDS = "Not sent: the link in the LMS opens another assignment now."


def remember_cell(
    *,
    resource_link_id: UUID,
    person_id: UUID,
    assignment: Assignment,
    installation_id: UUID,
    lti_key_id: UUID,
    outcome_service_url: str,
    result_sourcedid: str,
    outcome_extensions: dict[str, Any],
    send_grade: str,
) -> None:
    """Keeps the latest outcome service URL and sourcedid of a person's link. Call it in the launch's transaction.

    One statement when the link opened the same assignment before. A cell that is new, or opens another assignment now,
    gets the score that is there already; what waited to bring it the other assignment's is taken back. Without a
    service URL or sourcedid there is no cell, and one that is known stays (B18). A cell that LTI 1.3 had taken over is
    LTI 1.1's again: the latest launch says how the LMS is spoken to.
    """
    if not outcome_service_url or not result_sourcedid:
        return
    latest = {
        "installation_id": installation_id,
        "lti_key_id": lti_key_id,
        "outcome_service_url": outcome_service_url,
        "result_sourcedid": result_sourcedid,
        "outcome_extensions": outcome_extensions,
        "deployment_id": None,
        "send_grade": send_grade,
        "updated_at": timezone.now(),
    }
    known = {"resource_link_id": resource_link_id, "person_id": person_id, "assignment_id": assignment.pk}
    if not update_where(GradebookCell, known, latest):
        _point_cell(resource_link_id, person_id, assignment, latest)


def remember_line_item_cell(
    *,
    resource_link: ResourceLink,
    person_id: UUID,
    assignment: Assignment,
    installation_id: UUID,
    deployment_id: UUID,
    lms_user_id: str,
    ags: AgsClaim,
    send_grade: str,
) -> None:
    """Keeps what a launch says about LTI 1.3's grade service (F1). Call it in the launch's transaction.

    One statement when the link opened the same assignment before and its column is known; the rest is as with
    `remember_cell`. A cell known from LTI 1.1 is sent to by LTI 1.3 from now on; what it had stays, and with it the way
    back. Nobody without a user id has a cell (F16). The link keeps its column's URL where the launch names none: it
    has none then, or several, or we found or made it ourselves.
    """
    if not lms_user_id:
        return
    if ags.line_item and ags.line_item != resource_link.line_item_url:
        _name_column(resource_link, ags.line_item)
    latest = {
        "installation_id": installation_id,
        "deployment_id": deployment_id,
        "lms_user_id": lms_user_id,
        "line_items_url": ags.line_items,
        "scopes": list(ags.scopes),
        "send_grade": send_grade,
        "updated_at": timezone.now(),
    }
    known = {"resource_link_id": resource_link.pk, "person_id": person_id, "assignment_id": assignment.pk}
    if update_where(GradebookCell, known, latest):
        return
    was_another_ones = _point_cell(resource_link.pk, person_id, assignment, latest)
    if was_another_ones and not ags.line_item and resource_link.line_item_url:
        # The column that we found or made was the other assignment's.
        _name_column(resource_link, "")


def follow_link(link: ResourceLink, assignment: Assignment) -> None:
    """Lets the link's cells be this assignment's, since the link opens it from now on. Call it in the transaction that
    maps the link, with the link locked.

    What waited to bring them another assignment's grades is taken back, and the scores that are there already are sent.
    A column that we found or made for another assignment is not this one's; one that the LMS named is the link's.
    """
    if link.line_item_found:
        _name_column(link, "")
    moved = GradebookCell.objects.filter(resource_link=link).exclude(assignment=assignment)
    people = list(moved.values_list("person_id", flat=True))
    if not people:
        return
    lock_passage([(assignment.pk, person_id) for person_id in people])
    # Those whose launch was quicker hold their scores already.
    cells = list(moved.select_for_update(no_key=True).order_by("pk"))
    moved.filter(pk__in=[cell.pk for cell in cells]).update(assignment=assignment, last_percentage=None)
    for cell in cells:
        cell.assignment_id, cell.last_percentage = assignment.pk, None
    scores = list(Score.objects.filter(assignment=assignment, person__in=[cell.person_id for cell in cells]))
    for score in scores:
        score.assignment = assignment
    cancel_waiting(
        KIND,
        target_ids=[cell.pk for cell in cells],
        except_source_ids=[score.pk for score in scores],
        code=_ELSEWHERE,
        words=_ELSEWHERE_WORDS,
    )
    enqueue_scores(scores, cells, cells_are_new=True)


def _name_column(resource_link: ResourceLink, url: str) -> None:
    resource_link.line_item_url, resource_link.line_item_found = url, False
    ResourceLink.objects.filter(pk=resource_link.pk).update(line_item_url=url, line_item_found=False)


def _point_cell(resource_link_id: UUID, person_id: UUID, assignment: Assignment, latest: dict[str, Any]) -> bool:
    """Makes the cell, or lets it be this assignment's. Returns whether it was another one's."""
    is_pointed_elsewhere = False
    lock_passage([(assignment.pk, person_id)])
    fresh = GradebookCell(resource_link_id=resource_link_id, person_id=person_id, assignment_id=assignment.pk, **latest)
    GradebookCell.objects.bulk_create([fresh], ignore_conflicts=True)
    # no_key: deliveries and the like refer to nothing but its key.
    cell = GradebookCell.objects.select_for_update(no_key=True).get(
        resource_link_id=resource_link_id, person_id=person_id
    )
    if cell.pk != fresh.pk:
        is_pointed_elsewhere = cell.assignment_id != assignment.pk
        cell.assignment_id = assignment.pk
        for name, value in latest.items():
            setattr(cell, name, value)
        if is_pointed_elsewhere:
            # Whatever the column holds, it is not this assignment's.
            cell.last_percentage = None
        cell.save()
        if not is_pointed_elsewhere:
            return False
        cancel_waiting(
            KIND,
            target_ids=[cell.pk],
            except_source_ids=Score.objects.filter(assignment=assignment, person_id=person_id).values_list(
                "pk", flat=True
            ),
            code=_ELSEWHERE,
            words=_ELSEWHERE_WORDS,
        )
    score = Score.objects.filter(assignment=assignment, person_id=person_id).first()
    if score is not None:
        score.assignment = assignment
        enqueue_scores([score], [cell], cells_are_new=True)
    return is_pointed_elsewhere
