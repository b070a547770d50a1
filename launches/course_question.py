"""The question to a teacher which course of ours an LMS course is: who comes into question and why, and the answer
(design §5 "Copying a course", I1 to I3, pages.md "Is this a copy?").

The launch said too little to decide (`launches.course_finding`), and `Launch.course_question` keeps what it said.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone
from pydantic import ValidationError as InputError

from courses.copying import copy_course, proposed_code
from courses.definitions import CourseDefinition, DefinitionError, make_course
from courses.detection import (
    NAME_LIMIT,
    ancestors,
    assignment_named_by,
    code_for,
    counterpart,
    course_known_as,
    learn,
    parent_known_as,
)
from courses.models import Assignment, Course, Enrolment, LmsCourse, Participation, ResourceLink
from events.log import Actor, EventType, record
from launches.course_finding import CourseQuestion, NamedBy, assignments_named, courses_opened_by, opened_before
from launches.models import Launch
from launches.visits import Visit
from organizations.models import Organization
from organizations.upsert import insert_missing, upsert

LIKELY_SHOWN = 5
OTHERS_SHOWN = 20
# So many courses are looked at for likenesses; the search finds the others.
_LOOKED_AT = 300
_WORD = re.compile(r"\w+")
# What says nothing of the subject: LMSs and teachers add it to every copy.
_COMMON = {"a", "and", "copy", "course", "for", "in", "introduction", "kopie", "of", "section", "semester", "term"}
_COMMON |= {"the", "to", "autumn", "fall", "spring", "summer", "winter"}


class AlreadyAnsweredError(Exception):
    """Somebody else has answered meanwhile: with `course`."""

    def __init__(self, course: Course) -> None:
        super().__init__(course.code)
        self.course = course


@dataclass(frozen=True)
class Candidate:
    """A course that may be meant: `reasons` in words, none for one that merely fits.

    `lms_courses` are those of the same LMS that open it. An archived one can be copied, but not opened.
    """

    course: Course
    reasons: tuple[str, ...]
    rank: tuple[int, int, str]
    lms_courses: tuple[LmsCourse, ...] = ()
    last_opened_at: datetime | None = None


@dataclass(frozen=True)
class Candidates:
    """Likely ones first, by the strength of the reasons; `others` merely fit. `is_cut`: there are more."""

    likely: list[Candidate]
    others: list[Candidate]
    is_cut: bool = False


@dataclass
class _Evidence:
    """What speaks for a course."""

    reasons: list[str] = field(default_factory=list)
    rank: tuple[int, int] = (9, 0)

    def add(self, rank: tuple[int, int], reason: str) -> None:
        self.rank = min(self.rank, rank)
        if reason not in self.reasons:
            self.reasons.append(reason)


def question_of(launch: Launch) -> CourseQuestion | None:
    """The question that this launch left open; None when it left none."""
    return CourseQuestion.from_json(launch.course_question) if launch.course_question else None


def link_of(visit: Visit) -> ResourceLink:
    """The link and LMS course that the question is about, as they are now."""
    return ResourceLink.objects.select_related("lms_course__course", "assignment__course", "course").get(
        pk=_link_id(visit)
    )


def _link_id(visit: Visit) -> UUID:
    if visit.launch.resource_link_id is None:
        raise ValueError("The launch has no link.")
    return visit.launch.resource_link_id


def fitting(organization: Organization, question: CourseQuestion) -> QuerySet[Course]:
    """The organization's courses in which LTI is enabled and which have the assignment that the link names."""
    courses = Course.objects.filter(organization=organization, lti_enabled=True)
    if question.named_by is NamedBy.NOTHING:
        return courses
    named = assignments_named(organization, question.named_by, question.name)
    return courses.filter(pk__in=named.values("course_id"))


def candidates(visit: Visit, question: CourseQuestion, search: str = "") -> Candidates:
    """The courses that may be meant, with the reasons; with a search, those of its words in name or code."""
    courses = fitting(visit.organization, question)
    lms_course = link_of(visit).lms_course
    evidence = _strong_evidence(visit, question, lms_course)
    found = {} if search else {course.pk: course for course in courses.filter(pk__in=list(evidence))}
    fit = courses.filter(archived=False)
    for word in search.split():
        fit = fit.filter(Q(name__icontains=word) | Q(code__icontains=word))
    looked_at = list(fit.order_by("name", "pk")[: _LOOKED_AT + 1])
    found |= {course.pk: course for course in looked_at[:_LOOKED_AT]}
    opened_by = _opened_by(visit, list(found))
    for course in found.values():
        _add_likenesses(
            evidence.setdefault(course.pk, _Evidence()), course, question, lms_course, opened_by.get(course.pk, ())
        )
    ranked = sorted(
        (
            Candidate(
                course,
                tuple(evidence[course.pk].reasons),
                (*evidence[course.pk].rank, course.name.lower()),
                opened_by.get(course.pk, ()),
            )
            for course in found.values()
        ),
        key=lambda candidate: candidate.rank,
    )
    likely = [candidate for candidate in ranked if candidate.reasons and not search][:LIKELY_SHOWN]
    others = [candidate for candidate in ranked if candidate not in likely]
    shown = {candidate.course.pk for candidate in [*likely, *others[:OTHERS_SHOWN]]}
    last = _last_opened(shown)
    likely, others = (
        [
            Candidate(one.course, one.reasons, one.rank, one.lms_courses, last.get(one.course.pk))
            for one in group
            if one.course.pk in shown
        ]
        for group in (likely, others)
    )
    return Candidates(likely, others, len(ranked) > len(shown) or len(looked_at) > _LOOKED_AT)


def _strong_evidence(visit: Visit, question: CourseQuestion, lms_course: LmsCourse) -> dict[UUID, _Evidence]:
    """What the LMS itself says: histories of this very installation (I3), and the parent that the launch names."""
    found: dict[UUID, _Evidence] = {}
    history = ancestors(visit.installation, question.context_history, own=lms_course.context_id)
    for number, ancestor in enumerate(history):
        if ancestor.course_id is not None:
            found.setdefault(ancestor.course_id, _Evidence()).add(
                (0, number), f"your LMS says that this course was copied from “{ancestor}”, which opens it"
            )
    for number, assignment in enumerate(opened_before(visit.installation, question.link_history)):
        found.setdefault(assignment.course_id, _Evidence()).add(
            (1, number), "the link was copied from one that opens it"
        )
    parent = parent_known_as(visit.organization, question.parent)
    if parent is not None:
        found.setdefault(parent.pk, _Evidence()).add((2, 0), "the link names it as the course to copy")
    return found


def _add_likenesses(
    evidence: _Evidence,
    course: Course,
    question: CourseQuestion,
    lms_course: LmsCourse,
    opened_by: Iterable[LmsCourse],
) -> None:
    for name in (question.target, question.offering, question.section):
        if _is_like(name, course.code):
            evidence.add((4, 0), f"its code is like “{name[:100]}”, which your LMS calls this course")
            break
    # Of those that the history names, enough is said.
    for other in (one for one in opened_by if one.context_id not in question.context_history):
        if lms_course.label and other.label == lms_course.label:
            evidence.add((3, 0), f"“{other}” of your LMS has the same short name, and opens it")
        elif _is_like(lms_course.title, other.title):
            evidence.add((4, 1), f"“{other}” of your LMS has a similar title, and opens it")
    if _is_like(lms_course.title, course.name) or _is_like(lms_course.label, course.code):
        evidence.add((4, 2), "its name is like your LMS course's")


def _is_like(one: str, other: str) -> bool:
    """Whether two names share at least half of their telling words, without terms and years."""
    first, second = _telling(one), _telling(other)
    return bool(first & second) and 2 * len(first & second) >= len(first | second)


def _telling(name: str) -> set[str]:
    words = {word for part in _WORD.findall(name.casefold()) for word in part.split("_")}
    return {word for word in words if len(word) > 1 and not word.isdigit() and word not in _COMMON}


def _opened_by(visit: Visit, course_ids: Iterable[UUID]) -> dict[UUID, tuple[LmsCourse, ...]]:
    found: dict[UUID, tuple[LmsCourse, ...]] = {}
    lms_courses = LmsCourse.objects.filter(installation=visit.installation, course__in=list(course_ids)).order_by("id")
    for lms_course in lms_courses:
        if lms_course.course_id is not None:
            found[lms_course.course_id] = (*found.get(lms_course.course_id, ()), lms_course)
    return found


def _last_opened(course_ids: Iterable[UUID]) -> dict[UUID, datetime | None]:
    rows = Enrolment.objects.filter(course__in=list(course_ids)).values_list("course_id")
    return dict(rows.annotate(last=Max("last_launch_at")).order_by())


def chosen_course(visit: Visit, question: CourseQuestion, course_id: str, *, to_copy: bool) -> Course | None:
    """The course that a teacher chose, where it may be chosen. An archived one may be copied only where the LMS itself
    names it, and is opened by nobody."""
    try:
        course = fitting(visit.organization, question).filter(pk=UUID(course_id)).first()
    except ValueError:
        return None
    if course is None:
        return None
    if course.archived and (
        not to_copy or course.pk not in _strong_evidence(visit, question, link_of(visit).lms_course)
    ):
        return None
    course.organization = visit.organization
    return course


def proposed(visit: Visit, question: CourseQuestion, parent: Course | None) -> tuple[str, str]:
    """(code, name) for a new course: what the LMS calls its own, as far as that is free and can be a code."""
    lms_course = link_of(visit).lms_course
    title = lms_course.title.strip()[:NAME_LIMIT] or (parent.name if parent else "")
    if question.target:
        return code_for(question.target), title
    for name in (question.offering, question.section, lms_course.label.strip()):
        fits = bool(name) and len(name) <= NAME_LIMIT and code_for(name) == name
        if fits and course_known_as(visit.organization, name) is None:
            return name, title
    return (proposed_code(parent) if parent else ""), title


def answered_with(visit: Visit, question: CourseQuestion, link: ResourceLink) -> Course | None:
    """The course that the launch would lead to now: what somebody else has answered since."""
    remembered = courses_opened_by(link)
    if question.named_by is NamedBy.NOTHING:
        if question.target:
            return course_known_as(visit.organization, question.target)
        return Course.objects.filter(organization=visit.organization, pk__in=remembered[:1]).first()
    alike = assignments_named(visit.organization, question.named_by, question.name)
    found = assignment_named_by(question.names, alike, remembered)
    return found.course if found is not None else None


def answer_with_copy(visit: Visit, question: CourseQuestion, parent: Course, code: str, name: str) -> Course:
    """Copies the parent for this LMS course. Raises `DefinitionError` for code or name, and `AlreadyAnsweredError`."""
    actor = Actor.of(visit.person)
    return _answer(visit, question, lambda: copy_course(parent, code=code, name=name, actor=actor))


def answer_with_course(visit: Visit, question: CourseQuestion, course: Course) -> Course:
    """Lets the LMS course open a course that there is. Raises `AlreadyAnsweredError`, and `Course.DoesNotExist` when it
    was taken back or deleted meanwhile."""
    # Held until it is connected: whoever takes it back as a copy comes before, or finds it in use.
    return _answer(visit, question, lambda: Course.objects.select_for_update(no_key=True).get(pk=course.pk))


def answer_with_new_course(visit: Visit, question: CourseQuestion, code: str, name: str) -> Course:
    """Makes an empty course for the LMS course. Raises `DefinitionError` and `AlreadyAnsweredError`."""
    if question.named_by is not NamedBy.NOTHING:
        raise ValueError("An empty course does not have the assignment that the link names.")

    def make() -> Course:
        known = course_known_as(visit.organization, code)
        if known is not None:
            taken = "exists already" if known.code == code else "is known to LMSs by this name"
            raise DefinitionError("code", f"the course {known.code} {taken}", taken=True)
        try:
            definition = CourseDefinition(code=code, name=name)
        except InputError as error:
            first = error.errors()[0]
            raise DefinitionError(str(first["loc"][0]), first["msg"].removeprefix("Value error, ")) from error
        return make_course(visit.organization, definition)

    return _answer(visit, question, make)


def _answer(visit: Visit, question: CourseQuestion, choose: Callable[[], Course]) -> Course:
    """The LMS course opens the chosen course from now on, which learns what the LMS calls it; the teacher goes on."""
    with transaction.atomic():
        # A new course first, then the LMS course, then the link, in the order in which launches hold them. Who answers
        # second takes back what they made.
        course = choose()
        course.organization = visit.organization
        LmsCourse.objects.select_for_update(no_key=True).get(resource_links=_link_id(visit))
        # no_key: launches that are under way refer to its key, and hold enrolments that this is going to want.
        ResourceLink.objects.select_for_update(no_key=True).get(pk=_link_id(visit))
        link = link_of(visit)
        answered = answered_with(visit, question, link)
        if answered is not None and answered.pk != course.pk:
            raise AlreadyAnsweredError(answered)
        called = next(iter(question.names.in_order), "")
        if not learn(course, called) and called == question.target:
            known = course_known_as(visit.organization, called)
            raise AlreadyAnsweredError(known or course)
        # A launch without a context id belongs to no course of the LMS (A31).
        LmsCourse.objects.filter(pk=link.lms_course_id, course=None).exclude(context_id="").update(course=course)
        _enter(visit, question, link, course)
    return course


def go_on(visit: Visit, question: CourseQuestion) -> Course | None:
    """Lets the teacher into the course that somebody else has answered with; None while nobody has."""
    with transaction.atomic():
        link = link_of(visit)
        course = answered_with(visit, question, link)
        if course is not None:
            _enter(visit, question, link, course)
    return course


def _enter(visit: Visit, question: CourseQuestion, link: ResourceLink, course: Course) -> None:
    """The teacher is in the course, and the link opens its assignment there, as far as it names one."""
    actor = Actor.of(visit.person)
    assignment = _assignment_in(visit, question, course)
    unmapped = ResourceLink.objects.filter(pk=link.pk, assignment=None, course=None)
    if assignment is not None and unmapped.update(assignment=assignment):
        record(
            visit.organization,
            EventType.LINK_MAPPED,
            actor=actor,
            subject_kind="resource_link",
            subject_id=link.pk,
            data={"assignment": str(assignment.pk), "course": str(course.pk), "by": "teacher"},
        )
    enrolment_id, enrolled = upsert(
        Enrolment,
        {"course_id": course.pk, "person_id": visit.person.pk},
        {"role": visit.role, "state": Enrolment.State.ACTIVE, "last_launch_at": timezone.now()},
    )
    if enrolled:
        record(
            visit.organization,
            EventType.ENROLMENT_CREATED,
            actor=actor,
            subject_kind="enrolment",
            subject_id=enrolment_id,
            data={"course": str(course.pk), "person": str(visit.person.pk), "role": visit.role},
        )
    insert_missing(Participation, {"lms_course_id": link.lms_course_id, "person_id": visit.person.pk})
    Launch.objects.filter(pk=visit.launch.pk).update(course=course, assignment=assignment)


def _assignment_in(visit: Visit, question: CourseQuestion, course: Course) -> Assignment | None:
    if question.named_by is NamedBy.NOTHING:
        return counterpart(course, opened_before(visit.installation, question.link_history))
    return assignments_named(visit.organization, question.named_by, question.name).filter(course=course).first()
