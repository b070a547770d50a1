"""Copying a course by hand, in the LMS frame and signed in directly: the form, the copy, and undoing it."""

from datetime import timedelta
from uuid import UUID

from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from courses.copying import (
    UNDO_WITHIN,
    CopyNotUndoneError,
    copy_course,
    proposed_code,
    reason_to_keep,
    undo_copy,
    was_copied_by,
)
from courses.definitions import DefinitionError
from courses.models import Course
from events.log import Actor, EventType
from events.models import Event
from launches.course_access import CourseAccess
from launches.forms import CopyForm
from recordings.models import Room

COPIES_SHOWN = 20
# Within this time, the same form sent again is a double click: it leads to the copy that was made.
SENT_TWICE = timedelta(minutes=1)


@require_http_methods(["GET", "HEAD", "POST"])
def copy_page(request: HttpRequest, access: CourseAccess) -> HttpResponse:
    """GET shows the form and the copies there are; POST makes a copy and leads to it."""
    course = access.course
    if request.method == "POST":
        form = CopyForm(request.POST)
        copy = copy_from_form(form, course, access.actor)
        if copy is not None:
            return redirect(access.url("copied", copy_id=copy.pk))
    else:
        form = copy_form(course)
    copies = _copies(access)
    contents = course.assignments.aggregate(
        count=Count("pk"),
        dated=Count("pk", filter=Q(opens_at__isnull=False) | Q(due_at__isnull=False) | Q(closes_at__isnull=False)),
    )
    context = {
        "access": access,
        "visit": access.visit,
        "course": course,
        "form": form,
        "copy_url": access.url("copy"),
        "own_copy_url": access.url("copied", copy_id=course.pk) if course.copied_at else "",
        "assignment_count": contents["count"],
        "dated_count": contents["dated"],
        "module_count": course.modules.count(),
        "room_count": Room.objects.filter(course=course).count(),
        "copies": [(copy, access.url("copied", copy_id=copy.pk)) for copy in copies[:COPIES_SHOWN]],
        "more": max(0, copies.count() - COPIES_SHOWN),
        "undone": "undone" in request.GET,
    }
    return render(request, "launches/course_copy.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def copied_page(request: HttpRequest, access: CourseAccess, copy_id: UUID) -> HttpResponse:
    """GET shows a copy with its parameters for the LMS; POST takes it back."""
    if request.method == "POST" and _was_undone(access, copy_id):
        return redirect(f"{access.url('copy')}?undone=1")  # a double click
    copy = _load_copy(access, copy_id)
    refused = ""
    if request.method == "POST":
        try:
            undo_copy(copy, access.actor)
        except CopyNotUndoneError as error:
            refused = str(error)
        else:
            return redirect(_after_undoing(access, copy))
    context = {
        "access": access,
        "visit": access.visit,
        "copy": copy,
        "parent": copy.copied_from,
        "is_this": copy.pk == access.course.pk,
        "refused": refused,
        "kept": reason_to_keep(copy),
        "undo_until": copy.copied_at + UNDO_WITHIN if copy.copied_at else None,
        "assignment_count": copy.assignments.count(),
        "copy_url": access.url("copy"),
        "page_url": access.url("copied", copy_id=copy.pk),
    }
    return render(request, "launches/course_copied.html", context, status=409 if refused else 200)


def copy_form(course: Course, form_class: type[CopyForm] = CopyForm) -> CopyForm:
    """The form with what is proposed for a copy of the course."""
    return form_class(initial={"code": proposed_code(course), "name": f"Copy of {course.name}"[:255]})


def copy_from_form(form: CopyForm, course: Course, actor: Actor) -> Course | None:
    """The copy that the form asks for, made now or by its first click; None when something in the form is wrong, which
    it says then."""
    if not form.is_valid():
        return None
    code = form.cleaned_data["code"]
    try:
        return copy_course(course, code=code, name=form.cleaned_data["name"], actor=actor)
    except DefinitionError as error:
        twin = course.copies.filter(code=code, copied_at__gte=timezone.now() - SENT_TWICE).first()
        if error.taken and twin is not None and was_copied_by(twin, actor):
            return twin
        message = f"{error.message[:1].upper()}{error.message[1:]}."
        form.add_error(error.field if error.field in form.fields else None, message)
    return None


def _copies(access: CourseAccess) -> QuerySet[Course]:
    """The course's copies, newest first: to a teacher in the frame those that they made within the last day, to members
    of the organization all."""
    copies = access.course.copies.order_by("-copied_at", "-id")
    if access.visit is None:
        return copies
    made = Event.objects.filter(
        organization=access.organization,
        type=EventType.COURSE_COPIED,
        at__gte=timezone.now() - UNDO_WITHIN,
        actor__kind=access.actor.kind,
        actor__id=access.actor.id,
    ).values_list("subject__id", flat=True)
    return copies.filter(pk__in=list(made[:1000]))


def _load_copy(access: CourseAccess, copy_id: UUID) -> Course:
    """The course itself where it is a copy; or one of its copies, in the frame only one that this teacher made: what an
    LMS course's teacher may do ends at that course (design §2 promise 4). Raises Http404."""
    copy = Course.objects.select_related("copied_from").filter(pk=copy_id, organization=access.organization).first()
    if copy is None or copy.copied_at is None:
        raise Http404
    if copy.pk != access.course.pk:
        if copy.copied_from_id != access.course.pk:
            raise Http404
        if access.visit is not None and not was_copied_by(copy, access.actor):
            raise Http404
    return copy


def _was_undone(access: CourseAccess, copy_id: UUID) -> bool:
    return Event.objects.filter(
        organization=access.organization,
        type=EventType.COURSE_COPY_UNDONE,
        subject__id=str(copy_id),
        data__copied_from=str(access.course.pk),
        actor__kind=access.actor.kind,
        actor__id=access.actor.id,
    ).exists()


def _after_undoing(access: CourseAccess, copy: Course) -> str:
    if copy.pk != access.course.pk:
        return f"{access.url('copy')}?undone=1"
    if access.visit is not None:
        # The launch leads to no course any more: to the picker.
        return reverse("launch", args=[access.visit.launch.pk])
    if copy.copied_from_id is not None:
        return f"{reverse('course-copy', args=[copy.copied_from_id])}?undone=1"
    return reverse("home")
