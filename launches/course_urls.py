"""A course's own pages for those who signed in directly, below /courses/<id>/ (contract §3).

The same pages in the LMS frame are in `launches/page_urls.py`, below /launches/<id>/course/.
"""

from django.urls import path

from launches import (
    copying_pages,
    course_settings_pages,
    export_pages,
    gradebook_pages,
    learner_pages,
    setup_pages,
    teacher_pages,
)
from launches.course_access import signed_in
from launches.dashboard_pages import course_dashboard
from launches.room_access import room_signed_in
from launches.room_urls import room_paths

_OWN = "assignments/<uuid:assignment_id>/"
_PERSON = "people/<uuid:person_id>/"
_GRADING = "gradebook/assignments/<uuid:assignment_id>/"

urlpatterns = [
    path("", course_dashboard, name="course-dashboard"),
    path(_OWN, learner_pages.assignment, name="course-own-assignment"),
    path(f"{_OWN}draft", learner_pages.draft, name="course-own-draft"),
    path(f"{_OWN}submission", learner_pages.submission, name="course-own-submission"),
    path(f"{_OWN}passage", learner_pages.passage, name="course-own-passage"),
    path("gradebook/", gradebook_pages.course_gradebook, name="course-gradebook"),
    path("gradebook/changes", signed_in(gradebook_pages.changes), name="course-gradebook-changes"),
    path("gradebook/table.csv", signed_in(gradebook_pages.table_csv), name="course-gradebook-csv"),
    path("gradebook/release", signed_in(gradebook_pages.release_page), name="course-gradebook-release"),
    path("gradebook/send-again", signed_in(gradebook_pages.send_again), name="course-gradebook-send-again"),
    path(f"gradebook/{_PERSON}", signed_in(gradebook_pages.person), name="course-gradebook-person"),
    path(_GRADING, signed_in(teacher_pages.table), name="course-grading-assignment"),
    path(f"{_GRADING}passages", signed_in(teacher_pages.passages), name="course-grading-passages"),
    path(f"{_GRADING}release", signed_in(teacher_pages.release), name="course-grading-release"),
    path(f"{_GRADING}send-again", signed_in(teacher_pages.send_again), name="course-grading-send-again"),
    path(f"{_GRADING}table.csv", signed_in(teacher_pages.table_csv), name="course-grading-table-csv"),
    path(_GRADING + _PERSON, signed_in(teacher_pages.person), name="course-grading-person"),
    path(f"{_GRADING}{_PERSON}score", signed_in(teacher_pages.score), name="course-grading-score"),
    *room_paths("", "course-", signed_in, room_signed_in),
    path("lti/", signed_in(course_settings_pages.settings_page), name="course-lti"),
    path("lti/" + _OWN, signed_in(course_settings_pages.links_page), name="course-lti-links"),
    path("lti/links/<uuid:link_id>/", signed_in(course_settings_pages.link_page), name="course-lti-link"),
    path("lti/names/<uuid:alias_id>/", signed_in(course_settings_pages.forget_alias), name="course-lti-forget"),
    path("copy", signed_in(copying_pages.copy_page), name="course-copy"),
    path("copy/<uuid:copy_id>", signed_in(copying_pages.copied_page), name="course-copied"),
    path("exports", signed_in(export_pages.exports), name="course-exports"),
    path("assignment-urls.csv", signed_in(export_pages.assignment_urls), name="course-assignment-urls"),
    path("cartridge.imscc", signed_in(export_pages.cartridge), name="course-cartridge"),
    path("setup", signed_in(setup_pages.setup), name="course-setup"),
    path("setup/arrival", signed_in(setup_pages.arrival), name="course-setup-arrival"),
]
