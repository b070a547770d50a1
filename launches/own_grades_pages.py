"""A student's own row of the gradebook: what is graded and released, and whether it is in the LMS."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from courses.models import Assignment, Course
from grades.models import Score
from grades.passage import Passage, passage_of
from launches.learner_access import Learner
from launches.standing import Item, assignments_of, progress_of, sections_of, shown, standing_of
from launches.student_pages import WATCH_LIMIT, OwnPassage, asked
from launches.visits import Visit


@dataclass(frozen=True)
class OwnGrade(OwnPassage):
    """An assignment with the student's own grade in it; a score that is not released is none."""

    item: Item
    passage: list[Passage]
    url: str

    @property
    def assignment(self) -> Assignment:
        return self.item.assignment


def of_visit(request: HttpRequest, visit: Visit, course: Course) -> HttpResponse:
    """The visitor's own, in the frame."""
    context: dict[str, Any] = {
        "visit": visit,
        "layout": "frame.html",
        "back": reverse("launch", args=[visit.launch.id]),
    }
    pattern = reverse("launch-assignment", args=[visit.launch.id, _ANY])
    return _page(request, course, {visit.person.pk}, pattern, context)


def of_learner(request: HttpRequest, learner: Learner) -> HttpResponse:
    """One's own, signed in directly."""
    course = learner.course
    context: dict[str, Any] = {"visit": None, "learner": learner, "course": course, "places": learner.places()}
    if not learner.people:
        return render(request, "launches/taught_in_lms.html", context)
    context |= {"layout": "site.html", "back": reverse("course-dashboard", args=[course.pk])}
    pattern = reverse("course-own-assignment", args=[course.pk, _ANY])
    return _page(request, course, {person.pk for person in learner.people}, pattern, context)


_ANY = UUID(int=0)


def _page(
    request: HttpRequest, course: Course, people: Collection[UUID], pattern: str, context: dict[str, Any]
) -> HttpResponse:
    """The whole page, or only its table for the page that asks by itself whether grades have arrived."""
    items = [
        item
        for item in shown(standing_of(list(assignments_of([course]).defer("body")), {course.pk: people}), course)
        if item.assignment.enabled or item.is_started
    ]
    passages = passage_of(_scores(items))
    grades = [
        OwnGrade(
            item,
            passages[item.score.pk] if item.score is not None else [],
            pattern.replace(str(_ANY), str(item.assignment.pk)),
        )
        for item in items
    ]
    is_under_way = any(grade.is_under_way for grade in grades)
    context |= {
        "course": course,
        "sections": sections_of(grades),
        "progress": progress_of(items),
        "asked": asked(request),
        "is_watched": is_under_way and asked(request) < WATCH_LIMIT,
    }
    by_itself = request.headers.get("HX-Request") == "true"
    return render(request, "launches/own_grades_table.html" if by_itself else "launches/own_grades.html", context)


def _scores(items: Collection[Item]) -> list[Score]:
    scores = []
    for item in items:
        if item.score is not None:
            item.score.assignment = item.assignment
            scores.append(item.score)
    return scores
