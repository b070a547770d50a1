"""Copying a course, and taking a copy back, in the admin."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminTextInputWidget

from courses.copying import CopyNotUndoneError, reason_to_keep, undo_copy
from courses.models import Course
from events.log import Actor
from launches.copying_pages import copy_form, copy_from_form
from launches.forms import CopyForm
from organizations.tenancy import scope_of

PAGE, UNDO_PAGE = "course-copy", "course-copy-undo"
COPIED = (
    "Copied are the modules, the assignments (with the same constant keys, and with their dates as they are), the "
    "rooms of live sessions (with addresses of their own) and the settings. People, work, grades, sessions and "
    "recordings, LMS links and the course LMS URL are not, and course copy at launch is off in the copy."
)


class AdminCopyForm(CopyForm):
    """The form as the admin draws fields."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget = UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "maxlength": 255})


def copy_page(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """GET shows the form, POST makes the copy and leads to it."""
    course = _course(request, object_id)
    form = AdminCopyForm(request.POST) if request.method == "POST" else copy_form(course, AdminCopyForm)
    if request.method == "POST":
        copy = copy_from_form(form, course, Actor.of(scope_of(request).actor))
        if copy is not None:
            messages.success(request, f"“{copy.name}” is made. It can be undone for a day, while no student is in it.")
            return redirect("admin:courses_course_change", copy.pk)
    return TemplateResponse(
        request,
        "admin/form_page.html",
        {**_frame(request, f"Copy {course.name}", course), "form": form, "submit_words": "Copy", "intro": COPIED},
        status=422 if form.errors else 200,
    )


def undo_page(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """GET asks, POST takes the copy back; 409 with the reason when it has to stay."""
    course = _course(request, object_id)
    if course.copied_at is None:
        raise Http404
    parent_id, name, reason = course.copied_from_id, course.name, reason_to_keep(course)
    if request.method == "POST":
        try:
            undo_copy(course, Actor.of(scope_of(request).actor))
        except CopyNotUndoneError as error:
            reason = str(error)
        else:
            messages.success(request, f"The copy “{name}” is deleted, and its code is free again.")
            if parent_id is None:
                return redirect("admin:courses_course_changelist")
            return redirect("admin:courses_course_change", parent_id)
    return TemplateResponse(
        request,
        "admin/launches/course_copy_undo.html",
        {**_frame(request, "Undo this copy?", course), "course": course, "reason": reason},
        status=409 if reason else 200,
    )


def _course(request: HttpRequest, object_id: UUID) -> Course:
    course = scope_of(request).limit(Course.objects.select_related("copied_from")).filter(pk=object_id).first()
    if course is None:
        raise Http404
    found: Course = course
    return found


def _frame(request: HttpRequest, title: str, course: Course) -> dict[str, Any]:
    return {
        **admin.site.each_context(request),
        "title": title,
        "opts": Course._meta,
        "original": course,
        "has_view_permission": True,
    }


site: Any = admin.site
site.register_page("courses/course/<uuid:object_id>/copy/", copy_page, PAGE)
site.register_page("courses/course/<uuid:object_id>/undo-copy/", undo_page, UNDO_PAGE)
