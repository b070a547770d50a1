"""“Is this a copy?”: a teacher says which course of ours an LMS course is (pages.md)."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from courses.copying import UNDO_WITHIN, reason_to_keep
from courses.definitions import DefinitionError
from courses.models import Course, ResourceLink, code_validator
from launches.course_finding import CourseQuestion, NamedBy
from launches.course_question import (
    AlreadyAnsweredError,
    answer_with_copy,
    answer_with_course,
    answer_with_new_course,
    answered_with,
    candidates,
    chosen_course,
    fitting,
    go_on,
    link_of,
    proposed,
    question_of,
)
from launches.forms import CopyForm
from launches.picker_pages import picker_page
from launches.searching import typed_search
from launches.visits import Visit, get_visit_for_teacher, launch_page

COPY, LINK, EMPTY = "copy", "link", "empty"


class EmptyCourseForm(CopyForm):
    """The code and name of a new course without assignments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("code", "name"):
            self.fields[name].label = f"{name.capitalize()} of the course"
            self.fields[name].error_messages["required"] = f"Give the course a {name}."
        self.fields["code"].validators.append(code_validator)
        self.fields["code"].help_text = "Unique in the organization. It is also the course's target id."


def page_for(request: HttpRequest, visit: Visit) -> HttpResponse | None:
    """What the launch shows while its question is open: the question; and after the answer, where the link names
    nothing, the picker. None: what every launch shows."""
    question = question_of(visit.launch)
    if question is None or not visit.is_teacher or visit.launch.resource_link is None or visit.assignment is not None:
        return None
    if visit.course is None:
        return question_page(request, visit, question)
    return picker_page(request, visit) if _picks_next(visit, visit.launch.resource_link) else None


def _picks_next(visit: Visit, link: ResourceLink) -> bool:
    """Whether the link still shows nothing although its course is known, and there is something to show."""
    unmapped = link.assignment_id is None and link.course_id is None
    return (
        unmapped
        and link.address_kind in ("", ResourceLink.AddressKind.ANY)
        and visit.course is not None
        and visit.course.assignments.exists()
    )


def question_page(
    request: HttpRequest,
    visit: Visit,
    question: CourseQuestion,
    *,
    form: CopyForm | None = None,
    chosen: Course | None = None,
    choice: str = "",
    status: int = 200,
) -> HttpResponse:
    """The candidates, or (`?choice=`, `?course=`) what one of them would mean; or that somebody has answered."""
    link = link_of(visit)
    answered = answered_with(visit, question, link)
    context: dict[str, Any] = {
        "visit": visit,
        "question": question,
        "link": link,
        "lms_course": link.lms_course,
        "answered": answered,
        "may_start_empty": question.named_by is NamedBy.NOTHING,
        "learns": next(iter(question.names.in_order), ""),
        "undo_hours": int(UNDO_WITHIN.total_seconds() // 3600),
    }
    if answered is not None:
        return render(request, "launches/course_question_answered.html", context, status=status)
    choice = choice or request.GET.get("choice", "")
    if choice in (COPY, LINK) and chosen is None:
        chosen = _chosen(visit, question, choice, request.GET.get("course", ""))
    if choice == EMPTY and not context["may_start_empty"]:
        raise Http404
    if choice in (COPY, LINK, EMPTY):
        if form is None and choice != LINK:
            code, name = proposed(visit, question, chosen)
            form = (CopyForm if choice == COPY else EmptyCourseForm)(initial={"code": code, "name": name})
        context |= {"choice": choice, "chosen": chosen, "form": form}
        return render(request, "launches/course_question_choice.html", context, status=status)
    search = typed_search(request.GET)
    found = candidates(visit, question, search)
    context |= {
        "search": search,
        "found": found,
        "strongest": found.likely[0] if found.likely else None,
        "anything": bool(found.likely or found.others) or fitting(visit.organization, question).exists(),
    }
    return render(request, "launches/course_question.html", context, status=status)


def _chosen(visit: Visit, question: CourseQuestion, choice: str, course_id: str) -> Course:
    course = chosen_course(visit, question, course_id, to_copy=choice == COPY)
    if course is None:
        raise Http404
    return course


@launch_page
@require_POST
def answer(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """Takes the teacher's answer, and says what was done."""
    visit, question = _asked(request, launch_id)
    if visit.course is not None:
        return redirect("launch-course-answered", visit.launch.id)  # a double click
    choice = request.POST.get("choice", "")
    form: CopyForm | None = None
    chosen: Course | None = None
    try:
        if choice in (COPY, LINK):
            chosen = _chosen(visit, question, choice, request.POST.get("course", ""))
        if choice == LINK and chosen is not None:
            answer_with_course(visit, question, chosen)
        elif choice == COPY and chosen is not None:
            form = CopyForm(request.POST)
            if form.is_valid():
                answer_with_copy(visit, question, chosen, form.cleaned_data["code"], form.cleaned_data["name"])
        elif choice == EMPTY and question.named_by is NamedBy.NOTHING:
            form = EmptyCourseForm(request.POST)
            if form.is_valid():
                answer_with_new_course(visit, question, form.cleaned_data["code"], form.cleaned_data["name"])
        else:
            raise Http404
    except AlreadyAnsweredError:
        return question_page(request, visit, question, status=409)
    except Course.DoesNotExist as gone:
        raise Http404 from gone
    except DefinitionError as error:
        if answered_with(visit, question, link_of(visit)) is not None:
            # The code is taken because somebody else has answered at this very moment.
            return question_page(request, visit, question, status=409)
        if form is not None:
            message = f"{error.message[:1].upper()}{error.message[1:]}."
            form.add_error(error.field if error.field in form.fields else None, message)
    if form is not None and form.errors:
        return question_page(request, visit, question, form=form, chosen=chosen, choice=choice, status=422)
    return redirect("launch-course-answered", visit.launch.id)


@launch_page
@require_POST
def continue_(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """Goes on to the course that somebody else has answered with."""
    visit, question = _asked(request, launch_id)
    if visit.course is None:
        go_on(visit, question)
    return redirect("launch", visit.launch.id)


@launch_page
@require_safe
def answered(request: HttpRequest, launch_id: UUID) -> HttpResponse:
    """What was done, how a copy is taken back, and the way on."""
    visit, question = _asked(request, launch_id)
    course = visit.course
    if course is None:
        return redirect("launch", visit.launch.id)
    link = link_of(visit)
    may_undo = course.copied_at is not None and not reason_to_keep(course)
    undo_url = reverse("launch-course-copied", args=[visit.launch.id, course.pk]) if may_undo else ""
    context = {
        "visit": visit,
        "course": course,
        "assignment": visit.assignment,
        "lms_course": link.lms_course,
        "picks_next": _picks_next(visit, link),
        "learned": next(iter(question.names.in_order), ""),
        "undo_url": undo_url,
        "undo_until": course.copied_at + UNDO_WITHIN if course.copied_at and undo_url else None,
    }
    return render(request, "launches/course_question_done.html", context)


def _asked(request: HttpRequest, launch_id: UUID) -> tuple[Visit, CourseQuestion]:
    """The visit of a teacher whose launch asked; for anybody else the page does not exist."""
    visit = get_visit_for_teacher(request, launch_id)
    question = question_of(visit.launch)
    if question is None or visit.launch.resource_link is None:
        raise Http404
    return visit, question
