"""Who takes part in a course."""

import threading
from http import HTTPStatus
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Status

from api.authentication import get_own
from api.pagination import Page, PageQuery, slice_of
from api.problems import ProblemError
from api.schemas.enrolments import EnrolmentOut, RosterSyncsOut, enrolment_out, roster_sync_out
from courses.models import Course
from courses.roster import ask_for_roster, readable_lms_courses, syncs_when_settled

router = Router()

# A worker reads most rosters within this time. Few callers may wait for it at once: the threads are the launches'.
WAIT_SECONDS = 5.0
_waiting = threading.BoundedSemaphore(2)
NO_ROSTER = (
    "No LMS course of this course has said where its roster is: somebody has to open it over LTI 1.3, in an LMS that "
    "allows this tool Names and Role Provisioning."
)


@router.get("/courses/{course_id}/enrolments", response=Page[EnrolmentOut], summary="List a course's enrolments")
def list_enrolments(request: HttpRequest, course_id: UUID, page: Query[PageQuery]) -> Page[EnrolmentOut]:
    """Everybody who is or was in the course, oldest first; people who left are `gone`."""
    course = get_own(request, Course.objects.all(), course_id)
    rows = course.enrolments.select_related("person").prefetch_related("person__accounts")
    part = slice_of(rows, page)
    return Page(items=[enrolment_out(enrolment) for enrolment in part.rows], next=part.next)


@router.post(
    "/courses/{course_id}/roster-sync",
    response={200: RosterSyncsOut, 202: RosterSyncsOut},
    summary="Fetch the LMS's roster",
    openapi_extra={"x-problems": [409]},
)
def sync_roster(request: HttpRequest, course_id: UUID) -> Status[RosterSyncsOut]:
    """Reads the rosters of all LMS courses that open the course. 200 when that is over within a few seconds, 202 when
    it goes on: ask again, or look at the enrolments. 409 when no LMS has said where the roster is.

    People who have never launched become enrolments, those gone are marked; a roster that could not be read to its end
    marks nobody.
    """
    course = get_own(request, Course.objects.all(), course_id)
    lms_courses = list(readable_lms_courses(course))
    if not lms_courses:
        raise ProblemError(HTTPStatus.CONFLICT, NO_ROSTER)
    for lms_course in lms_courses:
        ask_for_roster(lms_course)
    may_wait = _waiting.acquire(blocking=False)
    try:
        syncs = syncs_when_settled([one.pk for one in lms_courses], seconds=WAIT_SECONDS if may_wait else 0)
    finally:
        if may_wait:
            _waiting.release()
    goes_on = any(sync.is_under_way for sync in syncs)
    answer = RosterSyncsOut(items=[roster_sync_out(sync) for sync in syncs])
    return Status(HTTPStatus.ACCEPTED if goes_on else HTTPStatus.OK, answer)
