"""The pages of one launch, below /launches/<id>/."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, register_converter
from django.urls.converters import StringConverter
from django.views.decorators.http import require_safe

from courses.models import Assignment
from launches import (
    branding,
    copying_pages,
    course_question_pages,
    course_settings_pages,
    export_pages,
    gradebook_pages,
    lms_results_pages,
    picker_pages,
    roster_pages,
    selection_pages,
    setup_pages,
    sign_in_pages,
    student_pages,
    teacher_pages,
)
from launches.course_access import CourseAccess, in_frame
from launches.course_navigation import access_of
from launches.dashboard_pages import dashboard_page
from launches.room_access import access_in_visit, room_in_frame, room_of_assignment
from launches.room_pages import room_page
from launches.room_urls import room_paths
from launches.sections import AskedSection, asked_section
from launches.student_pages import assignment_page, load_assignment
from launches.teacher_pages import table_page
from launches.visits import Visit, get_visit, launch_page
from lti.errors import LaunchError, LaunchErrorCode


class ColoursConverter(StringConverter):
    """Three colours as `launches.branding.Colours.name` writes them."""

    regex = "(?:[0-9a-f]{6}|none)-(?:[0-9a-f]{6}|none)-(?:[0-9a-f]{6}|none)"


register_converter(ColoursConverter, "colours")


@launch_page
@require_safe
def launch(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """Where the launch leads: its assignment, its course's dashboard, a picker (for a teacher's unmapped link, or
    because the LMS asked for content), or the question which course is meant."""
    visit = get_visit(request, launch_id)
    if visit.launch.selection is not None:
        return selection_pages.selection(request, visit)
    if visit.assignment is not None:
        reviewed = visit.launch.for_person_id
        if reviewed is not None and visit.is_staff:
            # The LMS asked to review this person's submission (D21, F12).
            return redirect("launch-person", visit.launch.id, visit.assignment.id, reviewed)
        room = room_of_assignment(visit.assignment)
        if room is not None and visit.is_staff:
            # Students find their session there in any case; staff come for it by the link, and for grades by the menu.
            return room_page(request, access_in_visit(visit, room), assignment=visit.assignment)
        return _assignment(request, visit, visit.assignment, asked_section(visit, visit.assignment))
    asked = course_question_pages.page_for(request, visit)
    if asked is not None:
        return asked
    if visit.launch.room is not None and visit.course is not None:
        return room_page(request, access_in_visit(visit, visit.launch.room))
    if visit.course is not None:
        return dashboard_page(request, visit, visit.course)
    if visit.is_teacher:
        return picker_pages.picker_page(request, visit)
    raise LaunchError(LaunchErrorCode.LINK_NOT_SET_UP, "the launch still leads somewhere")


@launch_page
@require_safe
def assignment(request: HttpRequest, launch_id: UUID, assignment_id: UUID) -> HttpResponse:
    """An assignment of the launch's course."""
    visit = get_visit(request, launch_id)
    return _assignment(request, visit, load_assignment(visit, assignment_id))


def _assignment(
    request: HttpRequest, visit: Visit, found: Assignment, asked_for: AskedSection | None = None
) -> HttpResponse:
    access = access_of(visit)
    if access is None:
        room = room_of_assignment(found)
        if room is not None:
            return room_page(request, access_in_visit(visit, room), assignment=found)
        return assignment_page(request, visit, found, asked_for=asked_for)
    return table_page(request, access, found, asked_for=asked_for)


@require_safe
def dashboard(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """The course's dashboard, for staff whose launch led elsewhere in it."""
    if access.visit is None:
        raise Http404
    return dashboard_page(request, access.visit, access.course)


_ASSIGNMENT = "assignments/<uuid:assignment_id>/"

urlpatterns = [
    path("", launch, name="launch"),
    path("choose", picker_pages.choose, name="launch-choose"),
    path("which-course", course_question_pages.answer, name="launch-course-answer"),
    path("which-course/answered", course_question_pages.answered, name="launch-course-answered"),
    path("which-course/continue", course_question_pages.continue_, name="launch-course-continue"),
    path("selection", selection_pages.select, name="launch-selection"),
    path("selection/insert", selection_pages.insert, name="launch-selection-insert"),
    path("selection/cancel", selection_pages.cancel, name="launch-selection-cancel"),
    path("people/", roster_pages.people, name="launch-people"),
    path("people/roster", roster_pages.progress, name="launch-roster"),
    path("people/sync", roster_pages.sync, name="launch-roster-sync"),
    path("course/", in_frame(dashboard), name="launch-course-dashboard"),
    path("course/gradebook/", gradebook_pages.launch_gradebook, name="launch-course-gradebook"),
    path("course/gradebook/changes", in_frame(gradebook_pages.changes), name="launch-course-gradebook-changes"),
    path("course/gradebook/table.csv", in_frame(gradebook_pages.table_csv), name="launch-course-gradebook-csv"),
    path(
        "course/gradebook/release",
        in_frame(gradebook_pages.release_page, changes=True),
        name="launch-course-gradebook-release",
    ),
    path(
        "course/gradebook/send-again",
        in_frame(gradebook_pages.send_again, changes=True),
        name="launch-course-gradebook-send-again",
    ),
    path(
        "course/gradebook/people/<uuid:person_id>/",
        in_frame(gradebook_pages.person),
        name="launch-course-gradebook-person",
    ),
    *room_paths("course/", "launch-course-", in_frame, room_in_frame),
    path("course/lti/", in_frame(course_settings_pages.settings_page), name="launch-course-lti"),
    path("course/lti/" + _ASSIGNMENT, in_frame(course_settings_pages.links_page), name="launch-course-lti-links"),
    path(
        "course/lti/links/<uuid:link_id>/",
        in_frame(course_settings_pages.link_page, changes=True),
        name="launch-course-lti-link",
    ),
    path(
        "course/lti/names/<uuid:alias_id>/",
        in_frame(course_settings_pages.forget_alias, changes=True),
        name="launch-course-lti-forget",
    ),
    path("course/exports", in_frame(export_pages.exports), name="launch-course-exports"),
    path("course/assignment-urls.csv", in_frame(export_pages.assignment_urls), name="launch-course-assignment-urls"),
    path("course/cartridge.imscc", in_frame(export_pages.cartridge), name="launch-course-cartridge"),
    path("course/setup", in_frame(setup_pages.setup), name="launch-course-setup"),
    path("course/setup/arrival", in_frame(setup_pages.arrival), name="launch-course-setup-arrival"),
    path("course/copy", in_frame(copying_pages.copy_page, changes=True), name="launch-course-copy"),
    path("course/copy/<uuid:copy_id>", in_frame(copying_pages.copied_page, changes=True), name="launch-course-copied"),
    path("sign-in", sign_in_pages.ask, name="launch-sign-in"),
    path("sign-in/end", sign_in_pages.end, name="launch-sign-in-end"),
    path("style/<colours:colours>.css", branding.style, name="launch-style"),
    path(_ASSIGNMENT, assignment, name="launch-assignment"),
    path(f"{_ASSIGNMENT}content", student_pages.content, name="launch-content"),
    path(f"{_ASSIGNMENT}draft", student_pages.draft, name="launch-draft"),
    path(f"{_ASSIGNMENT}submission", student_pages.submission, name="launch-submission"),
    path(f"{_ASSIGNMENT}passage", student_pages.own_passage, name="launch-own-passage"),
    path(
        f"{_ASSIGNMENT}passages",
        in_frame(teacher_pages.passages),
        name="launch-passages",
    ),
    path(
        f"{_ASSIGNMENT}release",
        in_frame(teacher_pages.release, changes=True),
        name="launch-release",
    ),
    path(
        f"{_ASSIGNMENT}send-again",
        in_frame(teacher_pages.send_again, changes=True),
        name="launch-send-again",
    ),
    path(f"{_ASSIGNMENT}in-the-lms", lms_results_pages.results_page, name="launch-lms-results"),
    path(
        f"{_ASSIGNMENT}table.csv",
        in_frame(teacher_pages.table_csv),
        name="launch-table-csv",
    ),
    path(
        f"{_ASSIGNMENT}people/<uuid:person_id>/",
        in_frame(teacher_pages.person),
        name="launch-person",
    ),
    path(
        f"{_ASSIGNMENT}people/<uuid:person_id>/score",
        in_frame(teacher_pages.score, changes=True),
        name="launch-score",
    ),
]
